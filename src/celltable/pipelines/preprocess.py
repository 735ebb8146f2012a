"""Bring other microscopes' images to the look of a known data set, so that models trained on it can read them.

``livecell``: the steps that Edlund et al. 2021 (Nature Methods 18:1038, Methods, "Image preprocessing" of the A549 and
external images) name: scale to a 10x equivalent, divide out the background, move the median to 128, clip to 8 bit.
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

LIVECELL_PIXEL_UM: Final = 1.24  # Incucyte S3, 10x: 1408 × 1040 px of 1.24 µm, cropped into quarters of 704 × 520
BACKGROUND_SIGMA_PX: Final = 60.0  # much wider than a cell at 10x (about 15-30 px), narrower than the vignette
MEDIAN: Final = 128.0
LOOKS: Final = ("livecell",)


def like_livecell(
    pixels: NDArray[Any], *, pixel_size_um: float | None = None, background: bool = True
) -> NDArray[np.uint8]:
    """A phase-contrast image in LIVECell's look: uint8 (row, column), median 128, even background.

    Parameters
    ----------
    pixels
        (row, column) or (row, column, channel), any type; channels are averaged (an alpha channel is left out).
    pixel_size_um
        Edge of a pixel in µm; the image is scaled to 1.24 µm where it differs. None leaves the scale.
    background
        Divide by the background, a Gaussian of 60 px.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.transform import rescale

    image = np.asarray(pixels, np.float32)
    if image.ndim == 3:
        colours = image.shape[2] - 1 if image.shape[2] in (2, 4) else image.shape[2]
        image = image[..., :colours].mean(axis=2)
    if pixel_size_um is not None:
        if pixel_size_um <= 0:
            raise CelltableError(f"the pixel size is {pixel_size_um} µm; expected a positive number.")
        factor = pixel_size_um / LIVECELL_PIXEL_UM
        if abs(factor - 1) > 0.01:
            image = rescale(image, factor, order=1, anti_aliasing=factor < 1, preserve_range=True).astype(np.float32)
    if background:
        smooth = gaussian_filter(image, BACKGROUND_SIGMA_PX, mode="nearest")
        image = image / np.maximum(smooth, np.float32(max(float(smooth.max()) * 1e-3, 1e-6)))
    median = float(np.median(image))
    if median <= 0:
        return np.full(image.shape, round(MEDIAN), np.uint8)
    scaled: NDArray[np.uint8] = np.clip(np.rint(image * (MEDIAN / median)), 0, 255).astype(np.uint8)
    return scaled


def preprocess(
    path: str | Path,
    out: str | Path,
    *,
    like: str = "livecell",
    pixel_size_um: float | None = None,
    background: bool = True,
    progress: bool = False,
    workers: int | None = None,
) -> list[Path]:
    """Preprocess every image of a folder or archive and write 8-bit TIFFs of the same names; returns their paths.

    Raises
    ------
    CelltableError, NotFoundError, InputError, StoreError
        If there is no such look, no image, an image that cannot be read, two images that would get one name, or `out`
        is the folder that is read. What was written until then is whole.
    """
    from celltable import parallel
    from celltable.imagefile import open_release, read_pixels

    if like not in LOOKS:
        raise NotFoundError(f"No look is called '{like}'. There are: {', '.join(LOOKS)}.")
    if pixel_size_um is not None and not pixel_size_um > 0:
        raise CelltableError(f"the pixel size is {pixel_size_um} µm; expected a positive number.")
    target = Path(out)
    if target.resolve() == Path(path).resolve():
        raise CelltableError(f"{out} is the folder that is read; give another one, so that the originals stay.")
    with open_release(path) as release:
        entries = [e for e in release.entries if e.name.lower().endswith(_IMAGES)]
        if not entries:
            raise NotFoundError(f"{path}: expected images ({', '.join(_IMAGES)}), found none.")
        names = _names(entries)
        with plain_os_errors(target):
            target.mkdir(parents=True, exist_ok=True)

        def one(pair: tuple[Entry, Path]) -> Path:
            entry, name = pair
            try:
                image = like_livecell(
                    read_pixels(release.read(entry), entry.name), pixel_size_um=pixel_size_um, background=background
                )
            except CelltableError as exc:
                exc.add_note(f"while preprocessing {entry.name}")
                raise
            return _written(target / name, image)

        label = f"preprocessing like {like}" if progress else None
        pairs = list(zip(entries, names, strict=True))
        return list(parallel.map(one, pairs, workers=workers, progress=label))


def _names(entries: Sequence[Entry]) -> list[Path]:
    """The names of the files to write, in the order of the images."""
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
