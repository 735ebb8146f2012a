"""The pairs of two sources: made one after the other here, or from recipes in the processes that count them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celltable.cells import Image

from .pair import Pair
from .side import Side
from .sources import Source, StoreSource, empty_side, meta_of


@dataclass(frozen=True, slots=True)
class StoredSide:
    """One side of an image of a store, to be read from the store in the process that needs it."""

    source: StoreSource
    image_id: str
    class_names: tuple[str, ...]

    def side(self) -> Side:
        """Read the cells."""
        return self.source.side(self.image_id, self.class_names)


@dataclass(frozen=True, slots=True)
class PairRecipe:
    """A pair as it is sent to another process: cells of stores by where they are, others as they are."""

    image: Image
    gt: Side | StoredSide
    pred: Side | StoredSide

    def pair(self) -> Pair:
        """Make the pair."""
        gt, pred = (s.side() if isinstance(s, StoredSide) else s for s in (self.gt, self.pred))
        image = self.image
        return Pair(
            image.image_id, image.size, gt, pred, meta_of(image), exhaustive=image.exhaustive, ignored=image.ignore
        )


@dataclass(frozen=True, slots=True)
class JoinedPairs:
    """The pairs of images `ids`, in their order; an image that `pred` does not have is one without predictions."""

    gt: Source
    pred: Source
    ids: Sequence[str]
    class_names: tuple[str, ...]
    predicted: frozenset[str]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Pair]:
        return (self._recipe(image_id, sent=False).pair() for image_id in self.ids)

    def recipes(self) -> Iterator[PairRecipe]:
        """Yield what another process makes each pair from."""
        return (self._recipe(image_id, sent=True) for image_id in self.ids)

    def _recipe(self, image_id: str, *, sent: bool) -> PairRecipe:
        image = self.gt.images[image_id]
        gt = self._side(self.gt, image_id, sent)
        known = image_id in self.predicted
        return PairRecipe(
            image, gt, self._side(self.pred, image_id, sent) if known else empty_side(image, self.class_names)
        )

    def _side(self, source: Source, image_id: str, sent: bool) -> Side | StoredSide:
        if sent and isinstance(source, StoreSource):
            return StoredSide(source, image_id, self.class_names)
        return source.side(image_id, self.class_names)
