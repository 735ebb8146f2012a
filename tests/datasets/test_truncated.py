"""Images truncated after their header: every reader reports it, and keeps the image and its cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from celltable import plugins
from celltable.errors import ImageFileError

from .releases import make_example, read_all, rules

# data set → the image to cut; readers that decode every image report "unreadable-image" instead
IMAGES = {
    name: damage.file
    for name, dataset in plugins.load_all("datasets").items()
    for damage in dataset.damages
    if damage.truncated == "truncated-image"
}


def unpacked(root: Path) -> None:
    """Replace each zip of an example by a folder of its name."""
    import zipfile

    for path in list(root.rglob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(path.with_suffix(""))
        path.unlink()


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", IMAGES)
def test_a_truncated_image_is_a_finding_and_keeps_its_cells(name: str, share: float, tmp_path: Path) -> None:
    root = make_example(name, tmp_path)
    root = root.parent if root.is_file() else root
    unpacked(root)
    before, findings = read_all(name, root)
    assert not rules(findings)["truncated-image"]
    paths = sorted(p for p in root.rglob(IMAGES[name]) if "__MACOSX" not in p.parts)
    used = {w.member.rpartition("/")[2] for s in before.values() if len(s.instances) for w in s.image.pixels}
    path = next(p for p in paths if p.name in used)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    after, findings = read_all(name, root)
    reported = [f for f in findings if f.rule == "truncated-image"]
    assert reported
    assert all(path.name in f.message and f.severity == "error" for f in reported)
    assert {i: s.instances.rle for i, s in after.items()} == {i: s.instances.rle for i, s in before.items()}
    assert {i: s.image for i, s in after.items()} == {i: s.image for i, s in before.items()}
    with pytest.raises(ImageFileError, match="cut short|damaged|truncated"):
        after[reported[0].image_id or ""].pixels()


@pytest.mark.real
def test_the_real_livecell_archive_has_none(sample: Callable[[str], Path]) -> None:
    _, findings = read_all("livecell", sample("livecell/LIVECell_dataset_2021"))
    assert not rules(findings)["truncated-image"]
