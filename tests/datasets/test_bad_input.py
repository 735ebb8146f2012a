"""The truth table of bad input: for every reader and every kind of damage, the finding it becomes or the end it is."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celltable import plugins
from celltable.errors import CelltableError, InputError
from celltable.imagefile.container import is_archive
from celltable.pipelines.ingest import ingest

from .releases import cropped, cut, only, pixels_of, read_all, resave, rules

ENDS = "ends the command"
NOT = "does not apply"  # the release has no such file, or the file says nothing that could be held against it
DAMAGES = ("missing", "empty", "cut short", "noise", "another size")


@dataclass(frozen=True)
class Row:
    """An image and an annotation of a release, and what becomes of each damage to them, in the order of DAMAGES."""

    image: str
    of_image: tuple[str, ...]
    annotation: str
    of_annotation: tuple[str, ...]


def row(
    image: str, missing: str, annotation: str, lost: str = "missing-annotation", *, late: bool = False, size: str = ""
) -> Row:
    """The usual row; `late`: only the header of an image is read at once, so that a later end is told apart."""
    unread = "unreadable-image"
    of_image = (missing, unread, "truncated-image" if late else unread, unread, size or "size-mismatch")
    return Row(image, of_image, annotation, (lost, *["unreadable-mask"] * 3, "size-mismatch"))


TABLE = {
    "bbbc006": row("BBBC006_v1_images_z_16/*_a01_s1_w1*.tif", "missing-channel", "*_a01_s1.png", late=True),
    "bbbc007": row("BBBC007_v1_images/A9/A9 p10d.tif", "missing-channel", "BBBC007_v1_outlines/A9/A9 p10d.tif"),
    "bbbc018": row("*00733-DNA.DIB", "missing-channel", "*00733-nuclei.png"),
    "bbbc020": row("*/jw-1h 2_c5.TIF", "missing-channel", "*outlines_nuclei/*_c5_1.TIF", NOT),
    "bbbc039": row("images/*_A02_s1_*.tif", "missing-image", "masks/*_A02_s1_*.png", late=True),
    "cluster_nuclei": row("original/3.bmp", "missing-image", "label/3(label).bmp"),
    "dsb2018": row("stage1_train/*/images/*.png", "missing-image", "stage1_train/*/masks/*.png", "csv-differs"),
    "dsb2018_fixes": row("stage1_train/*/images/*.png", "missing-image", "stage1_train/*/masks/*.png", NOT),
    "hpa_single_cell": Row(
        "*_green.png",
        ("missing-channel", "unreadable-image", "truncated-image", "unreadable-image", "size-mismatch"),
        "*_predictedmask.png",
        (NOT, *["unreadable-mask"] * 3, "size-mismatch"),
    ),
    "isbi2009": row(
        "dna-images/ic100/dna-2.png", "missing-image", "preprocessed-data/ic100/dna-2.png", "missing-annotation"
    ),
    "janowczyk": row("*_f00003_original.tif", "missing-image", "*_f00003_mask.png"),
    "kumar": Row(
        "Tissue images/*.tif",
        ("missing-image", *["unreadable-image"] * 3, NOT),  # the documents do not say the size
        "Annotations/*.xml",
        ("missing-annotation", *["unreadable-annotations"] * 3, NOT),
    ),
    "livecell": Row(
        "SkBr3_Phase_G3_1_01d00h00m_2.tif",
        ("missing-image", "unreadable-image", "truncated-image", "unreadable-image", "size-mismatch"),
        "livecell_coco_test.json",
        (NOT, ENDS, ENDS, ENDS, NOT),  # an image that no file lists is unlabelled
    ),
    "livecell_counts": Row(
        "A172/*.tif",
        ("unknown-image", *["unreadable-image"] * 3, NOT),
        "A172_counts.json",
        (NOT, ENDS, ENDS, ENDS, NOT),
    ),
    "nuclei_coco": Row(
        "BBBC007/*.jpg",
        ("missing-image", "unreadable-image", "truncated-image", "unreadable-image", "size-mismatch"),
        "annotations/BBBC007.json",
        (NOT, *["unreadable-annotations"] * 3, NOT),
    ),
    "pannuke": Row(
        "fold1/images.npy", ("missing-image", ENDS, ENDS, ENDS, ENDS), "fold1/masks.npy",
        ("missing-annotation", ENDS, ENDS, ENDS, ENDS),
    ),
    "pannuke_imagemask": row("train/images/10040.png", "missing-image", "train/masks/10040.png"),
    "tnbc": row("Slide_01/01_1.png", "missing-image", "GT_01/01_1.png"),
}  # fmt: skip


def _noise(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).tobytes())


def _smaller(path: Path) -> None:
    np.save(path, np.load(path)[:, :-3]) if path.suffix == ".npy" else cropped(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda p: p.write_bytes(b""),
    "cut short": cut,
    "noise": _noise,
    "another size": _smaller,
}
CASES = [
    pytest.param(name, pattern, damage, expected, id=f"{name}-{what}-{damage}".replace(" ", "-"))
    for name, told in TABLE.items()
    for what, pattern, outcomes in (
        ("image", told.image, told.of_image),
        ("annotation", told.annotation, told.of_annotation),
    )
    for damage, expected in zip(DAMAGES, outcomes, strict=True)
    if expected != NOT
]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The example of every reader, its archives unpacked, below a path with spaces and letters beyond ASCII."""
    found = {}
    for name in plugins.names("datasets"):
        root = tmp_path_factory.mktemp(name) / "Bilder für Zellen, 細胞"
        plugins.load("datasets", name).example(root, 0)
        for archive in [p for p in sorted(root.rglob("*")) if is_archive(p.name)]:
            shutil.unpack_archive(archive, archive.with_name(archive.stem))
            archive.unlink()
        found[name] = root
    return found


def copied(root: Path, folder: Path) -> Path:
    return Path(shutil.copytree(root, folder / root.name))


def test_every_reader_has_its_row() -> None:
    assert sorted(TABLE) == sorted(plugins.names("datasets"))


@pytest.mark.parametrize(("name", "pattern", "damage", "expected"), CASES)
def test_a_damaged_file_becomes_the_finding_or_the_end_that_the_table_says(
    name: str, pattern: str, damage: str, expected: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    root = copied(pristine[name], tmp_path)
    before, found = read_all(name, root)
    victim = only(root, pattern)
    DAMAGE[damage](victim)
    if expected == ENDS:
        with pytest.raises(CelltableError) as told:
            read_all(name, root)
        assert victim.stem in str(told.value)
        assert len(str(told.value)) < 400
        return
    after, now = read_all(name, root)
    new = rules(now) - rules(found)
    assert new[expected] >= 1
    assert len(after) >= len(before) - 1 or name == "pannuke"  # a fold is one file
    assert sum(len(s.instances) for s in after.values()) > 0 or name == "livecell_counts"


@pytest.mark.parametrize("name", TABLE)
def test_a_folder_that_is_missing_empty_or_another_ends_with_what_was_expected(name: str, tmp_path: Path) -> None:
    with pytest.raises(CelltableError, match="does not exist; expected a release"):
        ingest(name, tmp_path / "nöwhere at all", tmp_path / "a.celltable")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CelltableError, match="is an empty folder; expected"):
        ingest(name, tmp_path / "empty", tmp_path / "a.celltable")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("nothing of the kind")
    with pytest.raises(CelltableError, match=rf"(?s){name}.*expected .*found notes\.txt.*celltable datasets {name}"):
        ingest(name, tmp_path / "other", tmp_path / "a.celltable")
    assert not (tmp_path / "a.celltable").exists()


@pytest.mark.parametrize("name", TABLE)
def test_an_archive_cut_short_or_of_noise_ends_the_command(
    name: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    archive = tmp_path / "release ä.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(p for p in pristine[name].rglob("*") if p.is_file()):
            out.write(path, path.relative_to(pristine[name]).as_posix())
    whole = archive.read_bytes()
    for spoiled in (whole[: len(whole) // 2], whole[:-9], b"", b"noise" * 99):
        archive.write_bytes(spoiled)
        with pytest.raises(CelltableError, match=r"release ä\.zip.*(cut short|download)"):
            read_all(name, archive)


TEXTS = (".csv", ".tsv", ".txt", ".json", ".xml")


WITH_TEXTS = (
    "bbbc006", "bbbc039", "dsb2018", "hpa_single_cell", "kumar", "livecell", "livecell_counts", "nuclei_coco",
)  # fmt: skip


@pytest.mark.parametrize("name", WITH_TEXTS)
def test_byte_order_marks_and_windows_line_ends_change_nothing(
    name: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    root = copied(pristine[name], tmp_path)
    before, found = read_all(name, root)
    texts = [p for p in root.rglob("*") if p.suffix in TEXTS]
    assert texts
    for path in texts:
        plain = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
        path.write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    after, now = read_all(name, root)
    assert rules(now) == rules(found)
    assert {i: s.image for i, s in after.items()} == {i: s.image for i, s in before.items()}
    assert {i: s.instances.rle for i, s in after.items()} == {i: s.instances.rle for i, s in before.items()}


def test_only_pannuke_has_arrays_that_could_be_pickled(pristine: dict[str, Path]) -> None:
    assert [name for name, root in pristine.items() if list(root.rglob("*.npy"))] == ["pannuke"]


@pytest.mark.parametrize("victim", ["images/fold1/images.npy", "images/fold1/types.npy", "masks/fold1/masks.npy"])
def test_pickled_arrays_are_refused_and_never_loaded(victim: str, pristine: dict[str, Path], tmp_path: Path) -> None:
    root = copied(pristine["pannuke"], tmp_path)
    np.save(only(root, victim), np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled"):
        read_all("pannuke", root)


class Trap:
    """An object whose unpickling is seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


def test_an_xml_with_entities_is_refused_and_the_others_are_read(pristine: dict[str, Path], tmp_path: Path) -> None:
    root = copied(pristine["kumar"], tmp_path)
    victim = only(root, "*.xml")
    victim.write_text('<!DOCTYPE a [<!ENTITY x "y">]>' + victim.read_text().removeprefix("\ufeff"))
    samples, found = read_all("kumar", root)
    assert any(f.rule == "unreadable-annotations" and "entit" in f.message.lower() for f in found)
    assert [bool(len(s.instances)) for s in samples.values()] == [False, True]


def _category(pattern: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = only(root, pattern)
        document = json.loads(path.read_text("utf-8-sig"))
        document["annotations"][-1]["category_id"] = 77
        path.write_text(json.dumps(document))

    return spoil


def _colour(root: Path) -> None:
    path = only(root, "train/masks/10040.png")
    mask = pixels_of(path).copy()
    mask[:20, :20] = (9, 99, 60)
    resave(path, mask)


def _tissue(root: Path) -> None:
    path = only(root, "fold1/types.npy")
    np.save(path, np.array(["Brain", *np.load(path)[1:]]))


def _label(root: Path) -> None:
    path = only(root, "train.csv")
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, first.partition(",")[0] + ",77", *rest]))


UNKNOWN: dict[str, tuple[Callable[[Path], object], str]] = {
    "hpa_single_cell": (_label, "unknown-class"),
    "livecell": (_category("livecell_coco_val.json"), "unknown-class"),
    "nuclei_coco": (_category("annotations/BBBC007.json"), "unknown-class"),
    "pannuke": (_tissue, "unknown-tissue"),
    "pannuke_imagemask": (_colour, "unassigned-pixels"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_class_is_a_finding_and_nothing_else_is_lost(
    name: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    root = copied(pristine[name], tmp_path)
    before, found = read_all(name, root)
    spoil, rule = UNKNOWN[name]
    spoil(root)
    after, now = read_all(name, root)
    told = [sum(f.value or 1 for f in some if f.rule == rule) for some in (found, now)]
    assert told[1] > told[0]
    assert sorted(after) == sorted(before)


@pytest.mark.parametrize("damage", ["empty", "noise"])
def test_a_table_of_labels_that_is_none_is_a_finding_and_its_images_stay(
    damage: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    root = copied(pristine["hpa_single_cell"], tmp_path)
    before, found = read_all("hpa_single_cell", root)
    DAMAGE[damage](only(root, "train.csv"))
    after, now = read_all("hpa_single_cell", root)
    assert not rules(found)["unreadable-table"]
    assert rules(now)["unreadable-table"] == 1
    assert sorted(after) == sorted(before)
    assert not any(s.image.labels for s in after.values())
