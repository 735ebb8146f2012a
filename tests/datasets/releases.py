"""Helpers for the tests of readers: an example to damage, and what reading it gives."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable import plugins
from celltable.cells import Finding, Sample
from celltable.imagefile import open_release, read_pixels


def make_example(name: str, folder: Path, seed: int = 0) -> Path:
    """Write the generated example of a data set."""
    path: Path = plugins.load("datasets", name).example(folder, seed)
    return path


def read_all(name: str, path: Path, parts: tuple[str, ...] = ()) -> tuple[dict[str, Sample], list[Finding]]:
    """Return samples by image id, and all findings."""
    dataset = plugins.load("datasets", name)
    with open_release(path) as release:
        scan = dataset.scan(release, parts)
        samples = [dataset.load(release, scan.shared, item) for item in scan.items]
    return {s.image.image_id: s for s in samples}, [*scan.findings, *(f for s in samples for f in s.findings)]


def rules(findings: list[Finding]) -> Counter[str]:
    """Count the findings per rule."""
    return Counter(f.rule for f in findings)


def only(folder: Path, pattern: str) -> Path:
    """Return the first file by name that matches the pattern."""
    return sorted(p for p in folder.rglob(pattern) if "__MACOSX" not in p.parts)[0]


def cut(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def resave(path: Path, pixels: NDArray[Any]) -> None:
    """Write pixels in the format given by the file name."""
    from PIL import Image as Picture

    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        tifffile.imwrite(path, pixels, metadata=None)
    else:
        Picture.fromarray(pixels).save(path)


def pixels_of(path: Path) -> NDArray[Any]:
    """Read the pixels of an image file."""
    return read_pixels(path.read_bytes(), path.name)


def remove(paths: Iterable[Path]) -> None:
    """Delete files."""
    for path in list(paths):
        path.unlink()


def cropped(path: Path) -> None:
    """Remove three rows from an image file."""
    resave(path, np.ascontiguousarray(pixels_of(path)[:-3]))


Spoil = Callable[[Path], object]
Lost = Callable[[dict[str, Sample]], int]
Case = tuple[Spoil, str, int, Lost | int]  # change → rule, number of additional findings, number of cells lost


def cells_of(*images: str, kind: str = "") -> Lost:
    """Count the cells, of one kind or all, of images whose ids start with a prefix."""

    def count(samples: dict[str, Sample]) -> int:
        chosen = [s.instances.column("kind") for i, s in samples.items() if i.startswith(images)]
        n = sum(k.count(kind) if kind else len(k) for k in chosen)
        assert n > 0
        return n

    return count


def check_case(name: str, pristine: Path, tmp_path: Path, case: Case) -> None:
    """Damage a copy of the example and expect more findings of a rule, fewer cells, and no other change."""
    spoil, rule, n_findings, lost = case
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    before, found_before = read_all(name, root)
    spoil(root)
    after, found_after = read_all(name, root)
    assert rules(found_after)[rule] - rules(found_before)[rule] == n_findings
    cells = [sum(len(s.instances) for s in samples.values()) for samples in (before, after)]
    assert cells[0] - cells[1] == (lost if isinstance(lost, int) else lost(before))
