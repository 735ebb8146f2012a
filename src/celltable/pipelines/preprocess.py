"""Make images from other microscopes look like a known data set, so that models trained on it work on them.

``livecell``: follows the function that the LIVECell authors released for images from other microscopes
(https://github.com/sartorius-research/LIVECell, code/preprocessing.py; Edlund et al. 2021, Nature Methods 18:1038):
median to 128, scale to an effective 10x by area averages, clip to 0-255, divide by a wide median filter, background to
128, clip to 70-180.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.disk import plain_os_errors
from celltable.errors import CelltableError, NotFoundError

if TYPE_CHECKING:
    from celltable.imagefile import Entry

LIVECELL_PIXEL_UM: Final = 1.24  # Incucyte S3, 10x: 1408 × 1040 px of 1.24 µm, cut into quarters of 704 × 520
LIVECELL_MAGNIFICATION: Final = 10.0
APERTURE_PX: Final = 75  # width of the median filter at 10x, wider than a cell (`median_radius_raw`)
MEDIAN: Final = 128.0  # `target_median`
DARKEST, BRIGHTEST = 70.0, 180.0  # "clipping for zernike phase halo artifacts"
LOOKS: Final = ("livecell",)
Floats = NDArray[np.float64]


def like_livecell(
    pixels: NDArray[Any],
    *,
    pixel_size_um: float | None = None,
    magnification: float | None = None,
    fluorescence: bool = False,
    background: bool = True,
) -> NDArray[np.uint8]:
    """Make an image look like LIVECell: uint8 (row, column), background 128, values from 70 to 180.

    Differences from the released function: any bit depth and colour is accepted; a background of 0 counts as 1 (the
    original divides by 0); images below 10x are enlarged linearly (the original does not cover them).

    Parameters
    ----------
    pixels
        (row, column) or (row, column, channel), any type; channels are averaged (an alpha channel is left out).
    pixel_size_um
        Edge of a pixel in µm; the image is scaled to 1.24 µm if the two differ by more than 1 %.
    magnification
        Magnification of the objective, instead of the pixel size: 20 halves the image. Without either, the scale stays.
    fluorescence
        The image is bright on black: it is inverted and halved first, (white - value) / 2, as the released
        ``preprocess_fluorescence`` does. White is 255 for 8 bit, the brightest value for other types.
    background
        Divide by the background, a median filter of 75 px times the scale, made odd.

    Raises
    ------
    CelltableError
        If the scale is not a positive number, or more than half of an image that is not all black is black.

    >>> image = np.full((90, 120), 40, np.uint8); image[40:48, 50:58] = 50
    >>> look = like_livecell(image, magnification=20)
    >>> look.shape, int(look[0, 0]), int(look.max())
    ((45, 60), 128, 160)
    """
    image = _grey(pixels)
    if fluorescence:
        white = 255.0 if np.asarray(pixels).dtype == np.uint8 else float(image.max(initial=0))
        image = (white - image) / 2
    scale = _scale(pixel_size_um, magnification)
    median = float(np.median(image))
    if median <= 0:
        if image.any():
            raise CelltableError(
                "the median of the image is 0, which cannot be scaled to 128; a fluorescence image is inverted first "
                "with --fluorescence."
            )
        median, image = MEDIAN, np.full_like(image, MEDIAN)
    image = np.clip(_resized(image, scale) * (MEDIAN / median), 0, 255)
    if background:
        image = image / np.maximum(_background(image.astype(np.uint8), scale), 1) * MEDIAN
    look: NDArray[np.uint8] = np.clip(image, DARKEST, BRIGHTEST).astype(np.uint8)
    return look


def _grey(pixels: NDArray[Any]) -> Floats:
    image = np.asarray(pixels, np.float64)
    if image.ndim == 3:
        colours = image.shape[2] - 1 if image.shape[2] in (2, 4) else image.shape[2]
        image = image[..., :colours].mean(axis=2)
    return image


def _scale(pixel_size_um: float | None, magnification: float | None) -> float:
    """Compute the factor that scales an image to an effective 10x."""
    if pixel_size_um is not None and magnification is not None:
        raise CelltableError("both a pixel size and a magnification are given; expected only one of them.")
    for name, unit, value in (("pixel size", " µm", pixel_size_um), ("magnification", "x", magnification)):
        if value is not None and not 0 < value < np.inf:
            raise CelltableError(f"the {name} is {value}{unit}; expected a positive number.")
    if magnification is not None:
        return LIVECELL_MAGNIFICATION / magnification
    scale = 1.0 if pixel_size_um is None else pixel_size_um / LIVECELL_PIXEL_UM
    return 1.0 if abs(scale - 1) <= 0.01 else scale


def _resized(image: Floats, scale: float) -> Floats:
    if scale == 1:
        return image
    size = tuple(max(1, int(n * scale + 1e-9)) for n in image.shape)
    if scale > 1:
        from skimage import transform

        resize: Any = transform.resize
        return np.asarray(resize(image, size, order=1, preserve_range=True), np.float64)
    return _area_means(_area_means(image, size[0]).T, size[1]).T


def _area_means(image: Floats, rows: int) -> Floats:
    """Reduce the number of rows; each is the mean of a strip, with partly covered rows weighted by their share."""
    height = len(image)
    sums = np.concatenate([np.zeros((1, image.shape[1])), np.cumsum(image, axis=0)])
    edges = np.linspace(0, height, rows + 1)
    whole = np.minimum(edges.astype(int), height - 1)
    at = sums[whole] + image[whole] * (edges - whole)[:, None]
    means: Floats = np.diff(at, axis=0) * (rows / height)
    return means


def _background(image: NDArray[np.uint8], scale: float) -> Floats:
    """Apply a median filter; the nearest pixel is repeated beyond the border."""
    from skimage.filters import rank

    median: Any = rank.median
    aperture = round(APERTURE_PX * scale)
    aperture += aperture % 2 == 0
    reach = aperture // 2
    around = median(np.pad(image, reach, mode="edge"), np.ones((aperture, aperture), np.uint8))
    return np.asarray(around[reach : reach + image.shape[0], reach : reach + image.shape[1]], np.float64)


def preprocess(
    path: str | Path,
    out: str | Path,
    *,
    like: str = "livecell",
    pixel_size_um: float | None = None,
    magnification: float | None = None,
    fluorescence: bool = False,
    background: bool = True,
    only: Sequence[str] = (),
    progress: bool = False,
    workers: int | None = None,
) -> list[Path]:
    """Preprocess every image of a folder or archive, write 8-bit TIFFs with the same names and return their paths.

    `pixel_size_um`, `magnification`, `fluorescence` and `background` are those of `like_livecell`. `only` lists
    patterns (``images/*``) for names in the folder or archive; a file must match one of them, so masks can be skipped.

    Raises
    ------
    CelltableError, NotFoundError, InputError, StoreError
        If the look is unknown, there are no images, an image cannot be read, two images would get the same name, or
        `out` is the input folder. Files written before the error are complete.
    """
    from celltable import work
    from celltable.imagefile import open_release, read_pixels

    if like not in LOOKS:
        raise NotFoundError(f"No look is called '{like}'. There are: {', '.join(LOOKS)}.")
    _scale(pixel_size_um, magnification)
    target = Path(out)
    if target.resolve() == Path(path).resolve():
        raise CelltableError(f"{out} is the input folder; choose another one, so that the originals are kept.")
    with open_release(path) as release:
        entries = _chosen([e for e in release.entries if e.name.lower().endswith(_IMAGES)], only, path)
        names = _names(entries)
        with plain_os_errors(target):
            target.mkdir(parents=True, exist_ok=True)

        def one(pair: tuple[Entry, Path]) -> Path:
            entry, name = pair
            try:
                image = like_livecell(
                    read_pixels(release.read(entry), entry.name), pixel_size_um=pixel_size_um,
                    magnification=magnification, fluorescence=fluorescence, background=background,
                )  # fmt: skip
            except CelltableError as exc:
                exc.add_note(f"while preprocessing {entry.name}")
                raise
            return _written(target / name, image)

        label = f"preprocessing like {like}" if progress else None
        pairs = list(zip(entries, names, strict=True))
        return list(work.map(one, pairs, workers=workers, progress=label))


def _chosen(entries: Sequence[Entry], only: Sequence[str], path: str | Path) -> list[Entry]:
    """Select the entries that match a pattern, or all entries without patterns."""
    from fnmatch import fnmatchcase

    if not entries:
        raise NotFoundError(f"{path}: expected images ({', '.join(_IMAGES)}), found none.")
    chosen = [e for e in entries if not only or any(fnmatchcase(e.name, pattern) for pattern in only)]
    if not chosen:
        raise NotFoundError(
            f"{path}: none of {len(entries):,} images is named like {' or '.join(only)}; "
            f"the first is {entries[0].name}."
        )
    return chosen


def _names(entries: Sequence[Entry]) -> list[Path]:
    """Name the files to write, in the order of the images."""
    made: dict[Path, str] = {}
    for entry in entries:
        name = Path(entry.name).with_suffix(".tif")
        if name in made:
            raise CelltableError(f"{made[name]} and {entry.name} would both become {name}; rename one of them.")
        made[name] = entry.name
    return list(made)


_IMAGES: Final = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")


def _written(path: Path, image: NDArray[np.uint8]) -> Path:
    import tifffile

    with plain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        tifffile.imwrite(partial, image, compression="zlib", metadata=None)
        os.replace(partial, path)
    return path
