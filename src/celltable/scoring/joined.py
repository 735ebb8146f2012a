"""Join two sources into pairs, which are made one by one, here or in the processes that count them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from celltable.cells import Finding, Image
from celltable.errors import InputError, MetricError, NotFoundError

from .pair import Pair
from .side import Side
from .sources import Source, StoreSource, classes_of, empty_side, meta_of

Missing = Literal["error", "empty"]
Unknown = Literal["error", "ignore"]
UNREAD: Final = {"mask-shape", "mask-values"}  # the label map of an image, which is one file
UNREAD_IF_EMPTY: Final = {"unreadable-mask", "size-mismatch"}  # the label map of an image, or one mask of many
UNKNOWN_IMAGE: Final = {"unknown-image", "missing-image"}  # neither its size nor its ground truth is known
NOTED: Final = {"duplicate-annotation-id"}  # of the whole file; no cell is lost here, but other readers may lose some


def paired(
    gt: Source, pred: Source, missing: Missing, unknown: Unknown, class_names: Sequence[str] = ()
) -> tuple[JoinedPairs, list[str]]:
    """Join two sources; also return notes about images that only one of them has."""
    predicted = pred.ids
    annotated = [i for i in gt.ids if gt.images[i].annotated]
    unannotated = len(gt.ids) - len(annotated)
    if not annotated:
        raise MetricError(
            f"none of the {unannotated} images of {gt.name} is annotated, so there is nothing to score against"
        )
    known, wanted = set(gt.images), set(annotated)
    expected = [i for i in predicted if i in wanted or i not in known]  # others are images that `where` left out
    ids, notes = join_images(annotated, expected, missing=missing, unknown=unknown)
    _refuse_unread(gt, pred, missing)
    notes += _left_out(gt, "ground-truth cells", unknown) + _left_out(pred, "predictions", unknown)
    if unannotated:
        notes.append(f"{unannotated} images are not annotated and were not scored.")
    names = tuple(class_names) or classes_of(gt, pred)
    return JoinedPairs(gt, pred, ids, names, frozenset(predicted)), notes


def _refuse_unread(gt: Source, pred: Source, missing: Missing) -> None:
    """Raise if an image could not be read at all, because it would be scored as empty.

    ``missing="empty"`` allows this for predictions, as it does for an image without predictions.
    """
    for source, side in ((gt, "ground truth"), (pred, "predictions")):
        unread = [f for f in getattr(source, "findings", ()) if _is_unread(source, f)]
        if unread and not (source is pred and missing == "empty"):
            n = len({f.image_id for f in unread})
            way = " Fix the file" + ("s" if n > 1 else "")
            way += ", or score what cannot be read as empty (missing='empty')." if source is pred else "."
            raise InputError(
                f"{source.name}, {side}: {n} of {len(source.ids)} images cannot be scored, the first "
                f"{unread[0].image_id}: {unread[0].message.rstrip('.')}.{way}"
            )


def _is_unread(source: Source, finding: Finding) -> bool:
    if finding.rule in UNREAD_IF_EMPTY:
        return not len(source.side(finding.image_id or "", ()))
    return finding.rule in UNREAD


def _left_out(source: Source, what: str, unknown: Unknown) -> list[str]:
    """Describe what could not be read; refuse or ignore predictions for unknown images, depending on `unknown`."""
    findings = [f for f in getattr(source, "findings", ()) if f.severity == "error" or f.rule in NOTED]
    unplaced = [f.message for f in findings if f.rule in UNKNOWN_IMAGE]
    if unplaced and unknown == "error":
        raise NotFoundError(
            f"{unplaced[0]}. The ground truth has no image of their image ids: score against the images that the "
            "predictions were made for, or ignore the rest (unknown='ignore')."
        )
    noted = [f.message for f in findings if f.rule in NOTED]
    others = [f.message for f in findings if f.rule not in UNKNOWN_IMAGE and f.rule not in NOTED]
    first = others[0].rstrip(".") if others else ""
    notes = [f"{source.name}: {len(others)} {what} could not be read or are in doubt, the first: {first}."]
    return [f"{text}." for text in unplaced + noted] + (notes if others else [])


def join_images(
    gt_ids: Iterable[str], pred_ids: Iterable[str], *, missing: Missing = "error", unknown: Unknown = "error"
) -> tuple[list[str], list[str]]:
    """List the images to score; also return notes about those that only one side has.

    Parameters
    ----------
    missing
        An image without predictions: "error", or "empty" (scored as if nothing had been predicted).
    unknown
        Predictions for an image that the ground truth does not have: "error" or "ignore".

    Raises
    ------
    NotFoundError
        If images are missing or unknown and that is an error.

    >>> join_images(["a", "b"], ["a"], missing="empty")
    (['a', 'b'], ['1 of 2 images has no prediction and is scored as empty: b.'])
    """
    annotated, predicted = list(dict.fromkeys(gt_ids)), set(pred_ids)
    unpredicted = [i for i in annotated if i not in predicted]
    extra = sorted(predicted - set(annotated))
    if not set(annotated) & predicted and annotated and predicted:
        raise NotFoundError(
            f"no image is on both sides: the ground truth has {_some(annotated)}, the predictions "
            f"{_some(sorted(predicted))}. Are the image ids spelt the same way?"
        )
    if unpredicted and missing == "error":
        raise NotFoundError(
            f"{len(unpredicted)} of {len(annotated)} images have no prediction: {_some(unpredicted)}. Predict them, or "
            "count a missing image as an empty prediction (missing='empty')."
        )
    if extra and unknown == "error":
        raise NotFoundError(
            f"there are predictions for {len(extra)} images that the ground truth does not have: {_some(extra)}. "
            "Remove them, or ignore them (unknown='ignore')."
        )
    notes = []
    if unpredicted:
        verb = "has no prediction and is" if len(unpredicted) == 1 else "have no prediction and are"
        notes.append(f"{len(unpredicted)} of {len(annotated)} images {verb} scored as empty: {_some(unpredicted)}.")
    if extra:
        notes.append(f"Predictions for {len(extra)} images without ground truth were ignored: {_some(extra)}.")
    return annotated, notes


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


@dataclass(frozen=True, slots=True)
class StoredSide:
    """One side of an image of a store, read from the store in the process that needs it."""

    source: StoreSource
    image_id: str
    class_names: tuple[str, ...]

    def side(self) -> Side:
        """Read the cells."""
        return self.source.side(self.image_id, self.class_names)


@dataclass(frozen=True, slots=True)
class PairRecipe:
    """A pair as sent to another process: cells of stores by reference, others by value."""

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
    """The pairs of the images `ids`, in that order; images that `pred` does not have are without predictions."""

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
        """Yield a recipe per pair, from which another process can make it."""
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
