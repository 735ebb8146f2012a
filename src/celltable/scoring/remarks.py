"""Notes that accompany the scores: overlapping masks, maps without background, warnings of metrics."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from .pair import Pair
from .side import Side

ONE_SCORE = "all detections have the same score"
_SIDES = ("ground truth", "predictions")


class Remarks(NamedTuple):
    """What to note about an image; each field holds (ground truth, predictions).

    Attributes
    ----------
    hidden
        (pixels, whole cells) lost when overlapping masks were painted into one label map; (0, 0) if no metric painted
        them.
    full
        Whether cells cover every pixel.
    """

    hidden: tuple[tuple[int, int], tuple[int, int]]
    full: tuple[bool, bool]


def remarks_of(pair: Pair, seen: Pair) -> Remarks:
    """Collect the remarks on a pair that metrics have read as `seen`, without decoding masks."""
    hidden = ((0, 0), (0, 0))
    if "flat" in seen.__dict__ and seen.flat is not seen.overlap:
        flat = seen.flat
        gt, pred = (seen.gt, flat.gt_areas), (seen.pred, flat.pred_areas)
        gone = [(int(side.areas.sum() - a.sum()), len(side) - int((a > 0).sum())) for side, a in (gt, pred)]
        hidden = (gone[0], gone[1])
    return Remarks(hidden, (_full(pair.gt), _full(pair.pred)))


def _full(side: Side) -> bool:
    return side.measured and len(side) > 0 and int(side.areas.sum()) == side.size[0] * side.size[1]


def texts(images: Sequence[tuple[str, Remarks]]) -> list[str]:
    """Write out the remarks on all images, given as (id, remarks)."""
    out = []
    for k, side in enumerate(_SIDES):
        hidden = [r.hidden[k] for _, r in images if r.hidden[k][0]]
        if hidden:
            pixels, cells = (sum(h[i] for h in hidden) for i in (0, 1))
            out.append(
                f"Masks of the {side} overlap in {_count(len(hidden), 'image')}: metrics of label maps painted later "
                f"cells over earlier ones, which lost {pixels:,} px and {_count(cells, 'whole cell')}."
            )
        full = [i for i, r in images if r.full[k]]
        if full:
            has, more = ("has", "") if len(full) == 1 else ("have", ", …")
            out.append(
                f"Warning: {_count(len(full), 'image')} of the {side} {has} no background pixel ({full[0]}{more}). "
                "Is the background labelled? It must be 0."
            )
    return out


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def warned(caught: Sequence[warnings.WarningMessage], *, known: bool) -> list[str]:
    """Turn warnings of metrics into notes and reissue them, keeping the first of those that differ only in numbers.

    `known` says that a note about equal scores exists already.
    """
    kept: dict[str, warnings.WarningMessage] = {}
    for one in caught:
        text = str(one.message)
        if not (known and text.startswith(ONE_SCORE)):
            kept.setdefault(re.sub(r"[\d.,]+", "#", text), one)
    for one in kept.values():
        warnings.warn(str(one.message), one.category, stacklevel=4)
    return [f"Warning: {one.message}." for one in kept.values() if one.category is UserWarning]
