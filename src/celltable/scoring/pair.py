"""An image with its ground truth and prediction, and what metrics derive from them, computed once and shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from celltable.errors import MetricError
from celltable.geometry import overlap as overlaps

from .centroids import centroids, nearest_assignment
from .pair_table import PairTable
from .side import Floats, Ints, Side, aligned
from .strips import paired_strips

if TYPE_CHECKING:
    from celltable.geometry.overlap import Overlap


@dataclass(frozen=True, eq=False)
class Pair:
    """Ground truth and prediction of one image; `meta` holds its columns (tissue, cell_type, modality, split, …).

    `exhaustive` is False if not every cell was annotated; `ignored` images are never scored.
    """

    image_id: str
    size: tuple[int, int]
    gt: Side
    pred: Side
    meta: Mapping[str, Any] = field(default_factory=dict)
    exhaustive: bool = True
    ignored: bool = False

    @cached_property
    def overlap(self) -> Overlap:
        """Sparse overlaps of all cells, unflattened: gt_index, pred_index (positions in the sides), intersection."""
        if self.gt.size != self.pred.size:
            raise MetricError(
                f"image {self.image_id}: the ground truth is {self.gt.size[0]}×{self.gt.size[1]} and the prediction "
                f"{self.pred.size[0]}×{self.pred.size[1]} pixels; expected the same size"
            )
        if self.gt.map is not None and self.pred.map is not None:
            table = overlaps.overlap_of_strips(paired_strips(self.gt.label_map, self.pred.label_map))
            self.gt.learn(table.gt_ids, table.gt_areas, table.gt_boxes)
            self.pred.learn(table.pred_ids, table.pred_areas, table.pred_boxes)
            return _placed(table, self.gt, self.pred)
        return _numbered(overlaps.overlap_of_masks(self.gt.masks, self.pred.masks), self.gt, self.pred)

    @cached_property
    def flat(self) -> Overlap:
        """Overlaps after painting each side into one label map (later ids on top); covered cells are gone."""
        if not self.gt.overlapping and not self.pred.overlapping:
            return self.overlap
        return overlaps.overlap_of_strips(paired_strips(self.gt.label_map, self.pred.label_map))

    @cached_property
    def table(self) -> PairTable:
        """`flat`, with everything that label-map protocols derive from it."""
        return PairTable.of(self.flat, self.gt, self.pred, self.image_id)

    @cached_property
    def class_table(self) -> PairTable:
        """Like `table`, but of the unflattened cells, for protocols that score each class separately."""
        return (
            self.table if self.flat is self.overlap else PairTable.of(self.overlap, self.gt, self.pred, self.image_id)
        )

    @cached_property
    def clean(self) -> Pair:
        """The pair without crowd and ignore regions, and without predictions that are half or more on them."""
        if self.gt.crowd is None and self.gt.ignore is None:
            return self
        regions, table = self.gt.flags, self.overlap
        on_region = np.bincount(
            table.pred_index, weights=table.intersection * regions[table.gt_index], minlength=len(self.pred)
        )
        hidden = (2 * on_region >= table.pred_areas) & (table.pred_areas > 0)
        return self.kept(~regions, ~hidden)

    def seen(self, mode: str) -> Pair:
        """Return what a label-map protocol scores: all cells in strict mode, `clean` in corrected mode."""
        return self if mode == "strict" else self.clean

    def kept(self, gt: ArrayLike, pred: ArrayLike) -> Pair:
        """Keep only the cells where the boolean masks are true; overlaps are carried over, not recomputed."""
        gt_mask, pred_mask = np.asarray(gt, bool), np.asarray(pred, bool)
        made = replace(self, gt=self.gt.take(gt_mask), pred=self.pred.take(pred_mask))
        made.__dict__["overlap"] = self.overlap.kept(gt_mask, pred_mask)
        return made

    @cached_property
    def gt_centroids(self) -> Floats:
        """Mean x and y of the pixels of each ground-truth cell, float64 (n, 2)."""
        return centroids(self.gt)

    @cached_property
    def pred_centroids(self) -> Floats:
        """Mean x and y of the pixels of each predicted cell, float64 (n, 2)."""
        return centroids(self.pred)

    @cached_property
    def nearest_centres(self) -> tuple[Ints, Ints, Floats]:
        """The assignment of centres with the smallest sum of distances over all pairs, and the distances."""
        return nearest_assignment(self.gt_centroids, self.pred_centroids)

    @property
    def ranking_scores(self) -> Floats:
        """Scores of the predictions, float64 (n,).

        Raises
        ------
        MetricError
            If there are none, or if any is NaN.
        """
        scores = self.pred.scores
        if scores is None:
            if len(self.pred):
                raise MetricError(
                    f"image {self.image_id}: the predictions have no scores, and this metric ranks by score"
                )
            return np.zeros(0)
        undefined = int(np.isnan(scores).sum())
        if undefined:
            raise MetricError(
                f"image {self.image_id}: {undefined} of {len(scores)} scores are NaN; expected a number for each "
                "prediction"
            )
        return np.ascontiguousarray(scores, np.float64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names that the class codes of both sides refer to; empty if either side has no classes."""
        if self.gt.class_codes is None or self.pred.class_codes is None:
            return ()
        return self.gt.class_names

    @property
    def has_classes(self) -> bool:
        """Whether both sides have classes (a side without cells needs none)."""
        gt, pred = self.gt, self.pred
        if gt.class_codes is None and pred.class_codes is None:
            return False
        return (gt.class_codes is not None or not len(gt)) and (pred.class_codes is not None or not len(pred))


def _placed(table: Overlap, gt: Side, pred: Side) -> Overlap:
    """Reorder an overlap of label maps to the rows of the sides, which may list their ids in any order."""
    if gt.given_ids is None and pred.given_ids is None:
        return table
    gt_ids, pred_ids = gt.given_ids, pred.given_ids
    changed: dict[str, Any] = {}
    if gt_ids is not None and not np.array_equal(gt_ids, table.gt_ids):
        changed.update(gt_index=_positions(gt_ids, table.gt_ids)[table.gt_index], gt_ids=gt_ids)
        changed.update(gt_areas=aligned(gt_ids, table.gt_ids, table.gt_areas))
        changed.update(gt_boxes=aligned(gt_ids, table.gt_ids, table.gt_boxes))
    if pred_ids is not None and not np.array_equal(pred_ids, table.pred_ids):
        changed.update(pred_index=_positions(pred_ids, table.pred_ids)[table.pred_index], pred_ids=pred_ids)
        changed.update(pred_areas=aligned(pred_ids, table.pred_ids, table.pred_areas))
        changed.update(pred_boxes=aligned(pred_ids, table.pred_ids, table.pred_boxes))
    return replace(table, **changed) if changed else table


def _positions(ids: Ints, labels: Ints) -> Ints:
    order = np.argsort(ids, kind="stable")
    where = np.searchsorted(ids[order], labels)
    if len(labels) and (where.max(initial=0) >= len(ids) or not np.array_equal(ids[order][where], labels)):
        missing = sorted(set(labels.tolist()) - set(ids.tolist()))[:5]
        raise MetricError(f"the label map holds ids {missing} that the list of ids does not; give every id one row")
    return np.asarray(order[where], np.int64)


def _numbered(table: Overlap, gt: Side, pred: Side) -> Overlap:
    return replace(table, gt_ids=gt.ids, pred_ids=pred.ids)
