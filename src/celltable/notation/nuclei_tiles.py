"""Process masks like the COCO collection of nuclei sets: cut tiles, shrink, and redraw outlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances
from celltable.geometry import rle
from celltable.geometry.masks import Masks

SMALL_CONTOUR_PX: Final = 30  # contours smaller than this, or sharing more with an accepted one, were dropped
LARGEST_SHARE: Final = 0.5  # as were those larger than this share of the image
Window = tuple[int, int, int, int]  # top, bottom, left, right


def spans(length: int, tile: int, ragged: bool = False) -> list[tuple[int, int]]:
    """Compute the ends of tiles along an axis: all `tile` long, the last reaching back; or ragged, as published.

    >>> spans(1000, 512), spans(1000, 512, ragged=True), spans(300, 512)
    ([(0, 512), (488, 1000)], [(0, 512), (512, 1000)], [(0, 300)])
    """
    starts = range(0, max(length, 1), tile)
    if ragged or length <= tile:
        return [(s, min(s + tile, length)) for s in starts]
    return [(min(s, length - tile), min(s, length - tile) + tile) for s in starts]


def windows(size: tuple[int, int], tile: int, ragged: bool = False, swapped: bool = False) -> Iterator[Window]:
    """List the tiles of an image of `size` (height, width), row by row, as (top, bottom, left, right).

    `swapped` takes the row ranges from the width and the column ranges from the height, as the collection's tool did:
    anything outside the image is cut off, and the rest of the longer side is not covered.

    >>> list(windows((4, 8), 4)), list(windows((4, 8), 4, swapped=True))
    ([(0, 4, 0, 4), (0, 4, 4, 8)], [(0, 4, 0, 4)])
    """
    height, width = size
    along = (width, height) if swapped else (height, width)
    for top, bottom in spans(along[0], tile, ragged):
        for left, right in spans(along[1], tile, ragged):
            if top < height and left < width:
                yield top, min(bottom, height), left, min(right, width)


def cropped(cells: Instances, window: Window) -> Instances:
    """Cut out the cells inside a window, keeping their ids; those that lost pixels are marked as truncated."""
    top, bottom, left, right = window
    size = bottom - top, right - left
    boxes = np.asarray(cells.bbox).reshape(-1, 4)
    inside = (boxes[:, 0] < right) & (boxes[:, 0] + boxes[:, 2] > left)
    inside &= (boxes[:, 1] < bottom) & (boxes[:, 1] + boxes[:, 3] > top)
    picked = np.flatnonzero(inside)
    found = cells.take(picked)
    masks = found.rle.crop((left, top, size[1], size[0]))
    cut = np.array(found.column("truncated"), bool) | (masks.areas < found.area)
    return found.with_masks(masks).with_columns(truncated=cut).take(masks.areas > 0)


def shrunk(cells: Instances, size: tuple[int, int]) -> Instances:
    """Scale the cells to another image size by nearest pixel; some may end up without pixels."""
    rows, columns = (  # centres of new pixels, in integers so that ties are always resolved the same way
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, cells.size, strict=True)
    )
    masks = []
    for k, (x, y, width, height) in enumerate(cells.bbox.tolist()):
        own = cells.rle[k : k + 1].crop((x, y, width, height)).decode(0)
        top, bottom = np.searchsorted(rows, (y, y + height))
        left, right = np.searchsorted(columns, (x, x + width))
        mask = np.zeros(size, bool)
        grid = np.ix_(rows[top:bottom] - y, columns[left:right] - x)
        mask[top:bottom, left:right] = own[grid]
        masks.append(rle.encode(mask))
    return cells.with_masks(Masks.of(masks, size))


def shrunk_pixels(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Scale an image (row, column[, channel]) to another size, each pixel being the mean of those it covers."""
    from PIL import Image as Pillow

    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    made = [
        np.asarray(Pillow.fromarray(planes[..., k].astype(np.float32)).resize(size[::-1], Pillow.Resampling.BOX))
        for k in range(planes.shape[2])
    ]
    joined: NDArray[Any] = np.rint(np.stack(made, axis=-1)).astype(pixels.dtype)
    return joined[..., 0] if pixels.ndim == 2 else joined


def redrawn(cells: Instances, dilate: bool) -> Instances:
    """Redraw the cells the way the collection's tool closes outlines, from small to large.

    The outermost rows and columns are outline, which does not belong to a nucleus; contours under 30 px, over half of
    the image, or sharing more than 30 px with an accepted one are dropped; with `dilate` the rest grows by 3 × 3
    pixels.
    """
    from scipy import ndimage

    height, width = cells.size
    inner = np.zeros(cells.size, bool)
    inner[1:-1, 1:-1] = True
    taken = np.zeros(cells.size, bool)
    kept: list[int] = []
    masks: dict[int, NDArray[np.bool_]] = {}
    for k in np.argsort(np.asarray(cells.area), kind="stable").tolist():
        mask = cells.rle.decode(k) & inner
        area = int(mask.sum())
        if not SMALL_CONTOUR_PX <= area <= LARGEST_SHARE * height * width:
            continue
        if int((mask & taken).sum()) > SMALL_CONTOUR_PX:
            continue
        taken |= mask
        masks[k] = ndimage.binary_dilation(mask, np.ones((3, 3), bool)) if dilate else mask
        kept.append(k)
    kept.sort()
    made = [rle.encode(np.ascontiguousarray(masks[k])) for k in kept]
    return cells.take(np.array(kept, np.intp)).with_masks(Masks.of(made, cells.size))
