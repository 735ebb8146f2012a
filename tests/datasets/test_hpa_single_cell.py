"""HPA single cells: quartets, weak labels and predicted masks of the real sample, and damaged ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable.cells import Sample
from celltable.datasets.hpa_single_cell import CHANNELS, DATASET
from celltable.imagefile import open_release
from celltable.notation.hpa import CLASSES, CLASSES_OF_2018, parse_labels

from .releases import Case, check_case, cropped, cut, make_example, only, pixels_of, read_all, resave, rules


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the example with its archives unpacked."""
    root = make_example("hpa_single_cell", tmp_path_factory.mktemp("hpa"))
    for archive in sorted(root.glob("*.zip")):
        shutil.unpack_archive(archive, root / archive.stem)
        archive.unlink()
    return root


def _id(root: Path) -> str:
    return only(root, "*_predictedmask.png").name.partition("_")[0]


def channel(role: str) -> Callable[[Path], Path]:
    return lambda root: only(root, f"{_id(root)}_{role}.png")


def _mask(root: Path) -> Path:
    return only(root, "*_predictedmask.png")


def _labels(old: str, new: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        text = (root / "train.csv").read_text()
        assert old in text
        (root / "train.csv").write_text(text.replace(old, new, 1))

    return spoil


def _full(path: Path) -> None:
    mask = pixels_of(path)
    mask[mask == 1] = 255
    resave(path, mask)


def _deep(path: Path) -> None:
    resave(path, pixels_of(path).astype(np.uint16) * 257)


def _of_first(samples: dict[str, Sample]) -> int:
    """Return the cells of the first image that has any."""
    return next(len(s.instances) for _, s in sorted(samples.items()) if len(s.instances))


CASES: dict[str, Case] = {
    "no red": (lambda r: channel("red")(r).unlink(), "missing-channel", 1, 0),
    "no blue": (lambda r: channel("blue")(r).unlink(), "missing-channel", 1, 0),
    "an empty green": (lambda r: channel("green")(r).write_bytes(b""), "unreadable-image", 1, 0),
    "an empty blue": (lambda r: channel("blue")(r).write_bytes(b""), "unreadable-image", 1, 0),
    "a smaller yellow": (lambda r: cropped(channel("yellow")(r)), "size-mismatch", 1, 0),
    "a deeper yellow": (lambda r: _deep(channel("yellow")(r)), "size-mismatch", 1, 0),
    "a class that does not exist": (_labels("8|5|0", "8|19|0"), "unknown-class", 1, 0),
    "a class that is not a number": (_labels("8|5|0", "8|five"), "unknown-class", 1, 0),
    "an empty label": (_labels("8|5|0", ""), "unknown-class", 1, 0),
    "an empty table": (lambda r: only(r, "train.csv").write_bytes(b""), "unreadable-table", 1, 0),
    "a table of noise": (lambda r: only(r, "train.csv").write_bytes(b"\x00\xff" * 50), "unreadable-table", 1, 0),
    "a mask cut short": (lambda r: cut(_mask(r)), "unreadable-mask", 1, _of_first),
    "a mask of another size": (lambda r: cropped(_mask(r)), "size-mismatch", 1, _of_first),
    "a mask that wrapped": (lambda r: _full(_mask(r)), "mask-wrap", 1, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("hpa_single_cell", pristine, tmp_path, CASES[case])


def test_labels_are_of_the_image_in_their_order_and_never_of_cells(pristine: Path) -> None:
    samples, _ = read_all("hpa_single_cell", pristine)
    first = samples[_id(pristine)]
    assert first.image.labels == ("Intermediate filaments", "Nuclear bodies", "Nucleoplasm")
    assert first.image.metadata["label_ids"] == "8|5|0"
    assert all(c is None for s in samples.values() for c in s.instances.column("class_name"))


def test_a_table_with_byte_order_mark_and_windows_line_ends_reads_the_same(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    (root / "train.csv").write_bytes(b"\xef\xbb\xbf" + (root / "train.csv").read_bytes().replace(b"\n", b"\r\n"))
    before, after = (read_all("hpa_single_cell", p) for p in (pristine, root))
    assert [s.image.labels for s in after[0].values()] == [s.image.labels for s in before[0].values()]
    assert rules(after[1]) == rules(before[1])


def test_a_quartet_is_one_image_of_four_channels_with_named_roles(pristine: Path) -> None:
    from PIL import Image as Picture

    samples, _ = read_all("hpa_single_cell", pristine)
    image_id = _id(pristine)
    with open_release(pristine) as release:
        scan = DATASET.scan(release, ())
        item = next(i for i in scan.items if i.image_id == image_id)
        pixels = DATASET.load(release, scan.shared, item).pixels()
    image = samples[image_id].image
    assert image.channels == ("red", "green", "blue", "yellow") == tuple(p.role for p in image.pixels)
    assert list(CHANNELS.items()) == list(
        zip(image.channels, ("microtubules", "protein", "nucleus", "ER"), strict=True)
    )
    assert pixels.shape == (128, 128, 4)
    for k, role in enumerate(image.channels):
        assert np.array_equal(pixels[..., k], np.asarray(Picture.open(only(pristine, f"{image_id}_{role}.png"))))


# Organisers' table (kaggle.com/code/lnhtrang/hpa-public-data-download-and-hpacellseg), copied by hand.
ATLAS = (
    "Nucleoplasm 0, Nuclear membrane 1, Nucleoli 2, Nucleoli fibrillar center 3, Nuclear speckles 4, Nuclear bodies 5, "
    "Endoplasmic reticulum 6, Golgi apparatus 7, Intermediate filaments 8, Actin filaments 9, Focal adhesion sites 9, "
    "Microtubules 10, Mitotic spindle 11, Centrosome 12, Centriolar satellite 12, Plasma membrane 13, "
    "Cell Junctions 13, Mitochondria 14, Aggresome 15, Cytosol 16, Vesicles 17, Peroxisomes 17, Endosomes 17, "
    "Lysosomes 17, Lipid droplets 17, Cytoplasmic bodies 17, No staining 18"
)
# The class of 2021 for each of the 28 numbers of 2018, by the same table; -1 if there is none.
OF_2018 = (0, 1, 2, 3, 4, 5, 6, 7, 17, 17, 17, 8, 9, 9, 10, -1, -1, 11, -1, 12, 17, 13, 13, 14, 15, 16, 17, -1)


def _table(pristine: Path, tmp_path: Path, name: str, text: str) -> Path:
    """Write the example with another table instead of train.csv."""
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    (root / "train.csv").unlink()
    (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("joint", ["|", ";", ",", " ; "])
def test_every_location_of_the_atlas_maps_as_the_organisers_mapped_it(
    pristine: Path, tmp_path: Path, joint: str
) -> None:
    pairs = [p.strip().rpartition(" ") for p in ATLAS.split(",")]
    text = joint.join(name for name, _, _ in reversed(pairs))
    samples, findings = read_all(
        "hpa_single_cell", _table(pristine, tmp_path, "train.csv", f'ID,Label\n{_id(pristine)},"{text}"\n')
    )
    image = samples[_id(pristine)].image
    assert image.metadata == {"label_ids": "|".join(map(str, range(18, -1, -1))), "locations": text}
    assert image.labels == tuple(reversed(CLASSES))
    assert not {"unknown-class", "label-without-class"} & set(rules(findings))
    assert [parse_labels(name).numbers for name, _, _ in pairs] == [(int(n),) for _, _, n in pairs]


def test_the_numbers_of_2018_are_read_as_those_of_2018(pristine: Path, tmp_path: Path) -> None:
    image_id = _id(pristine)
    root = _table(pristine, tmp_path, "train.csv", f"Id,Target\n{image_id},25 8 16 9\n")
    samples, findings = read_all("hpa_single_cell", root)
    assert samples[image_id].image.labels == ("Cytosol", "Vesicles and punctate cytosolic patterns")
    assert [f.message for f in findings if f.rule == "label-without-class"] == [
        "the challenge does not have a class for Cytokinetic bridge; left out of the labels"
    ]
    parsed = [parse_labels(str(k), CLASSES_OF_2018) for k in range(28)]
    assert [f.numbers[0] if f.numbers else -1 for f in parsed] == list(OF_2018)
    assert sum(len(f.without_class) for f in parsed) == OF_2018.count(-1)


def _as_atlas(root: Path, image_id: str, name: str) -> None:
    for path in sorted(root.rglob(f"{image_id}_*")):
        path.rename(path.with_name(path.name.replace(image_id, name)))


@pytest.mark.parametrize("name", ["921_B9_1", "10005_921_B9_1"])
def test_the_image_list_of_the_atlas_labels_images_by_their_address(pristine: Path, tmp_path: Path, name: str) -> None:
    rows = (
        'https://images.proteinatlas.org/10005/921_B9_1,"Peroxisomes,Midbody,Cytosol",U-2 OS,False,17|16\n'
        "https://images.proteinatlas.org/10005/921_B9_2,Midbody,U-2 OS,True,\n"
    )
    root = _table(pristine, tmp_path, "kaggle_2021.tsv", f"Image,Label,Cellline,in_trainset,Label_idx\n{rows}")
    _as_atlas(root, _id(pristine), name)
    samples, findings = read_all("hpa_single_cell", root)
    image = samples[name].image
    assert image.labels == ("Vesicles and punctate cytosolic patterns", "Cytosol")
    assert image.metadata == {
        "label_ids": "17|16", "locations": "Peroxisomes,Midbody,Cytosol", "in_trainset": "False",
    }  # fmt: skip
    assert image.cell_type == "U-2 OS"
    assert len(samples[name].instances)
    assert rules(findings)["label-without-class"] == 1
    assert [f.value for f in findings if f.rule == "unknown-image"] == [1.0]
    assert "label-differs" not in rules(findings)


def test_a_label_index_that_contradicts_the_names_is_a_finding(pristine: Path, tmp_path: Path) -> None:
    text = f"Image,Label,Label_idx\n{_id(pristine)}_red.png,Cytosol,15\n"
    samples, findings = read_all("hpa_single_cell", _table(pristine, tmp_path, "kaggle_2021.tsv", text))
    assert samples[_id(pristine)].image.labels == ("Cytosol",)
    assert rules(findings)["label-differs"] == 1


def test_images_that_name_their_gene_get_the_locations_of_the_atlas(pristine: Path, tmp_path: Path) -> None:
    image_id = _id(pristine)
    root = _table(pristine, tmp_path, "images.csv", f"ID,Gene\n{image_id},ENSG00000000457\nother,ENSG9\n")
    (root / "subcellular_location.tsv").write_text(
        "Gene\tGene name\tReliability\tMain location\tAdditional location\tExtracellular location\n"
        "ENSG00000000003\tTSPAN6\tApproved\tCell Junctions;Cytosol\tNucleoli fibrillar center\t\n"
        "ENSG00000000457\tSCYL3\tUncertain\tGolgi apparatus;Microtubules\tRods & Rings\t\n"
    )
    samples, findings = read_all("hpa_single_cell", root)
    assert samples[image_id].image.labels == ("Golgi apparatus", "Microtubules")
    assert rules(findings)["label-without-class"] == 1


def test_a_table_of_something_else_is_left_alone_whatever_its_encoding(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    (root / "notes.csv").write_bytes("Gerät,Wert\nä,1\n".encode("latin-1"))
    assert rules(read_all("hpa_single_cell", root)[1]) == rules(read_all("hpa_single_cell", pristine)[1])


@pytest.mark.real
def test_the_real_quartets_have_their_labels(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all("hpa_single_cell", sample("hpa/hpa-single-cell-image-classification"))
    assert {i[:8]: s.image.metadata["label_ids"] for i, s in samples.items()} == {
        "000a6c98": "7|1|2|0", "5c27f04c": "8|5|0", "94e33c64": "9|16|13", "b6a469d8": "11",
    }  # fmt: skip
    assert {(s.image.size, s.image.dtype, len(s.image.channels)) for s in samples.values()} == {
        ((2048, 2048), "uint8", 4)
    }
    assert [f.value for f in findings if f.rule == "unknown-image"] == [21_806.0 - 4]
    assert rules(findings) == {"unknown-image": 1}


@pytest.mark.real
def test_the_real_predicted_masks_have_their_cells(sample: Callable[[str], Path], tmp_path: Path) -> None:
    root = tmp_path / "hpa"
    root.mkdir()
    for name in ("hpa-single-cell-image-classification/train.zip", "cell_masks_predicted.zip"):
        (root / Path(name).name).symlink_to(sample(f"hpa/{name}"))
    samples, findings = read_all("hpa_single_cell", root)
    assert {i[:8]: len(s.instances) for i, s in samples.items()} == {
        "000a6c98": 19, "5c27f04c": 8, "94e33c64": 17, "b6a469d8": 10,
    }  # fmt: skip
    assert rules(findings)["predicted-masks"] == 4
    assert not any(s.image.exhaustive for s in samples.values())
