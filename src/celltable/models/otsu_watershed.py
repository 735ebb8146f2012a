"""An untrained baseline for nuclei: Otsu's threshold and a watershed, for dark field, bright field and H&E.

Every trained model should beat it. It is deterministic and has no weights. The steps: find the channel and polarity
that make nuclei bright (`nucleus_signal`), smooth, threshold (Otsu 1979), fill holes, split touching nuclei at the
saddles of the distance map (h-maxima as markers), redraw each nucleus at its own threshold, drop objects that are too
small for the image, and score each nucleus by its contrast to its surroundings.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.cells import Image, Instances
from celltable.errors import InputError
from celltable.plugins import Option
from celltable.plugins.model import Model

Float = NDArray[np.float32]
Field = Literal["dark", "bright", "stain"]

NUCLEUS_NAMES: Final = ("nucleus", "nuclei", "nuclear", "dna", "dapi", "hoechst", "draq5", "w1", "c5")
DARK: Final = 0.35  # a coloured image whose median is below this share of white has a dark background
COLOUR: Final = 0.03  # mean colour spread, as a share of the white level, above which an image counts as coloured
# Optical densities of haematoxylin, eosin and the residual in red, green, blue: Ruifrok & Johnston 2001,
# Anal Quant Cytol Histol 23:291-299, as in the authors' ImageJ plug-in.
STAINS: Final = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
EDGE: Final = 0.6  # a nucleus ends where its signal falls below this share of its mean above background
UNEVEN: Final = 0.35  # background spread, as a share of the foreground's height, that counts as uneven illumination


def predict(
    pixels: NDArray[Any],
    image: Image,
    *,
    sigma: float = 1.0,
    h: float = 0.5,
    min_area: float = 20.0,
    min_share: float = 0.15,
) -> Instances:
    """Outline the nuclei of one image.

    Parameters
    ----------
    pixels
        (row, column) or (row, column, channel), any numeric type. Of several channels, the one that `image` names as a
        nuclear stain is used, else the first; three are taken as colours, a constant fourth as opacity.
    image
        Record of the image; its channel names and pixel roles are used.
    sigma
        Gaussian smoothing, px.
    h
        Minimum depth of a saddle of the distance map that separates two nuclei, px.
    min_area, min_share
        A nucleus smaller than `min_area` px² or than this share of the image's median nucleus is dropped.

    Returns
    -------
    Instances
        One instance per nucleus with a score in (0, 1): ``d / (1 + d)`` with ``d`` the difference between the mean
        signal inside and in a ring of 3 px around, over the sum of both standard deviations.

    Raises
    ------
    InputError
        If the array is not an image.
    """
    signal, field = nucleus_signal(pixels, image)
    labels = segment(signal, field, sigma=sigma, h=h, min_area=min_area, min_share=min_share)
    scores = _contrast(signal, labels)
    return Instances.from_label_map(labels, score=scores, annotator="otsu-watershed", source_id=None)


def nucleus_signal(pixels: ArrayLike, image: Image | None = None) -> tuple[Float, Field]:
    """Extract one plane in which nuclei are bright, float32 (row, column), and say which type of image it is from.

    A coloured image with a bright background is separated into stains, and haematoxylin is kept; with a dark
    background, its brightest colour is taken; a grey image is inverted if its background is bright.

    >>> plane, field = nucleus_signal(np.array([[200, 200, 200], [200, 40, 200]], np.uint8))
    >>> field, plane.tolist()
    ('bright', [[0.0, 0.0, 0.0], [0.0, 160.0, 0.0]])
    """
    array = np.asarray(pixels)
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
        raise InputError(
            f"an image of shape {array.shape} and type {array.dtype} cannot be segmented; "
            "expected numbers of shape (row, column) or (row, column, channel)."
        )
    if array.ndim == 3:
        array = _nuclear_channel(array, image)
    if array.ndim == 2:
        return _upright(_floats(array))
    red, green, blue = (_floats(array[..., i]) for i in range(3))
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    white = 255.0 if array.dtype == np.uint8 else max(float(brightest.max()), 1e-12)
    grey = (red + green + blue) / np.float32(3)
    if float((brightest - darkest).mean()) < COLOUR * white:
        return _upright(grey)
    if float(np.median(grey[::2, ::2])) < DARK * white:
        return brightest, "dark"
    return _haematoxylin((red, green, blue), white), "stain"


def _floats(plane: NDArray[Any]) -> Float:
    return np.nan_to_num(plane.astype(np.float32), posinf=0.0, neginf=0.0)


def _nuclear_channel(array: NDArray[Any], image: Image | None) -> NDArray[Any]:
    """Pick the plane, or the three colours, that show nuclei."""
    depth = array.shape[2]
    names = _channel_names(image, depth)
    for i, name in enumerate(names):
        if any(part in NUCLEUS_NAMES for part in name.replace("-", " ").replace("_", " ").split()):
            return array[..., i]
    if depth == 4 and "blue" in names and "yellow" in names:  # Human Protein Atlas: blue is the nucleus
        return array[..., names.index("blue")]
    if depth == 3 or (depth == 4 and np.ptp(array[..., 3]) == 0 and array[0, 0, 3] == _full(array.dtype)):
        return array[..., :3]
    return array[..., 0]


def _channel_names(image: Image | None, depth: int) -> list[str]:
    if image is None:
        return []
    roles = [p.role for p in image.pixels]
    names = list(image.channels) if len(image.channels) == depth else roles if len(roles) == depth else []
    return [n.lower() for n in names]


def _full(kind: np.dtype[Any]) -> float:
    return float(np.iinfo(kind).max) if kind.kind in "ui" else 1.0


def _upright(plane: Float) -> tuple[Float, Field]:
    """Orient the plane so that its background is dark; the median is closer to the background's end."""
    low, middle, high = np.percentile(plane[::2, ::2] if plane.size > 4096 else plane, (0.5, 50, 99.5))
    if middle - low > high - middle:
        return plane.max() - plane, "bright"
    return plane, "dark"


def _haematoxylin(colours: tuple[Float, Float, Float], white: float) -> Float:
    """Compute the amount of haematoxylin by colour deconvolution (Ruifrok & Johnston), in optical density."""
    stains = np.asarray(STAINS)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    weights = np.linalg.inv(stains)[:, 0]
    amount = np.zeros_like(colours[0])
    for plane, weight in zip(colours, weights.tolist(), strict=True):
        amount -= np.float32(weight) * np.log(np.maximum(plane, white / 256) / np.float32(white))
    return np.maximum(amount, 0)


def segment(
    signal: ArrayLike,
    field: Field = "dark",
    *,
    sigma: float = 1.0,
    h: float = 0.5,
    min_area: float = 20.0,
    min_share: float = 0.15,
) -> NDArray[np.int32]:
    """Segment the bright objects of one plane into a label map (0 = background); parameters as in `predict`.

    >>> spots = np.zeros((40, 60), np.float32); spots[5:15, 5:15] = 9; spots[20:35, 30:45] = 7
    >>> int(segment(spots).max())
    2
    """
    from scipy import ndimage

    plane = np.asarray(signal, dtype=np.float32)
    if plane.size == 0 or not np.ptp(plane) > 0:
        return np.zeros(plane.shape, np.int32)
    smooth = ndimage.gaussian_filter(plane, sigma * (2 if field == "stain" else 1))
    smooth = _flattened(smooth, field)
    # The square root lifts dim nuclei beside bright ones (and evens out photon noise); stains are logarithmic already.
    ranked = smooth if field != "dark" else np.sqrt(np.maximum(smooth - smooth.min(), 0))
    threshold = _otsu(ranked)
    if threshold is None:
        return np.zeros(plane.shape, np.int32)
    foreground = _filled(_opened(ranked > threshold))
    labels = _divide(foreground, h, 2.0 if field == "stain" else 1.0)
    labels = _own_threshold(smooth, labels, foreground)
    return _drop_small(labels, min_area, min_share)


def _flattened(smooth: Float, field: Field) -> Float:
    """Subtract the local background if illumination is uneven, and always in bright field (cytoplasm is grey)."""
    from scipy import ndimage

    if field == "stain":
        return smooth
    if field == "bright":
        side = max(15, min(smooth.shape) // 64 * 4) | 1
        return np.asarray(np.maximum(smooth - ndimage.uniform_filter(smooth, side), 0))
    step = max(1, min(smooth.shape) // 8)
    rows, columns = (-(-n // step) for n in smooth.shape)
    padded = np.pad(smooth, ((0, rows * step - smooth.shape[0]), (0, columns * step - smooth.shape[1])), mode="reflect")
    tiles = padded.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    ground = np.percentile(tiles, 10, axis=2).astype(np.float32)
    height = float(np.percentile(smooth, 99) - np.median(ground))
    if float(np.subtract(*np.percentile(ground, (90, 10)))) < UNEVEN * height:
        return smooth
    even = ndimage.gaussian_filter(ndimage.minimum_filter(ground, 3), 1.0)
    zoomed = ndimage.zoom(even, step, order=1, grid_mode=True, mode="nearest")[: smooth.shape[0], : smooth.shape[1]]
    return np.asarray(np.maximum(smooth - zoomed, 0))


def _otsu(values: Float) -> float | None:
    """Find the threshold of largest between-class variance, 256 bins (Otsu 1979, IEEE SMC 9:62); None if constant."""
    if not np.ptp(values) > 0:
        return None
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = counts.cumsum()[:-1], counts[::-1].cumsum()[::-1][1:]
    sums = (counts * centres).cumsum()
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    variance = below.astype(np.float64) * above * (means[0] - means[1]) ** 2
    return float(edges[int(np.argmax(variance)) + 1])


def _opened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Open with the 3 × 3 cross; pixels beyond the border count as foreground, so that cut nuclei stay whole."""
    near = np.pad(mask, 1, constant_values=True)
    near = near[1:-1, 1:-1] & near[:-2, 1:-1] & near[2:, 1:-1] & near[1:-1, :-2] & near[1:-1, 2:]
    wide = np.pad(near, 1)
    wide = wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return np.asarray(wide & mask)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the holes of the mask: background parts (edge-connected) that do not reach the border."""
    from scipy import ndimage

    parts, n = ndimage.label(~mask)
    outside = np.zeros(n + 1, dtype=bool)
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        outside[edge] = True
    outside[0] = False
    return np.asarray(~outside[parts])


def _divide(foreground: NDArray[np.bool_], h: float, sigma: float) -> NDArray[np.int32]:
    """Apply a watershed to the distance map; basins separated by a saddle less than `h` deep become one nucleus.

    Merging basins by depth equals a watershed from the h-maxima (Soille 2003, Morphological Image Analysis, 6.3.4 and
    9.2) without the reconstruction, which would take most of the time.
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    distance = ndimage.distance_transform_edt(foreground).astype(np.float32)
    distance = ndimage.gaussian_filter(distance, sigma)
    tops = foreground & (distance == ndimage.maximum_filter(distance, 3))
    markers, n = ndimage.label(tops, np.ones((3, 3)))
    flooded = watershed(-distance, markers, mask=foreground)  # type: ignore[no-untyped-call,unused-ignore]
    basins = np.asarray(flooded, dtype=np.int32)
    return _merged(basins, distance, n, h)[basins]


def _merged(basins: NDArray[np.int32], distance: Float, n: int, h: float) -> NDArray[np.int32]:
    """Relabel basins 0..n after joining neighbours, highest saddle first, if the lower peak is within h of it."""
    tops = np.zeros(n + 1, np.float32)
    np.maximum.at(tops, basins.ravel(), distance.ravel())
    parent = list(range(n + 1))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    height = tops.tolist()
    for saddle, a, b in _saddles(basins, distance):
        low, high = sorted((root(a), root(b)), key=lambda i: (height[i], -i))
        if low != high and height[low] - saddle < h:
            parent[low] = high
    return np.asarray([root(i) for i in range(n + 1)], dtype=np.int32)


def _saddles(basins: NDArray[np.int32], distance: Float) -> list[tuple[float, int, int]]:
    """List (height, a, b) of the highest pass between each pair of neighbouring basins, highest first."""
    sides = []
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = basins[first], basins[second]
        at = (a != b) & (a > 0) & (b > 0)
        heights = np.minimum(distance[first], distance[second])[at]
        sides.append((np.minimum(a, b)[at], np.maximum(a, b)[at], heights))
    low, high, heights = (np.concatenate(columns) for columns in zip(*sides, strict=True))
    order = np.lexsort((high, low, -heights))
    return list(zip(heights[order].tolist(), low[order].tolist(), high[order].tolist(), strict=True))


def _own_threshold(smooth: Float, labels: NDArray[np.int32], foreground: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Redraw each nucleus where its signal exceeds a share of its own mean, which equalises dim and bright nuclei."""
    ground = float(np.median(smooth[~foreground])) if not foreground.all() else float(smooth.min())
    at = np.flatnonzero(labels)
    numbers, values = labels.ravel()[at], smooth.ravel()[at]
    means = np.bincount(numbers, values) / np.maximum(np.bincount(numbers), 1)
    limits = (ground + EDGE * (means - ground)).astype(np.float32)
    kept = np.zeros(labels.shape, dtype=bool)
    kept.ravel()[at] = values > limits[numbers]
    return np.asarray(labels * _filled(_opened(kept)))


def _drop_small(labels: NDArray[np.int32], min_area: float, min_share: float) -> NDArray[np.int32]:
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    present = areas[areas > 0]
    if present.size == 0:
        return np.zeros(labels.shape, np.int32)
    kept = areas >= max(min_area, min_share * float(np.median(present)))
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return numbers[labels]


def _contrast(signal: Float, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Score each label 1..n as d / (1 + d), d = (mean inside - mean of the 3-px ring) / (sum of deviations)."""
    from scipy import ndimage

    n = int(labels.max(initial=0))
    if n == 0:
        return np.zeros(0)
    ring = np.where(labels == 0, ndimage.maximum_filter(labels, 7), 0)
    inside, outside = _moments(signal, labels, n), _moments(signal, ring, n)
    apart = inside[0] - outside[0]
    spread = inside[1] + outside[1] + 1e-6 * max(float(np.ptp(signal)), 1e-12)
    d = np.maximum(apart, 0) / spread
    return np.asarray(np.clip(d / (1 + d), 1e-6, 1 - 1e-6))


def _moments(signal: Float, labels: NDArray[Any], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean and standard deviation of the signal in each label 1..n (0 for empty labels)."""
    at = np.flatnonzero(labels)
    numbers, values = labels.ravel()[at], signal.ravel()[at].astype(np.float64)
    counts = np.maximum(np.bincount(numbers, minlength=n + 1), 1)
    means = np.bincount(numbers, values, minlength=n + 1) / counts
    squares = np.bincount(numbers, values * values, minlength=n + 1) / counts
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    return means[1:], deviations[1:]


MODEL = Model(
    name="otsu-watershed",
    title="Otsu threshold and watershed",
    description=(
        "No training: nuclei by Otsu's threshold, split by a watershed on the distance map; dark field, bright field "
        "and H&E (colour deconvolution) are distinguished. A baseline that every trained model should beat."
    ),
    predict=predict,
    options=(
        Option("sigma", 1.0, "Gaussian smoothing", low=0, unit="px"),
        Option("h", 0.5, "minimum depth of a saddle of the distance map that separates two nuclei", low=0, unit="px"),
        Option("min_area", 20.0, "area below which a nucleus is dropped", low=0, unit="px²"),
        Option("min_share", 0.15, "the same as a share of the image's median nucleus", low=0, high=1),
    ),
)
