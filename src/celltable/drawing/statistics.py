"""The statistics figure of a split data set: counts, classes, tissues, sizes and density in one SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from celltable.drawing.svg import WIDTH, bars, histogram, ranges

GAP: Final = 24
PAGE: Final = 3 * WIDTH + 4 * GAP
LINE: Final = 19
_ORDER: Final = ("train", "valid", "val", "test")
_NO_CLASS: Final = "no class"
_LOG: Final = "px², logarithmic"
_STYLE: Final = ".t{font-size:13px;font-weight:600}.u{fill:#5d6878}.h{font-size:20px;font-weight:600}"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What was written, as columns per image and per cell, with the part of each image."""

    parts: tuple[str, ...]
    part: NDArray[Any]  # per image
    tissue: NDArray[Any]
    size_px: NDArray[np.float64]
    cells: NDArray[np.int64]  # per image
    image: NDArray[np.int64]  # position of a cell's image
    area: NDArray[np.float64]
    name: NDArray[Any]

    def by_part(self, values: NDArray[Any], part: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Split values: those of the whole set, then of each part."""
        whole = {"all": values}
        return whole | {p: values[part == p] for p in self.parts} if len(self.parts) > 1 else whole


def statistics(
    images: pa.Table,
    cells: pa.Table,
    parts: Mapping[str, str],
    left_out: Mapping[str, Sequence[int]] | None = None,
    *,
    title: str,
    note: str = "",
) -> str:
    """Draw the statistics of the images in `parts`, without the cells in `left_out`, as SVG text.

    Parameters
    ----------
    images
        Rows of the images table: image_id, height, width, tissue.
    cells
        Rows of the instances table: image_id, instance_id, area (px²), class_name.
    parts
        Image id → its part, such as train.
    left_out
        Image id → ids of cells to leave out.
    title, note
        The heading and the line below it.
    """
    facts = _facts(images, cells, parts, left_out or {})
    counts = f"{len(facts.part):,} images, {len(facts.area):,} cells"
    rows = [_tables(facts), _plots(facts, whole=True)]
    if len(facts.parts) > 1:
        rows.append(_plots(facts, whole=False))
    return _page(title, f"{counts}. {note}".strip(), rows)


def _facts(
    images: pa.Table, cells: pa.Table, parts: Mapping[str, str], left_out: Mapping[str, Sequence[int]]
) -> _Facts:
    images = images.filter(pc.is_in(images["image_id"], pa.array(list(parts), pa.string())))
    ids = images["image_id"].combine_chunks()
    cells = cells.filter(pc.is_in(cells["image_id"], ids))
    image = pc.index_in(cells["image_id"], ids).to_numpy().astype(np.int64)
    kept = ~_left_out(image, cells["instance_id"].to_numpy(), ids.to_pylist(), left_out)
    part = np.array([parts[i] for i in ids.to_pylist()], dtype=object)
    named = sorted(set(part), key=lambda p: (_ORDER.index(p) if p in _ORDER else len(_ORDER), p))
    height, width = (images[c].to_numpy().astype(float) for c in ("height", "width"))
    return _Facts(
        tuple(named),
        part,
        np.array([t or "not stated" for t in images["tissue"].to_pylist()], dtype=object),
        height * width,
        np.bincount(image[kept], minlength=len(part)),
        image[kept],
        cells["area"].to_numpy().astype(float)[kept],
        np.array([n or _NO_CLASS for n in cells["class_name"].to_pylist()], dtype=object)[kept],
    )


def _left_out(
    image: NDArray[np.int64], number: NDArray[Any], ids: Sequence[str], left_out: Mapping[str, Sequence[int]]
) -> NDArray[np.bool_]:
    """Flag the listed cells, comparing (image, instance id) packed into one integer."""
    at = {image_id: k for k, image_id in enumerate(ids) if image_id in left_out}
    gone = [(k << 32) + n for image_id, k in at.items() for n in left_out[image_id]]
    listed: NDArray[np.bool_] = np.isin((image << 32) + number.astype(np.int64), np.array(gone, np.int64))
    return listed


def _plots(facts: _Facts, *, whole: bool) -> list[str]:
    """Plot sizes, cells per image and density: bars for all images, curves for the parts."""
    area, own = facts.area, facts.part[facts.image]
    density = facts.cells / np.maximum(facts.size_px, 1) * 1e4
    picked = {
        "Cell area": (area, own, _LOG, "cells"),
        "Cells per image": (facts.cells, facts.part, "cells", "images"),
        "Density": (density, facts.part, "cells per 10,000 px²", "images"),
    }
    made = []
    for name, (values, part, label, what) in picked.items():
        series = facts.by_part(values, part)
        series = {"all": values} if whole else {k: v for k, v in series.items() if k != "all"}
        title = name if whole else f"{name}, by part"
        bins = 40 if whole else 20  # curves of the few images of a part would be all spikes
        made.append(histogram(series, title=title, label=label, bins=bins, log=name == "Cell area", count=what))
    return made


def _tables(facts: _Facts) -> list[str]:
    """Make three columns: images, cells and classes per part; sizes per class; tissues per part."""
    own = facts.part[facts.image]
    top = [
        ("images", _counted(facts, facts.part == facts.part, facts.part)),
        ("images without cells", _counted(facts, facts.cells == 0, facts.part)),
        ("cells", _counted(facts, np.ones(len(own), bool), own)),
    ]
    classes = _frequent(facts.name)
    of_class = [(str(n), _counted(facts, facts.name == n, own)) for n in classes]
    tissues = [(str(t), _counted(facts, facts.tissue == t, facts.part)) for t in _frequent(facts.tissue)]
    header = ["all", *facts.parts] if len(facts.parts) > 1 else ["all"]
    left = _stack(_table("Images and cells", header, top), _table("Cells by class", header, of_class))
    share = {str(n): float(np.count_nonzero(facts.name == n)) for n in classes}
    sizes = {str(n): facts.area[facts.name == n] for n in classes}
    middle = _stack(bars(share, title="Cells by class"), ranges(sizes, title="Cell area by class", label=_LOG))
    return [left, middle, _table("Images by tissue", header, tissues)]


def _counted(facts: _Facts, chosen: NDArray[np.bool_], part: NDArray[Any]) -> list[int]:
    return [int(v.sum()) for v in facts.by_part(chosen, part).values()]


def _frequent(values: NDArray[Any]) -> list[Any]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return [names[k] for k in np.lexsort((names, -counts))]


def _table(title: str, header: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Draw a plot-sized table: names on the left, numbers on the right."""
    if not rows:
        return ""
    step = (WIDTH - 150) / len(header)
    lines = [f'<text x="8" y="13" class="t">{escape(title)}</text>']
    for k, name in enumerate(header):
        lines.append(f'<text x="{150 + (k + 1) * step:.0f}" y="33" text-anchor="end" class="u">{escape(name)}</text>')
    for r, (name, values) in enumerate(rows):
        y = 33 + (r + 1) * LINE
        lines.append(f'<line x1="8" x2="{WIDTH}" y1="{y - 13}" y2="{y - 13}" stroke="#dfe4ea"/>')
        lines.append(f'<text x="8" y="{y}">{escape(name[:26])}<title>{escape(name)}</title></text>')
        lines += [
            f'<text x="{150 + (k + 1) * step:.0f}" y="{y}" text-anchor="end">{v:,}</text>' for k, v in enumerate(values)
        ]
    height = 33 + (len(rows) + 1) * LINE
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {height}">{"".join(lines)}</svg>'


def _stack(*plots: str) -> str:
    """Stack plots vertically into one."""
    made = [p for p in plots if p]
    y, placed = 0.0, []
    for plot in made:
        placed.append(_at(plot, 0, y))
        y += _height(plot) + GAP / 2
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {y:.0f}">{"".join(placed)}</svg>' if made else ""


def _height(plot: str) -> float:
    return float(plot.split('viewBox="', 1)[1].split('"', 1)[0].split()[3])


def _at(plot: str, x: float, y: float) -> str:
    place = f'<svg x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{_height(plot):.0f}"'
    return place + plot.removeprefix('<svg class="plot"')


def _page(title: str, note: str, rows: Sequence[Sequence[str]]) -> str:
    y, placed = 72.0, []
    for row in rows:
        made = [p for p in row if p]
        placed += [_at(plot, GAP + k * (WIDTH + GAP), y) for k, plot in enumerate(made)]
        y += max((_height(p) for p in made), default=0) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PAGE} {y:.0f}" width="{PAGE}" height="{y:.0f}" '
        f'font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="12" fill="#1c2430">'
        f'<title>{escape(title)}</title><style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{GAP + 8}" y="34" class="h">{escape(title)}</text>'
        f'<text x="{GAP + 8}" y="54" class="u">{escape(note)}</text>{"".join(placed)}</svg>\n'
    )
