"""Panoptic quality of one overlap table: the counts that all variants use, and the ratios computed from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celltable.errors import MetricError

from .pair_table import PairTable

SQ_EPS = 1e-6  # in the denominator of SQ: PanNuke-metrics, HoVer-Net, CoNIC and CellViT


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of matched, spurious and missed cells, and the sum of the IoUs of the matches."""

    tp: int
    fp: int
    fn: int
    iou: float

    @property
    def n_gt(self) -> int:
        """Number of ground-truth cells."""
        return self.tp + self.fn

    @property
    def n_pred(self) -> int:
        """Number of predicted cells."""
        return self.tp + self.fp


def counts(table: PairTable, match_iou: float = 0.5, *, by_prediction: bool = False) -> Counts:
    """Match cells by IoU > `match_iou` and count.

    The IoUs are summed in the order of the ground truth, or `by_prediction`; the order affects the last bit.
    """
    pairs = table.over(match_iou)
    if by_prediction:
        pairs = pairs[np.argsort(table.pred_index[pairs], kind="stable")]
    tp = len(pairs)
    return Counts(tp, table.n_pred - tp, table.n_gt - tp, float(table.iou[pairs].sum()))


def counts_by_class(
    table: PairTable, n_classes: int, match_iou: float = 0.5, *, by_prediction: bool = False
) -> list[Counts]:
    """Count the cells of each class separately; both sides must have classes."""
    if match_iou < 0.5 or table.gt_class is None or table.pred_class is None:
        return [counts(t, match_iou, by_prediction=by_prediction) for t in table.by_class(n_classes)]
    pairs = table.over(match_iou)
    code = table.gt_class[table.gt_index[pairs]]
    same = (code == table.pred_class[table.pred_index[pairs]]) & (code >= 0)
    pairs, code = pairs[same], code[same]
    if by_prediction:
        order = np.argsort(table.pred_index[pairs], kind="stable")
        pairs, code = pairs[order], code[order]
    iou = table.iou[pairs]
    n_gt, n_pred, tp = (
        np.bincount(c[c >= 0], minlength=n_classes).tolist() for c in (table.gt_class, table.pred_class, code)
    )
    sums = [float(iou[code == k].sum()) if n else 0.0 for k, n in enumerate(tp)]
    return [Counts(tp[k], n_pred[k] - tp[k], n_gt[k] - tp[k], sums[k]) for k in range(n_classes)]


def quality(n: Counts, dq_eps: float = 0.0) -> tuple[float, float, float]:
    """Compute (DQ, SQ, PQ) as the official scripts do; 0/0 is NaN."""
    below = n.tp + 0.5 * n.fp + 0.5 * n.fn + dq_eps
    if below == 0:
        return float("nan"), float("nan"), float("nan")
    dq = n.tp / below
    sq = n.iou / (n.tp + SQ_EPS)
    return dq, sq, dq * sq


def refuse_empty(table: PairTable, code: str) -> None:
    """Strict mode: raise if neither side has cells, because the official code then divides by zero."""
    if not table.n_gt and not table.n_pred:
        raise MetricError(
            f"image {table.image_id} has no cell on either side, and {code} then divides by zero; use corrected mode, "
            "which leaves such images out of the mean"
        )
