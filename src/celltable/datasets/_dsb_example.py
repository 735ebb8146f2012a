"""Generate a tiny release in the layout of the 2018 Data Science Bowl, with its quirks and known mask defects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.geometry import rle

from ._example import eight_bits, write_zip
from ._read import png

Mask = NDArray[np.bool_]
_LOOKS: Final = ("fluorescence", "histology", "fluorescence", "bright-field", "fluorescence", "histology")
_SIZES: Final = {"fluorescence": (128, 128), "histology": (96, 128), "bright-field": (144, 144)}


def write_bowl(folder: Path, seed: int) -> Path:
    """Write the three archives and their tables; return their folder."""
    root = folder / "data-science-bowl-2018"
    root.mkdir(parents=True, exist_ok=True)
    train = [scene(f"train{i}", seed * 100 + i, look) for i, look in enumerate(_LOOKS)]
    spoil(train[0][2])
    write_zip(root / "stage1_train.zip", {**litter(train[0][0]), **dict(train_files(train, "RGBA"))})
    _write_table(root / "stage1_train_labels.csv", train, ())
    test = [scene(f"test{i}", seed * 100 + 20 + i, look) for i, look in enumerate(_LOOKS[:2])]
    write_zip(root / "stage1_test.zip", dict(_pictures(test, ("RGBA", "RGB"))))
    _write_table(root / "stage1_solution.csv", test, ["Public"] * 2)
    final = [scene(f"final{i}", seed * 100 + 40 + i, look) for i, look in enumerate(_LOOKS[:4])]
    write_zip(root / "stage2_test_final.zip", dict(_pictures(final, ("I;16", "RGB", "LA", "L"))))
    _write_table(root / "stage2_solution_final.csv", final, ["Private", "Private", "Private", "Ignored"])
    return root


Scene = tuple[str, NDArray[Any], list[Mask]]


def scene(name: str, seed: int, look: str) -> Scene:
    """Generate an image: its id, its pixels and its masks in label order."""
    from celltable.synthetic import generate

    made = generate(look, size=_SIZES[look], cells=14, seed=seed)
    labels = made.label_map
    ids = [i for i in np.unique(labels).tolist() if i]
    return hashlib.sha256(f"{name} {seed}".encode()).hexdigest(), made.pixels, [labels == i for i in ids]


def spoil(masks: list[Mask]) -> None:
    """Add the defects of stage1_train: a hole in the largest mask, an outline in place of the next, a speck."""
    largest = sorted(range(len(masks)), key=lambda k: -int(masks[k].sum()))
    holed, outlined, split = (masks[k] for k in largest[:3])
    inner = _eroded(_eroded(holed))
    holed[inner] = False
    holed[_eroded(_eroded(inner))] = True  # leaves a ring-shaped hole around a core
    outlined[_eroded(outlined)] = False
    far = np.argwhere(~np.any(masks, axis=0))
    centre = np.argwhere(split).mean(axis=0)
    row, column = far[np.argmax(((far - centre) ** 2).sum(axis=1))]
    split[row, column] = True


def _eroded(mask: Mask) -> Mask:
    inner = mask.copy()
    inner[0], inner[-1], inner[:, 0], inner[:, -1] = False, False, False, False
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return inner


def train_files(scenes: Sequence[Scene], mode: str) -> Iterator[tuple[str, bytes]]:
    """Make images/ and masks/ of each scene; mask names are 64 hexadecimal digits, unrelated to the image's."""
    yield from _pictures(scenes, [mode] * len(scenes))
    for image_id, _, masks in scenes:
        for k, mask in enumerate(masks):
            name = hashlib.sha256(f"{image_id} {k}".encode()).hexdigest()
            yield f"{image_id}/masks/{name}.png", png(np.where(mask, 255, 0).astype(np.uint8))


def litter(image_id: str) -> dict[str, bytes]:
    """Make the files that operating systems leave in archives."""
    return {
        "__MACOSX/._stage1_train": b"\0",
        ".DS_Store": b"\0",
        f"{image_id}/.DS_Store": b"\0",
        f"__MACOSX/{image_id}/masks/._mask.png": b"\0",
    }


def _pictures(scenes: Sequence[Scene], modes: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for (image_id, pixels, _), mode in zip(scenes, modes, strict=True):
        yield f"{image_id}/images/{image_id}.png", picture(pixels, mode)


def picture(pixels: NDArray[Any], mode: str) -> bytes:
    """Encode pixels as a PNG of Pillow's mode L, LA, RGB, RGBA or I;16 (12 of 16 bits)."""
    eight = eight_bits(pixels)
    rgb = np.repeat(eight[..., None], 3, axis=2) if eight.ndim == 2 else eight[..., :3]
    alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    grey = rgb.mean(axis=2).astype(np.uint8)
    made = {
        "L": grey,
        "LA": np.concatenate([grey[..., None], alpha], axis=2),
        "RGB": rgb,
        "RGBA": np.concatenate([rgb, alpha], axis=2),
        "I;16": grey.astype(np.uint16) << 4,
    }
    return png(made[mode])


def _write_table(path: Path, scenes: Sequence[Scene], usages: Sequence[str]) -> None:
    lines = ["ImageId,EncodedPixels" + (",Height,Width,Usage" if usages else "")]
    for i, (image_id, pixels, masks) in enumerate(scenes):
        height, width = pixels.shape[:2]
        tail = f",{height},{width},{usages[i]}" if usages else ""
        for mask in masks[:1] if tail.endswith("Ignored") else masks:
            lines.append(f"{image_id},{rle.to_kaggle(rle.encode(mask), (height, width))}{tail}")
    path.write_text("\n".join(lines) + "\n", encoding="ascii", newline="")
