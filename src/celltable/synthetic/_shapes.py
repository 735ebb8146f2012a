"""Places and outlines of cells: placement, outlines as level functions, and which cell owns a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._scene import Bools, Floats, Labels, Mask, Size

MIN_AREA = 12  # a smaller rest (cut by the border, buried under a neighbour) is no cell
_TRIES = 24
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outline:
    """A level function on a crop of the image: 0 at the cell's centre, 1 on its outline, more outside."""

    row: int
    col: int
    level: Floats
    angle: float = 0.0
    star: bool = False  # compact enough to be one part wherever no neighbour cuts into it

    @property
    def box(self) -> tuple[slice, slice]:
        """Slices of the crop in the image."""
        height, width = self.level.shape
        return slice(self.row, self.row + height), slice(self.col, self.col + width)


@dataclass(frozen=True, slots=True)
class Cells:
    """Resolved cells: outlines and masks in the order of their ids; `kept` says which proposals they were."""

    outlines: tuple[Outline, ...]
    masks: tuple[Mask, ...]
    label_map: Labels
    kept: tuple[int, ...]


def place(
    rng: np.random.Generator, size: Size, radii: Doubles, *, touching: float, gap: float = 0.9, margin: float = 0.3
) -> Doubles:
    """Centres (n, 2) in row, column for circles of `radii`; a share `touching` of them leans on an earlier one.

    No two centres come closer than `gap` times the sum of their radii where there is room; in a full image the
    roomiest of several tries is taken. Centres may be up to `margin` radii outside the frame, so that the border
    cuts cells.
    """
    centres = np.empty((len(radii), 2))
    for i, radius in enumerate(radii):
        low, high = -margin * radius, np.asarray(size) + margin * radius
        tries = rng.uniform(low, high, (_TRIES, 2))
        if i:
            lean = rng.random(_TRIES) < touching
            host = rng.integers(0, i, _TRIES)
            turn = rng.uniform(0, 2 * np.pi, _TRIES)
            reach = (radii[host] + radius) * rng.uniform(gap, gap + 0.08, _TRIES)
            beside = centres[host] + np.stack([np.sin(turn), np.cos(turn)], 1) * reach[:, None]
            inside = np.all((beside > low) & (beside < high), axis=1)
            tries = np.where((lean & inside)[:, None], beside, tries)
            apart = np.hypot(*(tries[:, None] - centres[None, :i]).transpose(2, 0, 1))
            room = (apart / (radii[:i] + radius)).min(axis=1)
            fits = np.flatnonzero(room >= gap * 0.999)
            centres[i] = tries[fits[0] if len(fits) else int(room.argmax())]
        else:
            centres[i] = tries[0]
    return centres


def _window(size: Size, centre: Doubles, reach: float) -> tuple[int, int, Floats, Floats]:
    """The clipped crop around a centre: first row and column, and the offsets of its pixels from the centre."""
    top, left = (max(0, int(np.floor(c - reach))) for c in centre)
    bottom, right = (min(n, int(np.ceil(c + reach)) + 1) for c, n in zip(centre, size, strict=True))
    dy = np.arange(top, max(top, bottom), dtype=np.float32)[:, None] - np.float32(centre[0])
    dx = np.arange(left, max(left, right), dtype=np.float32)[None, :] - np.float32(centre[1])
    return top, left, dy, dx


def blob(
    rng: np.random.Generator,
    size: Size,
    centre: Doubles,
    radius: float,
    *,
    aspect: float = 1.0,
    angle: float | None = None,
    wobble: float = 0.05,
    harmonics: int = 5,
    spread: float = 1.0,
) -> Outline:
    """An ellipse of area π·radius², drawn out by `aspect`, whose outline wavers by about `wobble`.

    The crop reaches out to level `spread`, so that looks can draw what surrounds a cell.
    """
    turn = float(rng.uniform(0, np.pi)) if angle is None else angle
    k = np.arange(2, 2 + harmonics)
    swing = rng.normal(0, 1, harmonics) * wobble * (2 / k) ** 1.4  # smooth: membranes have no corners
    phase = rng.uniform(0, 2 * np.pi, harmonics)
    long, short = radius * np.sqrt(aspect), radius / np.sqrt(aspect)
    reach = long * (1 + min(1.0, float(np.abs(swing).sum()))) * spread
    top, left, dy, dx = _window(size, centre, reach)
    u = (dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))) / np.float32(long)
    v = (dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(short)
    table = _waver(k, swing, phase)
    edge = table[((np.arctan2(v, u) + np.float32(np.pi)) * np.float32((len(table) - 1) / (2 * np.pi))).astype(int)]
    return Outline(top, left, np.sqrt(u * u + v * v) / edge, turn, star=short > 3 and wobble < 0.15)


def _waver(k: NDArray[np.int64], swing: Doubles, phase: Doubles, bins: int = 180) -> Floats:
    """Radius of the outline at `bins` angles (one more than asked, as a full turn may round up to it)."""
    turn = np.arange(bins + 1) * (2 * np.pi / bins) - np.pi
    waves = swing[:, None] * np.cos(k[:, None] * turn[None, :] + phase[:, None])
    edge: Floats = np.clip(1 + waves.sum(axis=0), 0.35, 2.0).astype(np.float32)
    return edge


def spindle(
    rng: np.random.Generator, size: Size, centre: Doubles, length: float, width: float, *, angle: float, bend: float
) -> Outline:
    """A bent spindle with tapering ends, `length` and `width` pixels overall: fibroblasts, glia, neurons."""
    half, wide = length / 2, width / 2
    top, left, dy, dx = _window(size, centre, half * 1.05 + abs(bend) + wide)
    u = (dx * np.float32(np.cos(angle)) + dy * np.float32(np.sin(angle))) / np.float32(half)
    v = dy * np.float32(np.cos(angle)) - dx * np.float32(np.sin(angle)) - np.float32(bend) * (u * u - np.float32(0.3))
    hump = float(rng.uniform(-0.35, 0.35))  # where along the axis the body is thickest
    body = np.exp(-(((u - np.float32(hump)) / np.float32(0.33)) ** 2))
    thick = np.float32(wide) * (np.float32(0.85) * body + np.float32(0.15)) * np.sqrt(np.clip(1 - u * u, 0, 1))
    across = np.abs(v) / np.maximum(thick, np.float32(1e-3))
    return Outline(top, left, np.maximum(across, np.abs(u)).astype(np.float32), angle)


def largest(mask: Bools) -> Bools:
    """The largest 4-connected part of a mask."""
    from scipy.ndimage import label

    parts, count = label(mask)
    if count <= 1:
        return mask
    most: Bools = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return most


def tight(row: int, col: int, mask: Bools) -> Mask:
    """A mask whose crop starts at (row, col), cut down to its tight box; it must have a pixel."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return Mask(row + int(rows[0]), col + int(cols[0]), np.ascontiguousarray(crop))


def resolve(size: Size, outlines: list[Outline], *, overlap: bool, min_area: int = MIN_AREA) -> Cells:
    """Give every pixel to the cell whose level is lowest there, keep one connected part a cell, number what is left."""
    owner = np.zeros(size, np.int32)
    best = np.full(size, np.float32(1))
    for number, outline in enumerate(outlines, 1):
        lowest, own = best[outline.box], owner[outline.box]
        wins = outline.level < lowest
        own[wins] = number
        lowest[wins] = outline.level[wins]
    label_map = np.zeros(size, np.int32)
    masks: list[Mask] = []
    kept: list[int] = []
    for number, outline in enumerate(outlines, 1):
        whole, seen = outline.level < 1, owner[outline.box] == number
        intact = outline.star and np.count_nonzero(whole) == np.count_nonzero(seen)
        seen = seen if intact else largest(seen)
        if np.count_nonzero(seen) < min_area:
            continue
        kept.append(number - 1)
        masks.append(tight(outline.row, outline.col, largest(whole) if overlap else seen))
        label_map[outline.box][seen] = len(masks)
    return Cells(tuple(outlines[i] for i in kept), tuple(masks), label_map, tuple(kept))


def dome(cells: Cells, values: Doubles, *, flat: float = 0.5, overlap: bool = False) -> Floats:
    """Sum of all cells' profiles: `values` at each centre, `flat` times that at the rim, 0 outside its mask."""
    image = np.zeros(cells.label_map.shape, np.float32)
    for number, (outline, value) in enumerate(zip(cells.outlines, values, strict=True), 1):
        inside = outline.level < 1 if overlap else cells.label_map[outline.box] == number
        height = np.sqrt(np.clip(1 - outline.level**2, 0, 1))
        image[outline.box] += inside * np.float32(value) * (np.float32(flat) + np.float32(1 - flat) * height)
    return image


def radii(rng: np.random.Generator, size: Size, cells: int, typical: float, *, fill: float, vary: float) -> Doubles:
    """Log-normal radii around `typical` px, or around what covers the share `fill` of the image if that is less."""
    fitting = np.sqrt(fill * size[0] * size[1] / max(1, cells) / np.pi)
    drawn: Doubles = np.clip(min(typical, fitting) * rng.lognormal(0, vary, cells), 2.2, None)
    return drawn


def lookup(cells: Cells, values: Doubles, outside: float = 0.0) -> Floats:
    """An image that holds each cell's value on its pixels of the label map."""
    table = np.concatenate([[outside], values]).astype(np.float32)
    return table[cells.label_map]


def levels(cells: Cells) -> Floats:
    """An image that holds each pixel's level in the cell that owns it, 1 outside."""
    image = np.ones(cells.label_map.shape, np.float32)
    for number, outline in enumerate(cells.outlines, 1):
        own = cells.label_map[outline.box] == number
        image[outline.box][own] = outline.level[own]
    return image


def specks(
    rng: np.random.Generator, size: Size, count: int, *, low: float, high: float, round_: bool = True
) -> tuple[Floats, Floats]:
    """Debris: `count` small bodies as a smooth cover 0-1, and the same with a random weight 0.3-1 each."""
    cover, weighted = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for _ in range(count):
        centre = rng.uniform(0, size)
        radius = float(rng.uniform(low, high))
        aspect = 1.0 if round_ else float(rng.uniform(1, 4))
        piece = blob(rng, size, centre, radius, aspect=aspect, wobble=0.1 if round_ else 0.25, spread=1.6)
        soft = np.clip((np.float32(1.5) - piece.level) * np.float32(1.2), 0, 1)
        cover[piece.box] = np.maximum(cover[piece.box], soft)
        weighted[piece.box] += soft * np.float32(rng.uniform(0.3, 1))
    return cover, weighted
