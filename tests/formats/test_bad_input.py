"""What becomes a finding and what ends the command, for every format that reads several files."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from celltable import plugins
from celltable.cells import Sample
from celltable.errors import CelltableError, InputError, OptionError
from celltable.notation import aperio
from celltable.notation.names import from_name, to_name
from celltable.plugins.format import Format, matrix
from celltable.plugins.options import settle
from celltable.testing.corpus import corpus, disc, sample

FOLDERS = [
    n
    for n in plugins.names("formats")
    if (f := plugins.load("formats", n)).read is not None and f.write is not None and not f.extensions
]


def one(name: str, folder: Path) -> tuple[Format, Path]:
    """Write two small images at a path with spaces and umlauts."""
    form: Format = plugins.load("formats", name)
    size = (32, 32)
    masks = [disc(size, 8, 8, 4), disc(size, 22, 20, 5)]
    columns = {"class_name": ["Neoplastic", "Dead"]}
    out = folder / "släsh and space"
    assert form.write is not None
    form.write(
        [sample("a", masks, size, columns=columns), sample("b", masks[:1], size, columns={"class_name": ["Dead"]})], out
    )
    return form, out


def read(form: Format, path: Path) -> list[Sample]:
    assert form.read is not None
    return list(form.read(path, {}))


@pytest.mark.parametrize("name", FOLDERS)
class TestEveryLayout:
    def test_it_reads_the_same_from_a_zip_and_from_one_folder_higher(self, name: str, tmp_path: Path) -> None:
        form, out = one(name, tmp_path)
        with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
            for path in sorted(out.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(out))
        higher = tmp_path / "higher"
        higher.mkdir()
        shutil.copytree(out, higher / "inner")
        expected = [(s.image.image_id, list(s.instances.rle)) for s in read(form, out)]
        assert expected
        for path in (tmp_path / "packed.zip", higher):
            assert [(s.image.image_id, list(s.instances.rle)) for s in read(form, path)] == expected

    def test_a_missing_or_empty_folder_ends_with_one_sentence(self, name: str, tmp_path: Path) -> None:
        form: Format = plugins.load("formats", name)
        with pytest.raises(CelltableError):
            read(form, tmp_path / "nothing")
        (tmp_path / "empty").mkdir()
        with pytest.raises(CelltableError):
            read(form, tmp_path / "empty")

    def test_files_cut_short_never_end_in_anything_but_findings_or_one_sentence(
        self, name: str, tmp_path: Path
    ) -> None:
        form, out = one(name, tmp_path)
        said: list[str] = []
        for path in sorted(p for p in out.rglob("*") if p.is_file()):
            whole = path.read_bytes()
            for keep in (0, len(whole) // 2):
                path.write_bytes(whole[:keep])
                try:
                    for found in read(form, out):
                        found.instances.masks()
                except CelltableError as exc:
                    said.append(str(exc))
            path.write_bytes(whole)
        assert all(0 < len(text) < 500 for text in said)


@pytest.mark.parametrize("name", ["label-tiff", "label-png", "stardist", "cellpose", "mask-folder"])
def test_noise_in_one_file_leaves_the_other_image_readable(name: str, tmp_path: Path) -> None:
    form, out = one(name, tmp_path)
    victims = [
        p
        for p in out.rglob("*")
        if p.is_file() and "a" in (p.stem[:1], p.parent.parent.name[:1]) and "images" not in p.parts
    ]
    victim = next(p for p in sorted(victims) if name != "cellpose" or p.stem.endswith("_masks"))
    victim.write_bytes(b"\x89PNG\r\n\x1a\n noise")
    found = {s.image.image_id: s for s in read(form, out)}
    assert any(f.severity == "error" for f in found["a"].findings)
    assert found["b"].findings == ()
    assert len(found["b"].instances) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><Annotations/>', "refused"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><Annotations/>', "refused"),
        ("<Annotations>", "not valid XML"),
        ("<Other/>", "expected <Annotations>"),
        ("", "not valid XML"),
    ],
)
def test_xml_with_entities_or_of_another_kind_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        aperio.parse(text.encode(), "x.xml")
    with pytest.raises(InputError):
        aperio.parse(text.encode("utf-16"), "x.xml")


def test_regions_of_two_vertices_are_reported_and_negative_ones_are_cells(tmp_path: Path) -> None:
    form, out = one("aperio-xml", tmp_path)
    triangle = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ((-2, 1), (9, 1), (4, 33)))
    short = '<Vertex X="1" Y="1"/><Vertex X="2" Y="2"/>'
    regions = f'<Region Id="3" NegativeROA="1"><Vertices>{triangle}</Vertices></Region>'
    regions += f'<Region Id="4"><Vertices>{short}</Vertices></Region>'
    text = f"<Annotations><Annotation><Regions>{regions}</Regions></Annotation></Annotations>"
    (out / "Annotations" / "a.xml").write_text(text)
    a, _ = read(form, out)
    assert sorted(f.rule for f in a.findings) == ["invalid-segmentation", "negative-roa", "outside-image"]
    assert a.instances.ids.tolist() == [3]


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    form, out = one("pannuke-npy", tmp_path)
    np.save(next(out.rglob("types.npy")), np.array(["x", None], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickle"):
        read(form, out)


def test_arrays_of_other_lengths_or_shapes_end_with_one_sentence(tmp_path: Path) -> None:
    form, out = one("pannuke-npy", tmp_path)
    np.save(next(out.rglob("types.npy")), np.array(["x"]))
    with pytest.raises(InputError, match="expected as many"):
        read(form, out)
    np.save(next(out.rglob("masks.npy")), np.zeros((2, 4, 4)))
    with pytest.raises(InputError, match="shape"):
        read(form, out)


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf])
def test_a_channel_of_other_values_than_ids_is_left_out_and_the_others_stay(tmp_path: Path, value: float) -> None:
    form, out = one("pannuke-npy", tmp_path)
    path = next(out.rglob("masks.npy"))
    stack = np.load(path)
    stack[0, 0, 0, 3] = value  # Dead
    stack[1] = 0
    np.save(path, stack)
    a, b = read(form, out)
    assert [(f.rule, f.severity) for f in a.findings] == [("mask-values", "error")]
    assert "channel 3" in a.findings[0].message
    assert a.instances.column("class_name") == ["Neoplastic"]
    np.testing.assert_array_equal(a.instances.label_map().label_map, stack[0, ..., 0])
    assert [f.rule for f in b.findings] == ["void-patch"]
    assert len(b.instances) == 0


def test_images_of_two_sizes_do_not_fit_one_array(tmp_path: Path) -> None:
    form: Format = plugins.load("formats", "pannuke-npy")
    assert form.write is not None
    with pytest.raises(InputError, match="Cut them into tiles"):
        form.write([sample("a", [], (8, 8)), sample("b", [], (9, 8))], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line", ["0 0.1 0.2 0.3 0.4", "x 0.1 0.2 0.3 0.4 0.5 0.6", "0 nan 0.2 0.3 0.4 0.5 0.6", "0 0.1"]
)
def test_a_yolo_line_that_is_not_a_polygon_is_a_finding(tmp_path: Path, line: str) -> None:
    form, out = one("yolo-seg", tmp_path)
    text = out / "labels" / "train" / "a.txt"
    text.write_text(line + "\n" + text.read_text())
    a, _ = read(form, out)
    assert [f.rule for f in a.findings] == ["invalid-segmentation"]
    assert len(a.instances) == 2


@pytest.mark.parametrize(
    "image_id",
    ["a", "../../x", "/etc/passwd", "a/b\\c", "täg", "", ".", "..", "con", "x.", "a b", "50%", "%2F", "日本", "a:1_2"],
)
def test_file_names_are_safe_and_turn_back(image_id: str) -> None:
    name = to_name(image_id)
    assert from_name(name) == image_id
    assert name.isascii()
    assert not set(name) & set('/\\:*?"<>|')
    assert name.strip(". ") == name or image_id == ""
    with pytest.raises(InputError, match="file name"):
        to_name("x" * 300)


def test_no_switches_an_option_off_and_bad_values_end_in_one_sentence() -> None:
    form: Format = plugins.load("formats", "image-mask-png")
    assert settle(form.write_options, {"as-published": "no"}, "it")["as_published"] is False
    assert settle(form.write_options, {"size": "512", "as-published": "yes"}, "it")["size"] == 512
    for wrong, words in ({"sizes": "1"}, "Did you mean size"), ({"size": "big"}, "a whole number"), ({"size": -1}, "0"):
        with pytest.raises(OptionError, match=words):
            settle(form.write_options, wrong, "it")


def test_the_matrix_has_one_row_per_format() -> None:
    assert [row["format"] for row in matrix()] == list(plugins.names("formats"))


def test_sixteen_bit_files_renumber_cells_beyond_65535(tmp_path: Path) -> None:
    form: Format = plugins.load("formats", "label-png")
    size = (16, 16)
    given = sample("a", [disc(size, 4, 4, 2), disc(size, 11, 11, 2)], size, columns={"instance_id": [5, 70_000]})
    assert form.write is not None
    loss = form.write([given], tmp_path / "out")
    (found,) = read(form, tmp_path / "out")
    assert found.instances.ids.tolist() == [1, 2]
    assert loss.items["ids: cells renumbered"] == 2


def test_as_published_loses_ids_up_to_ten_and_swaps_red_and_blue(tmp_path: Path) -> None:
    form: Format = plugins.load("formats", "image-mask-png")
    size = (32, 32)
    columns = {"class_name": ["Dead", "Dead"], "instance_id": [10, 11]}
    given = sample("a", [disc(size, 8, 8, 4), disc(size, 22, 20, 5)], size, columns=columns)
    assert form.write is not None
    loss = form.write([given], tmp_path / "bad", as_published=True, palette="v2", split="keep")
    form.write([given], tmp_path / "good", palette="v2", split="keep")
    assert loss.items["as published: cells with ids up to 10 not drawn"] == 1
    assert form.read is not None
    (bad,) = form.read(tmp_path / "bad", {}, palette="v2")
    (good,) = form.read(tmp_path / "good", {}, palette="v2")
    assert (len(bad.instances), len(good.instances)) == (1, 2)
    assert np.array_equal(good.pixels(), given.pixels())
    assert np.array_equal(bad.pixels(), given.pixels()[..., ::-1])
    assert sorted(p.name for p in (tmp_path / "good").iterdir()) == ["classes.csv", "ids.csv", "train"]


def test_the_split_of_2656_images_is_the_published_one() -> None:
    from celltable.formats.image_mask_png import shuffled_places

    places = shuffled_places(2656, [80, 15, 5], 0)
    assert [places.count(p) for p in ("train", "valid", "test")] == [2124, 398, 134]
    assert places == shuffled_places(2656, [80, 15, 5], 0) != shuffled_places(2656, [80, 15, 5], 1)


def test_the_collection_tiles_its_large_sources_and_splits_stage1_by_colour(tmp_path: Path) -> None:
    from celltable.formats import coco, nuclei_coco

    size = (600, 700)
    large = sample("slide", [disc(size, 300, 511, 9), disc(size, 590, 690, 5)], size, image={"dataset": "kumar"})
    small = [
        sample(n, [disc((40, 40), 9, 9, 4)], (40, 40), image={"dataset": "dsb2018", "metadata": {"nuclei_class": c}})
        for n, c in (("p", "purple_white_1"), ("g", "white_black_2"))
    ]
    nuclei_coco.write([large, *small], tmp_path / "out", tile=512)
    names = sorted(p.name for p in (tmp_path / "out" / "annotations").iterdir())
    assert names == [
        "nucleisegmentationbenchmark.json",
        "stage1_train.json",
        "stage_1_local_train_split.json",
        "stage_1_local_val_split.json",
    ]
    tiles = list(coco.read(tmp_path / "out" / "annotations" / names[0]))
    assert [t.image.image_id for t in tiles] == [
        f"slide.x{x}_y{y}" for y in ("0_512", "88_600") for x in ("0_512", "188_700")
    ]
    assert {t.image.size for t in tiles} == {(512, 512)}
    cut = [c for t in tiles for c in t.instances.column("truncated")]
    assert set(cut) == {True, False}
    (val,) = coco.read(tmp_path / "out" / "annotations" / "stage_1_local_val_split.json")
    assert (val.image.image_id, val.image.image_class) == ("p", "purple_white_1")
    nuclei_coco.write([large], tmp_path / "bad", defects="all", tile=512)
    assert (
        not list((tmp_path / "bad").glob("annotations/*.json"))
        or len(list(coco.read(next((tmp_path / "bad").glob("annotations/*.json"))))) < 4
    )


def test_every_sample_of_the_corpus_can_be_written_by_some_format() -> None:
    assert len({s.image.image_id for s in corpus()}) == 12
