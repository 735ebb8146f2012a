"""The same defect has the same rule whether a release is ingested or the files of its format are imported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable import plugins
from celltable.cells import Image
from celltable.imagefile.container import is_archive

from .releases import cropped, cut, make_example, only, pixels_of, read_all, resave

Damage = Callable[[Path], object]


def rules_of_import(format_name: str, root: Path, known: dict[str, Image]) -> set[str]:
    """Return the rules reported when importing a folder or file."""
    samples = plugins.load("formats", format_name).read(root, known)
    return {f.rule for s in samples for f in s.findings}


def rules_of_ingest(name: str, root: Path) -> set[str]:
    """Return the rules reported when ingesting a release."""
    return {f.rule for f in read_all(name, root)[1]}


def _document(pattern: str, change: Callable[[dict], object]) -> Damage:  # type: ignore[type-arg]
    def spoil(root: Path) -> None:
        path = only(root, pattern)
        document = json.loads(path.read_text("utf-8-sig"))
        change(document)
        path.write_text(json.dumps(document))

    return spoil


def _text(pattern: str, old: str, new: str) -> Damage:
    def spoil(root: Path) -> None:
        path = only(root, pattern)
        text = path.read_text("utf-8-sig")
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _grey(path: Path) -> None:
    resave(path, np.ascontiguousarray(pixels_of(path)[..., 0]))


def _array(pattern: str, change: Callable[[np.ndarray], object]) -> Damage:
    def spoil(root: Path) -> None:
        path = only(root, pattern)
        array = np.load(path)
        change(array)
        np.save(path, array)

    return spoil


def _file(pattern: str, damage: Damage) -> Damage:
    return lambda root: damage(only(root, pattern))


def _listed_again(document: dict) -> None:  # type: ignore[type-arg]
    own = {k: v for k, v in document["images"][1].items() if not k.startswith("celltable")}
    document["images"].append({**own, "id": 999})


def unpacked(root: Path) -> Path:
    """Replace each archive of the release by a folder of the same name."""
    for archive in [p for p in sorted(root.rglob("*")) if is_archive(p.name)]:
        shutil.unpack_archive(archive, archive.with_suffix(""))
        archive.unlink()
    return root


# Only the release has a CSV to compare with; without a size, outlines cannot be drawn.
CONSEQUENCES = {
    "unreadable-mask": {"csv-differs"},
    "size-mismatch": {"csv-differs"},
    "invalid-size": {"invalid-segmentation"},
}
FILES = {"coco": "a.json", "dsb-csv": "a.csv"}  # formats of one file

# data set, format → change to both, and the rule that both report
CASES: dict[tuple[str, str], dict[str, tuple[Damage, Damage, str]]] = {
    ("dsb2018", "mask-folder"): {
        "a mask cut short": (_file("*/masks/*.png", cut), _file("*/masks/*.png", cut), "unreadable-mask"),
        "a mask of another size": (_file("*/masks/*.png", cropped), _file("*/masks/*.png", cropped), "size-mismatch"),
        "an empty image file": (_file("*/images/*.png", _empty), _file("*/images/*.png", _empty), "unreadable-image"),
    },
    ("kumar", "aperio-xml"): {
        "a document cut short": (_file("*.xml", cut), _file("*.xml", cut), "unreadable-annotations"),
        "an image missing": (_file("*.tif", Path.unlink), _file("*.tif*", Path.unlink), "missing-image"),
        "an empty image file": (_file("*.tif", _empty), _file("*.tif*", _empty), "unreadable-image"),
    },
    ("pannuke", "pannuke-npy"): {
        "an empty patch": (
            _array("fold2/masks.npy", lambda a: a[0].fill(0)),
            _array("masks.npy", lambda a: a[0].fill(0)),
            "void-patch",
        ),
        "a fraction as id": (
            _array("fold1/masks.npy", lambda a: a.__setitem__((0, 0, 0, 0), 0.5)),
            _array("masks.npy", lambda a: a.__setitem__((0, 0, 0, 0), 0.5)),
            "mask-values",
        ),
    },
    ("pannuke_imagemask", "image-mask-png"): {
        "a mask cut short": (_file("train/masks/*", cut), _file("*/masks/*.png", cut), "unreadable-mask"),
        "a mask of another size": (_file("train/masks/*", cropped), _file("*/masks/*.png", cropped), "size-mismatch"),
        "a mask without colour": (_file("train/masks/*", _grey), _file("*/masks/*.png", _grey), "mask-shape"),
        "no mask": (_file("train/masks/*", Path.unlink), _file("*/masks/*.png", Path.unlink), "missing-annotation"),
    },
    ("livecell", "coco"): {
        what: (_document("livecell_coco_val.json", change), _document("*.json", change), rule)
        for what, change, rule in (
            ("a single point", lambda d: d["annotations"][0].update(segmentation=[[1, 1]]), "invalid-segmentation"),
            ("an unknown category", lambda d: d["annotations"][0].update(category_id=77), "unknown-class"),
            ("an annotation of no image", lambda d: d["annotations"][0].update(image_id=9999), "unknown-image"),
            ("an image without size", lambda d: d["images"][0].update(height=None), "invalid-size"),
            (
                "an image listed twice",
                _listed_again,
                "image-listed-twice",
            ),
        )
    },
    ("dsb2018", "dsb-csv"): {
        what: (_text("stage1_train_labels.csv", old, new), _text("*.csv", old, new), rule)
        for what, old, new, rule in (("an unknown image", "\n", "\nabc,1 1\n", "unknown-image"),)
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "format_name", "what"),
    [(*pair, what) for pair, cases in CASES.items() for what in cases],
)
def test_a_defect_has_the_same_rule_under_ingest_and_import(
    name: str, format_name: str, what: str, tmp_path: Path
) -> None:
    release = unpacked(make_example(name, tmp_path / "release"))
    exported = tmp_path / "export"
    target = exported / FILES[format_name] if format_name in FILES else exported
    target.parent.mkdir(exist_ok=True)
    reader = plugins.load("datasets", name)
    plugins.load("formats", format_name).write(reader.read(release), target)
    known = {s.image.image_id: s.image for s in reader.read(release)} if format_name == "dsb-csv" else {}
    in_release, in_export, rule = CASES[name, format_name][what]
    before = rules_of_ingest(name, release), rules_of_import(format_name, target, known)
    in_release(release)
    in_export(exported)
    after = rules_of_ingest(name, release), rules_of_import(format_name, target, known)
    for old, new in zip(before, after, strict=True):
        assert rule in new
        assert new - old <= {rule, *CONSEQUENCES.get(rule, ())}
