"""Every format recognises its own files by their content, and pictures are never taken for annotations."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as PillowImage
from typer.testing import CliRunner

import celltable as ct
from celltable import plugins
from celltable.cells import Image, Instances, Sample
from celltable.cli import build
from celltable.errors import InputError, OptionError
from celltable.plugins.format import Format, Recognition, Strength, detect
from celltable.plugins.peek import Peek, is_label_map, json_outline
from celltable.store import Store, StoreWriter, open_store
from celltable.synthetic import generate
from celltable.testing.corpus import corpus, disc

SIZE = (48, 56)
FORMATS = [n for n in plugins.names("formats") if (f := plugins.load("formats", n)).read and f.write]


def png(pixels: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "png")
    return file.getvalue()


def picture(colour: bool, noise: float = 6) -> NDArray[np.uint8]:
    """Draw a small fluorescence image: bright discs and noise on a partly black background."""
    rng = np.random.default_rng(0)
    field = np.zeros(SIZE)
    for row, column in ((12, 12), (30, 38)):
        y, x = np.ogrid[: SIZE[0], : SIZE[1]]
        field += 200 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 60)
    noisy = np.clip(field + rng.normal(0, noise, SIZE), 0, 255).astype(np.uint8)
    return np.stack([noisy, noisy // 2, 255 - noisy], -1) if colour else noisy


def samples(colour: bool) -> list[Sample]:
    masks = [disc(SIZE, 12, 12, 6), disc(SIZE, 30, 38, 8), disc(SIZE, 38, 10, 5)]
    columns: dict[str, list[Any]] = {"class_name": ["Neoplastic", "Dead", "Neoplastic"], "score": [0.9, 0.8, 0.7]}
    pixels = picture(colour)
    made = []
    for name, n in (("a", 3), ("b", 2), ("täg 1", 1)):
        cells = Instances.from_masks(masks[:n], SIZE, **{k: v[:n] for k, v in columns.items()})
        made.append(Sample(Image(name, *SIZE), cells, load_pixels=lambda: pixels))
    return made


def stored(path: Path, given: list[Sample]) -> Store:
    with StoreWriter(path, {"made": path.name}) as writer:
        for sample in given:
            writer.append(sample)
        return writer.finish({"name": path.stem, "kind": "annotations"})


def written(name: str, given: list[Sample], folder: Path) -> Path:
    form: Format = plugins.load("formats", name)
    out = folder / ("out" + "".join(form.extensions[:1]))
    assert form.write is not None
    form.write(iter(given), out)
    return out


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("name", FORMATS)
def test_what_a_store_is_exported_to_is_scored_by_evaluate_as_the_same_cells(
    name: str, colour: bool, tmp_path: Path
) -> None:
    gt = stored(tmp_path / "gt.celltable", samples(colour))
    out = written(name, samples(colour), tmp_path)
    assert detect(out).name == name
    arguments = ["evaluate", str(gt.path), str(out), "-m", "ap_dsb2018", "--rounds", "0", "--json"]
    ended = CliRunner().invoke(build(["evaluate"]), arguments)
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.output)["scores"]["ap_dsb2018"]["value"] == 1.0


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_may_be_left_out_of_an_import(name: str, tmp_path: Path) -> None:
    out = written(name, samples(True), tmp_path)
    gt = stored(tmp_path / "gt.celltable", samples(True))
    commands = build(["import"])
    for words, store in ([str(out)], "found"), ([name, str(out)], "named"), (["--from", name, str(out)], "said"):
        arguments = ["import", *words, str(tmp_path / store), "--images", str(gt.path), "--json"]
        ended = CliRunner().invoke(commands, arguments)
        assert ended.exit_code == 0, ended.output
        assert json.loads(ended.output)["format"] == name
    tables = [open_store(tmp_path / store).columns("image_id", "area").arrow for store in ("found", "named", "said")]
    assert tables[0].num_rows == 6
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


@pytest.mark.parametrize("name", FORMATS)
def test_a_zip_of_a_folder_is_recognised_as_the_folder_is(name: str, tmp_path: Path) -> None:
    out = written(name, samples(True), tmp_path)
    if out.is_file():
        pytest.skip("one file")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        for path in sorted(out.rglob("*")):
            if path.is_file():
                archive.write(path, str(path.relative_to(out)))
    assert detect(tmp_path / "out.zip").name == name


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "pannuke-npy"])
def test_difficult_cells_and_missing_pixels_do_not_hide_a_format(name: str, tmp_path: Path) -> None:
    assert detect(written(name, corpus(), tmp_path)).name == name


def ramp() -> NDArray[np.uint8]:
    return np.tile(np.arange(256, dtype=np.uint8).repeat(2), (64, 1))


PICTURES: dict[str, Callable[[], NDArray[Any]]] = {
    "colour": lambda: picture(True),
    "grey with black background": lambda: picture(False),
    "16 bit": lambda: picture(False).astype(np.uint16) * 13,
    "noise": lambda: np.random.default_rng(1).integers(0, 4000, SIZE).astype(np.uint16),
    "a ramp": ramp,
    "one grey": lambda: np.full(SIZE, 7, np.uint8),
    "saturated": lambda: np.where(picture(False) > 40, 255, 0).astype(np.uint8),
    "smooth, without noise": lambda: picture(False, 0),
}


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("what", PICTURES)
def test_a_folder_of_pictures_is_refused_and_never_scored(what: str, ending: str, tmp_path: Path) -> None:
    gt = stored(tmp_path / "gt.celltable", samples(False))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b", "täg 1"):
        pixels = PICTURES[what]()
        if ending == ".tif":
            tifffile.imwrite(folder / f"{name}.tif", pixels)
        else:
            (folder / f"{name}.png").write_bytes(png(pixels))
    with pytest.raises(InputError, match=f"found 3 \\{ending} files, which no format recognises.*--pred-format"):
        ct.evaluate(gt, folder, "ap_dsb2018")


def test_generated_microscopy_is_refused_and_its_truth_is_recognised(tmp_path: Path) -> None:
    for kind in ("pictures", "truth"):
        (tmp_path / kind).mkdir()
    for k, style in enumerate(("fluorescence", "histology", "phase-contrast")):
        scene = generate(style, size=(128, 128), seed=k)
        pixels = np.asarray(scene.pixels)
        tifffile.imwrite(tmp_path / "pictures" / f"{k}.tif", pixels if pixels.ndim == 2 else pixels[..., 0])
        tifffile.imwrite(tmp_path / "truth" / f"{k}.tif", np.asarray(scene.label_map))
    assert detect(tmp_path / "truth").name == "label-tiff"
    with pytest.raises(InputError, match="no format recognises"):
        detect(tmp_path / "pictures")


def test_a_named_format_is_read_without_asking(tmp_path: Path) -> None:
    gt = stored(tmp_path / "gt.celltable", samples(False))
    (tmp_path / "p").mkdir()
    for name in ("a", "b", "täg 1"):
        (tmp_path / "p" / f"{name}.png").write_bytes(png(np.full(SIZE, 1, np.uint8)))
    found = ct.evaluate(gt, tmp_path / "p", "ap_dsb2018", pred_format="label-png")
    assert found["ap_dsb2018"].value == 0.0
    with pytest.raises(ct.CelltableError, match="can be written but not read"):
        ct.evaluate(gt, tmp_path / "p", "ap_dsb2018", pred_format="livecell")


def test_label_maps_of_both_kinds_in_one_folder_are_ambiguous(tmp_path: Path) -> None:
    labels = samples(False)[0].instances.label_map("last-wins").label_map.astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    (tmp_path / "b.png").write_bytes(png(labels))
    with pytest.raises(InputError, match=r"may be in the formats label-png .* and label-tiff .*--from label-png"):
        detect(tmp_path)


def test_cell_ids_in_one_channel_of_a_colour_image_are_not_taken_for_class_colours(tmp_path: Path) -> None:
    labels = samples(False)[0].instances.label_map("last-wins").label_map.astype(np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        planes = picture(True) if folder == "images" else np.stack([labels, labels * 0, labels * 0], -1)
        (tmp_path / folder / "a.png").write_bytes(png(planes))  # as BBBC039 publishes its masks
    with pytest.raises(InputError, match="no format recognises"):
        detect(tmp_path)


def test_large_files_and_folders_are_not_read_whole(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("ImageId,EncodedPixels\na,1 3\n")
    os.truncate(table, 1 << 36)  # 64 GiB that occupy no disk blocks
    assert detect(table).name == "dsb-csv"
    results = tmp_path / "results.json"
    results.write_text('[{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": {"size": [1, 1]')
    os.truncate(results, 1 << 36)
    assert detect(results).name == "coco"
    many = tmp_path / "many"
    many.mkdir()
    for k in range(1200):
        (many / f"{k:04d}.txt").touch()
    with Peek(many) as peek:
        assert len(peek.names) == 1000


def test_a_plug_in_of_another_package_is_asked_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Format(
        "their-format", "Theirs", "A file.", frozenset(), read=lambda path, images: iter(()),
        recognise=lambda peek: Recognition(Strength.SIGNATURE, "its ending") if peek.path.suffix == ".them" else None,
    )  # fmt: skip
    every = plugins.load_all("formats")
    monkeypatch.setattr(plugins, "load_all", lambda family: {**every, "their-format": theirs})
    monkeypatch.setattr(plugins, "load", lambda family, name: {**every, "their-format": theirs}[name])
    (tmp_path / "a.them").touch()
    assert detect(tmp_path / "a.them") is theirs


def test_json_outlines_stop_where_the_text_does() -> None:
    assert json_outline("").top == ""
    nested = json_outline('{"info": {"images": 1}, "images": [{"id": 1, "sub": {"x": 2}}, {"other": 3')
    assert nested.members == {"info": "{", "images": "["}
    assert nested.first == {"images": {"id", "sub"}}
    assert json_outline('[{"type": "Feature", "geometry": {"type": "Polygon"').members["type"] == "Feature"


def test_dense_label_maps_and_cells_in_pieces_are_label_maps() -> None:
    squares = np.kron(np.arange(1, 65).reshape(8, 8), np.ones((6, 6), int))
    squares[::6] = 0
    assert is_label_map(squares) is True
    torn = np.zeros((60, 60), int)
    torn[2:6, 2:6], torn[50:55, 50:55] = 1, 1
    assert is_label_map(torn) is True
    assert is_label_map(np.zeros((5, 5), bool)) is None


def test_published_defects_are_off_where_the_option_says_no(tmp_path: Path) -> None:
    gt = stored(tmp_path / "gt.celltable", samples(True))
    plain = ct.export(gt, "image-mask-png", tmp_path / "plain")
    off = ct.export(gt, "image-mask-png", tmp_path / "off", as_published="no")
    on = ct.export(gt, "image-mask-png", tmp_path / "on", as_published="yes")
    assert off.items == plain.items != on.items
    ended = CliRunner().invoke(
        build(["export", "import"]), ["export", str(gt.path), str(tmp_path / "o"), "-t", "livecell", "-O", "pixels=no"]
    )
    assert ended.exit_code == 0, ended.output
    assert not list((tmp_path / "o").rglob("*.tif"))


@pytest.mark.parametrize(
    ("form", "option", "words"),
    [
        ("image-mask-png", {"size": "abc"}, "size is 'abc'; expected a whole number of 0 or more"),
        ("image-mask-png", {"seed": "x"}, "seed is 'x'; expected a whole number"),
        ("image-mask-png", {"palette": "5"}, "the palette '5' is neither one of v1, v2, binary"),
        ("dsb-csv", {"like": "7"}, "7 does not exist"),
        ("dsb-csv", {"like": 7}, "like is '7'; expected a path"),
        ("dsb-csv", {"table": "label"}, "expected labels, submission or solution.*Did you mean labels"),
        ("coco", {"layouts": "results"}, "the format coco has no option 'layouts'. Did you mean layout"),
        ("label-tiff", {"bits": "8"}, "bits is '8'; expected 0, 16 or 32"),
    ],
)
def test_bad_options_of_an_export_end_in_one_sentence(
    form: str, option: dict[str, Any], words: str, tmp_path: Path
) -> None:
    gt = stored(tmp_path / "gt.celltable", samples(True)[:1])
    with pytest.raises(ct.CelltableError, match=words) as wrong:
        ct.export(gt, form, tmp_path / "out", **option)
    assert str(wrong.value).count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_reading_has_its_own_options(tmp_path: Path) -> None:
    out = written("image-mask-png", samples(True), tmp_path)
    with pytest.raises(OptionError, match="has no option 'size'"):
        ct.import_annotations(None, out, tmp_path / "s", size=3)
    with pytest.raises(OptionError, match="tolerance is '300'; expected a whole number from 0 to 255"):
        ct.import_annotations(None, out, tmp_path / "s", tolerance=300)
