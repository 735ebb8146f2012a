"""Generated microscopy: seeded images in five looks with the exact truth about every cell, and label maps in bulk.

The images serve examples, demonstrations, tests and benchmarks that need truth but no licensed pixels. Touching cells,
uneven light, blur, noise and debris keep segmentation a real task on them.

>>> scene = generate("fluorescence", size=(64, 96), cells=6, seed=1)
>>> scene.pixels.shape, scene.pixels.dtype.name, len(scene.masks) == int(scene.label_map.max())
((64, 96), 'uint8', True)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Final

import numpy as np

from ..errors import InputError
from ._noise import CAMERA_MAX, camera
from ._pairs import Flaws, label_maps, perturb, random_scores
from ._scene import Mask, Request, Scene
from ._shapes import MIN_AREA

__all__ = [
    "LOOKS",
    "MIN_AREA",
    "Flaws",
    "Mask",
    "Scene",
    "child_seeds",
    "generate",
    "label_maps",
    "perturb",
    "random_scores",
    "scenes",
    "variants",
]

LOOKS: Final = ("fluorescence", "bright-field", "histology", "phase-contrast", "four-channel")
_MODALITY: Final = {"four-channel": "fluorescence"}
_CHANNELS: Final = {
    "histology": ("red", "green", "blue"),
    "four-channel": ("red", "green", "blue", "yellow"),
}


def _look(name: str) -> ModuleType:
    if name not in LOOKS:
        raise InputError(f"No look is called {name!r}. Choose one of {', '.join(LOOKS)}.")
    return import_module(f"{__name__}._{name.replace('-', '_')}")


def variants(look: str) -> tuple[str, ...]:
    """The variants of a look: cell lines, tissues or protein locations.

    >>> variants("phase-contrast")
    ('spread', 'round', 'island', 'spindle')
    """
    names: tuple[str, ...] = _look(look).VARIANTS
    return names


def generate(
    look: str,
    *,
    size: tuple[int, int] = (256, 256),
    cells: int = 40,
    seed: int = 0,
    dtype: str = "uint8",
    overlap: bool = False,
    variant: str | None = None,
    touching: float = 0.4,
    noise: float = 1.0,
    blur: float = 1.0,
) -> Scene:
    """Draw one image whose every cell is known.

    Parameters
    ----------
    look
        ``fluorescence``, ``bright-field``, ``histology``, ``phase-contrast`` or ``four-channel``.
    size
        Rows and columns, each at least 1.
    cells
        How many cells to place. The image can hold fewer: a cell that the border or its neighbours leave fewer than
        `MIN_AREA` pixels is not made, nor is one of ``four-channel`` that shows no nucleus.
    seed
        A whole number from 0 to 2**63 - 1. The same arguments give the same bytes.
    dtype
        ``uint8``, or ``uint16`` holding 12 bits, 0-4095.
    overlap
        True: cells overlap, and so do `Scene.masks`.
    variant
        One of ``variants(look)``; by default the seed chooses.
    touching
        Share of the cells that lean on another, 0 to 1.
    noise, blur
        Factors on camera noise and on optical blur; 0 for none.

    Raises
    ------
    InputError
        A look, variant, size, count, dtype or factor that does not exist or is out of range.

    Examples
    --------
    >>> generate("histology", size=(40, 60), cells=5, seed=3).channel_names
    ('red', 'green', 'blue')
    """
    module = _look(look)
    _check(look, size, cells, seed, dtype, (touching, noise, blur))
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, LOOKS.index(look)])))
    chosen = _variant(rng, module.VARIANTS) if variant is None else variant
    if chosen not in module.VARIANTS:
        raise InputError(f"{look} has no variant {chosen!r}; choose one of {', '.join(module.VARIANTS)}.")
    rows, cols = int(size[0]), int(size[1])
    ask = Request((rows, cols), cells, overlap, noise, blur, touching, chosen)
    drawn = module.draw(rng, ask)
    pixels = camera(drawn.image, rng, dtype, full_well=drawn.full_well, read_noise=drawn.read_noise, noise=noise)
    shown = Counter(name for names in drawn.class_sets for name in names)
    return Scene(
        pixels=pixels,
        channel_names=_CHANNELS.get(look, ("grey",)),
        masks=drawn.masks,
        label_map=drawn.label_map,
        nuclei=drawn.nuclei,
        nuclei_label_map=drawn.nuclei_label_map,
        classes=tuple(names[0] for names in drawn.class_sets),
        class_sets=drawn.class_sets,
        labels=tuple(sorted(shown, key=lambda name: (-shown[name], name))),
        look=look,
        variant=chosen,
        modality=_MODALITY.get(look, look),
        pixel_size_um=module.PIXEL_SIZE_UM,
        seed=seed,
    )


def _check(
    look: str, size: tuple[int, int], cells: int, seed: int, dtype: str, factors: tuple[float, float, float]
) -> None:
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"size is {size!r}; expected (rows, columns), each at least 1.")
    if cells < 0:
        raise InputError(f"cells is {cells}; expected 0 or more.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; expected a whole number from 0 to 2**63 - 1.")
    if dtype not in CAMERA_MAX:
        raise InputError(f"dtype is {dtype!r}; {look} can be {' or '.join(CAMERA_MAX)}.")
    touching, noise, blur = factors
    if not (0 <= touching <= 1 and 0 <= noise <= 100 and 0 <= blur <= 100):
        raise InputError(f"touching, noise, blur are {factors}; expected 0 to 1, 0 to 100 and 0 to 100.")


def _variant(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    """Choose a variant at random, or "mixed" if the look has it: it already contains the others."""
    return "mixed" if "mixed" in names else str(rng.choice(names))


def scenes(
    look: str,
    n: int,
    *,
    seed: int = 0,
    size: tuple[int, int] = (256, 256),
    cells: int = 40,
    dtype: str = "uint8",
    overlap: bool = False,
    variant: str | None = None,
) -> Iterator[Scene]:
    """Draw `n` independent images; the i-th does not depend on `n`, so they can be drawn in parallel.

    >>> [scene.seed for scene in scenes("fluorescence", 2, size=(8, 8), cells=0)] == list(child_seeds(0, 2))
    True
    """
    for child in child_seeds(seed, n):
        yield generate(look, size=size, cells=cells, seed=child, dtype=dtype, overlap=overlap, variant=variant)


def child_seeds(seed: int, n: int) -> tuple[int, ...]:
    """Independent seeds spawned from one (numpy's SeedSequence), for the images of a series."""
    spawned = np.random.SeedSequence(seed).spawn(n)
    return tuple(int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)) for child in spawned)
