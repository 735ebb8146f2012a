"""Label maps in bulk: ground truth and a plausible, flawed prediction of it, for tests and benchmarks.

No pixels are drawn, so half a million cells on a slide of 20,000 × 20,000 pixels take seconds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._scene import Bools, Labels

_STAMPS = 48
_DROP, _SPLIT, _MERGE = 0, 1, 2  # fates of a cell, in the order of the shares in Flaws
_BLOCK = 1 << 24  # pixels at a time where a pass needs temporaries


class Flaws(NamedTuple):
    """Shares of cells, 0 to 1, that a prediction gets wrong; whatever is left over is only shifted by `jitter` px."""

    drop: float = 0.05
    spurious: float = 0.04  # as a share of the cells
    split: float = 0.03
    merge: float = 0.04
    grow: float = 0.25
    shrink: float = 0.25
    jitter: int = 1


def _stamps(rng: np.random.Generator, spacing: float) -> list[Bools]:
    """A small library of cell shapes; every cell of a map is a copy of one."""
    turn = np.arange(256) * (2 * np.pi / 256)
    found: list[Bools] = []
    for _ in range(_STAMPS):
        radius = max(0.9, spacing * rng.uniform(0.34, 0.56))
        aspect, angle = np.sqrt(rng.uniform(1.0, 1.9)), rng.uniform(0, np.pi)
        edge = 1 + sum(rng.normal(0, 0.05) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in (2, 3, 4, 5))
        reach = int(np.ceil(radius * aspect * 1.2))
        y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
        u = (x * np.cos(angle) + y * np.sin(angle)) / (radius * aspect)
        v = (y * np.cos(angle) - x * np.sin(angle)) / (radius / aspect)
        mask = np.hypot(u, v) <= np.asarray(edge)[((np.arctan2(v, u) + np.pi) * (255 / (2 * np.pi))).astype(int)]
        mask[reach, reach] = True
        found.append(mask)
    return found


def _centres(rng: np.random.Generator, n: int, size: tuple[int, int], spacing: float) -> NDArray[np.int64]:
    """n distinct places of a jittered grid, in reading order, so that memory is walked forwards."""
    rows, cols = max(1, int(size[0] / spacing)), max(1, int(size[1] / spacing))
    while rows * cols < n:
        rows, cols = rows + (rows * size[1] <= cols * size[0]), cols + (rows * size[1] > cols * size[0])
    places = np.sort(rng.permutation(rows * cols)[:n])
    pitch = np.array([size[0] / rows, size[1] / cols])
    at = (np.stack([places // cols, places % cols], 1) + 0.5) * pitch + rng.uniform(-0.22, 0.22, (n, 2)) * pitch
    pixels: NDArray[np.int64] = np.clip(at.astype(np.int64), 0, np.asarray(size) - 1)
    return pixels


def _stamp(canvas: Labels, mask: Bools, row: int, col: int, value: int) -> None:
    """Write `value` on the background pixels under a mask centred at (row, col), clipped to the canvas."""
    half_r, half_c = mask.shape[0] // 2, mask.shape[1] // 2
    top, left = row - half_r, col - half_c
    up, lead = max(0, -top), max(0, -left)
    under = canvas[top + up : top + mask.shape[0], left + lead : left + mask.shape[1]]
    shape = mask[up : up + under.shape[0], lead : lead + under.shape[1]]
    np.copyto(under, value, where=shape & (under == 0))


def label_maps(
    n_cells: int, size: tuple[int, int] = (520, 704), seed: int = 0, *, flaws: Flaws | None = None
) -> tuple[Labels, Labels]:
    """Ground truth with exactly `n_cells` cells, many of them touching, and a flawed prediction of it.

    Returns
    -------
    (gt, pred)
        Two int32 arrays of `size` (rows, columns), labels 1, 2, … without gaps.

    Raises
    ------
    InputError
        Fewer than 0 cells, or more than a quarter of the pixels.

    Examples
    --------
    >>> gt, pred = label_maps(300, (520, 704), seed=1)
    >>> int(gt.max()), bool(abs(int(pred.max()) - 300) < 60)
    (300, True)
    """
    rows, cols = size
    if min(size) < 1 or n_cells < 0 or n_cells > rows * cols // 4:
        raise InputError(f"{n_cells} cells do not fit on {rows} x {cols} pixels; expected 0 to {rows * cols // 4}.")
    first, second = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.Generator(np.random.PCG64(first))
    gt = np.zeros(size, np.int32)
    spacing = float(np.sqrt(rows * cols / max(1, n_cells)))
    stamps = _stamps(rng, spacing)
    places = _centres(rng, n_cells, size, spacing)
    kinds = rng.integers(0, len(stamps), n_cells)
    for value, ((row, col), kind) in enumerate(zip(places.tolist(), kinds.tolist(), strict=True), 1):
        _stamp(gt, stamps[kind], row, col, value)
    _reseed(gt, places)
    return gt, _perturbed(gt, np.random.Generator(np.random.PCG64(second)), flaws or Flaws())


def _reseed(gt: Labels, places: NDArray[np.int64]) -> None:
    """Give a cell that its neighbours buried a pixel of theirs back, so that no label is missing."""
    areas = _areas(gt, len(places))
    for number in np.flatnonzero(areas == 0).tolist():
        if number == 0:
            continue
        row, col = places[number - 1]
        window = gt[max(0, row - 3) : row + 4, max(0, col - 3) : col + 4]
        spare = np.argwhere((window == 0) | (areas[window] > 1))  # never the last pixel of another cell
        spot = tuple(spare[0])
        areas[window[spot]] -= 1
        areas[number] += 1
        window[spot] = number


def _areas(label_map: Labels, n: int) -> NDArray[np.int64]:
    """Pixels of labels 0 to n, counted in blocks so that the copy that bincount makes stays small."""
    areas = np.zeros(n + 1, np.int64)
    step = max(1, _BLOCK // max(1, label_map.shape[1]))
    for top in range(0, label_map.shape[0], step):
        areas += np.bincount(label_map[top : top + step].ravel(), minlength=n + 1)
    return areas


def perturb(label_map: NDArray[Any], seed: int = 0, *, flaws: Flaws | None = None) -> Labels:
    """A plausible prediction of a label map: cells shifted, grown, shrunk, split, merged, dropped, invented.

    Parameters
    ----------
    label_map
        (rows, columns), whole numbers, 0 = background.
    flaws
        How many of each; see `Flaws`. ``Flaws(*[0] * 7)`` changes nothing but the numbering.

    Returns
    -------
    int32 array of the same shape, labels 1, 2, … without gaps.

    Examples
    --------
    >>> import numpy as np
    >>> perturb(np.array([[0, 5, 5, 0, 9]]), flaws=Flaws(*[0] * 7))
    array([[0, 1, 1, 0, 2]], dtype=int32)
    """
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        raise InputError(f"label_map is {label_map.dtype} with {label_map.ndim} axes; expected 2-D whole numbers.")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    return _perturbed(_renumber(label_map), rng, flaws or Flaws())


def _renumber(label_map: NDArray[Any]) -> Labels:
    """The labels present become 1, 2, … in their order; a map that is already so is returned as it is."""
    if label_map.size == 0 or label_map.min() < 0:
        raise InputError("label_map is empty or has negative labels; expected 0 for background and cells above it.")
    top = int(label_map.max())
    if top > 4 * label_map.size:
        _, order = np.unique(np.concatenate([np.zeros(1, label_map.dtype), label_map.ravel()]), return_inverse=True)
        return order[1:].reshape(label_map.shape).astype(np.int32)
    present = _areas(label_map.astype(np.int32, copy=False), top) > 0
    present[0] = False
    if present[1:].all():
        return label_map.astype(np.int32, copy=False)
    numbers: Labels = np.where(present, np.cumsum(present), 0).astype(np.int32)
    dense: Labels = numbers[label_map]
    return dense


def _shifted(mask: Bools, dy: int, dx: int) -> Bools:
    moved = np.zeros_like(mask)
    h, w = mask.shape
    moved[max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)] = mask[
        max(0, -dy) : h + min(0, -dy), max(0, -dx) : w + min(0, -dx)
    ]
    return moved


def _grown(mask: Bools) -> Bools:
    """Dilated by one pixel, 4-connected; the crop has room for it."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def _eaten(mask: Bools) -> Bools:
    """Eroded by one pixel, 4-connected, unless nothing would be left."""
    out = mask.copy()
    out[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return out if out.any() else mask


def _perturbed(gt: Labels, rng: np.random.Generator, flaws: Flaws) -> Labels:
    """Redraw every cell with its flaw, invent some, and number what can be seen."""
    from scipy.ndimage import find_objects

    boxes = find_objects(gt)
    n = len(boxes)
    fate = np.digitize(rng.random(n), np.cumsum([flaws.drop, flaws.split, flaws.merge])).tolist()
    turgor = rng.random(n)
    swell = ((turgor < flaws.grow).astype(int) - (turgor >= 1 - flaws.shrink)).tolist()
    moves = rng.integers(-flaws.jitter, flaws.jitter + 1, (n, 2)).tolist()
    pred = np.zeros_like(gt)
    alias = list(range(n + 1))  # the predicted id of each cell; merged cells share one
    extra = n
    for i, box in enumerate(boxes):
        if box is None or fate[i] == _DROP:
            continue
        crop = _roomy(box, 2 + flaws.jitter)
        near, under = gt[crop], pred[crop]
        mask = _redrawn(near == i + 1, swell[i], moves[i]) & (under == 0)
        if fate[i] == _MERGE:
            alias[i + 1] = _neighbour(near, i + 1, alias)
        under[mask] = alias[i + 1]
        if fate[i] == _SPLIT:
            extra += 1
            _halve(under, mask, extra)
    _invent(pred, rng, round(flaws.spurious * n), extra)
    return _renumber(pred)


def _roomy(box: tuple[slice, slice], room: int) -> tuple[slice, slice]:
    """A box with `room` pixels around it, where the image has them."""
    return slice(max(0, box[0].start - room), box[0].stop + room), slice(
        max(0, box[1].start - room), box[1].stop + room
    )


def _redrawn(mask: Bools, swell: int, move: list[int]) -> Bools:
    """A cell grown (swell = 1) or shrunk (-1) by a pixel, and moved."""
    if swell:
        mask = _grown(mask) if swell > 0 else _eaten(mask)
    return _shifted(mask, *move) if any(move) else mask


def _neighbour(near: Labels, own: int, alias: list[int]) -> int:
    """The predicted id of the neighbour that shares most of the crop, or the cell's own."""
    others = near[(near != 0) & (near != own)]
    return alias[int(np.bincount(others).argmax())] if others.size else own


def _halve(under: Labels, mask: Bools, value: int) -> None:
    """Cut a cell across its longer side; the far half becomes `value`."""
    tall = mask.shape[0] > mask.shape[1]
    cut = mask.shape[0] // 2 if tall else mask.shape[1] // 2
    half = (slice(cut, None), slice(None)) if tall else (slice(None), slice(cut, None))
    under[half][mask[half]] = value


def _invent(pred: Labels, rng: np.random.Generator, count: int, last: int) -> None:
    """`count` spurious cells, a little smaller than real ones, on whatever background they hit."""
    if not count:
        return
    stamps = _stamps(rng, 0.6 * float(np.sqrt(pred.size / max(1, last))))
    rows, cols = rng.integers(0, pred.shape[0], count).tolist(), rng.integers(0, pred.shape[1], count).tolist()
    kinds = rng.integers(0, len(stamps), count).tolist()
    for value, (row, col, kind) in enumerate(zip(rows, cols, kinds, strict=True), last + 1):
        _stamp(pred, stamps[kind], row, col, value)


def random_scores(n: int, seed: int = 0, *, quality: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Confidences of `n` predictions, 0 to 1; with `quality` (n,), such as IoUs, better cells tend to score higher.

    Scores are rounded to 1/1000, so that ties occur, as they do in real predictions.

    >>> random_scores(3, seed=1).round(3).tolist() == random_scores(3, seed=1).tolist()
    True
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    base = rng.beta(3, 1.5, n) if quality is None else np.clip(quality + rng.normal(0, 0.15, n), 0, 1)
    return np.round(base, 3)
