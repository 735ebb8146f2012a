"""PanNuke is exported as an ImageMask set, corrected and as published, with its statistics figure, and read back."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage
from typer.testing import CliRunner

from celltable import plugins
from celltable.cli import build
from celltable.errors import CelltableError, InputError
from celltable.pipelines.convert import export, import_annotations
from celltable.pipelines.ingest import ingest
from celltable.store import Store, open_store

CLASSES = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")
V1 = np.array([(0, 255, 0), (0, 0, 255), (255, 0, 0), (0, 255, 255), (255, 255, 0)], np.uint8)
COMMAND = ["--to", "image-mask-png", "--palette", "v1", "--size", "512", "--split", "80/15/5", "--seed", "0"]


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of PanNuke in which some ids are at most 10."""
    folder: Path = plugins.load("datasets", "pannuke").example(tmp_path_factory.mktemp("pannuke") / "release", 3)
    for k in (1, 2):
        path = folder / f"Fold {k}" / "masks" / f"fold{k}" / "masks.npy"
        masks = np.load(path)
        nuclei = masks[..., :5]
        nuclei[nuclei == 287] = 7
        nuclei[nuclei == 361] = 10
        nuclei[nuclei == 398] = 11
        nuclei[1, 40:43, 50, 1] = nuclei[1, 40:43, 50, 4] = 500  # classes whose colours share a channel
        np.save(path, masks)
    return folder


@pytest.fixture(scope="module")
def pannuke(folds: Path) -> Store:
    return ingest("pannuke", folds, folds.parent / "pannuke.celltable")


def planes(folds: Path) -> list[NDArray[Any]]:
    """Read the six channels of each patch, as published."""
    arrays = [np.load(folds / f"Fold {k}" / "masks" / f"fold{k}" / "masks.npy") for k in (1, 2)]
    return [patch.astype(np.int64) for array in arrays for patch in array]


def run(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(build(["export", "import"]), ["export", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output or result.exception
    found: dict[str, Any] = json.loads(result.output)
    return found


def parts_of(folder: Path) -> dict[str, str]:
    """Map image ids to parts, from ids.csv."""
    with (folder / "ids.csv").open(encoding="utf-8") as stream:
        return {row["image_id"]: row["split"] for row in csv.DictReader(stream)}


def file_of(folder: Path, what: str, number: int) -> Path:
    return next(folder.glob(f"*/{what}/{number}.*"))


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Picture.open(path).convert("RGB"))


def classes_of(store: Store, image_id: str) -> dict[str, NDArray[np.bool_]]:
    """Return the pixels of each class of an image."""
    cells = store[image_id].sample.instances
    found = {name: np.zeros(cells.size, bool) for name in CLASSES}
    for mask, name in zip(cells.masks(), cells.column("class_name"), strict=True):
        found[name] |= mask
    return found


def blended(store: Store) -> int:
    """Count the images in which the reader found pixels that are not near any colour of the palette."""
    return sum(rule == "unassigned-pixels" for rule in store.findings.column("rule").to_pylist())


def bilinear(values: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Enlarged by a whole factor, pixel centres at halves, edges repeated: INTER_LINEAR of OpenCV."""
    out = values.astype(float)
    for axis in (0, 1):
        n = out.shape[axis]
        at = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(out.ndim)])
        out = out.take(low, axis) * (1 - share) + out.take(high, axis) * share
    return out


def test_the_command_writes_the_published_layout_with_its_figure(
    pannuke: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run(pannuke.path, *COMMAND)
    folder = tmp_path / "pannuke-image-mask-png"
    assert said["out"] == folder.name
    assert sorted(p.name for p in folder.iterdir()) == [
        "classes.csv", "ids.csv", "statistics.svg", "test", "train", "valid",
    ]  # fmt: skip
    numbers = [sorted(p.name for p in (folder / s / "images").iterdir()) for s in ("train", "valid", "test")]
    assert [len(n) for n in numbers] == [4, 0, 2]  # 80 and 15 % of six, rounded down; the rest is test
    assert sorted(chain.from_iterable(numbers)) == [f"{10001 + k}.png" for k in range(6)]
    for split, names in zip(("train", "valid", "test"), numbers, strict=True):
        assert sorted(p.name for p in (folder / split / "masks").iterdir()) == names
        assert all(pixels(folder / split / "masks" / n).shape == (512, 512, 3) for n in names)
    assert list(parts_of(folder)) == list(pannuke)


def test_the_masks_are_the_folds_enlarged_and_read_back_equal(folds: Path, pannuke: Store, tmp_path: Path) -> None:
    run(pannuke.path, tmp_path / "set", *COMMAND)
    back = ingest("pannuke_imagemask", tmp_path / "set", tmp_path / "back.celltable", parts=("v1",))
    assert blended(back) == 0
    parts = parts_of(tmp_path / "set")
    for k, (image_id, patch) in enumerate(zip(pannuke, planes(folds), strict=True)):
        number = str(10001 + k)
        winner = np.zeros(patch.shape[:2], int)  # the later channel keeps a shared pixel
        for channel in range(5):
            winner[patch[..., channel] > 0] = channel + 1
        winner = winner.repeat(8, axis=0).repeat(8, axis=1)
        expected = np.concatenate([np.zeros((1, 3), np.uint8), V1])[winner]
        np.testing.assert_array_equal(pixels(file_of(tmp_path / "set", "masks", 10001 + k)), expected)
        found = classes_of(back, number)
        for channel, name in enumerate(CLASSES, 1):
            np.testing.assert_array_equal(found[name], winner == channel)
        n = sum(ndimage.label(winner == c, np.ones((3, 3)))[1] for c in range(1, 6))
        assert len(back[number].sample.instances) == n
        assert back.image(number).split == {"valid": "val"}.get(parts[image_id], parts[image_id])
        # this reader corrects the swapped colours of the published files, so it swaps those of a correct set
        image = bilinear(pannuke[image_id].sample.pixels(), 8)
        assert np.abs(back[number].sample.pixels()[..., ::-1] - image).max() <= 1


def test_the_format_reads_its_own_set_with_ids_and_colours_right(pannuke: Store, tmp_path: Path) -> None:
    export(pannuke, "image-mask-png", tmp_path / "set")
    back = import_annotations("image-mask-png", tmp_path / "set", tmp_path / "back.celltable")
    other = import_annotations("image-mask-png", tmp_path / "set", tmp_path / "other.celltable", swap_rb=True)
    assert set(back) == set(pannuke)
    for image_id in pannuke:
        original = pannuke[image_id].sample.pixels()
        np.testing.assert_array_equal(back[image_id].sample.pixels(), original)
        np.testing.assert_array_equal(other[image_id].sample.pixels(), original[..., ::-1])


def test_as_published_reproduces_every_defect_of_the_generator(folds: Path, pannuke: Store, tmp_path: Path) -> None:
    said = run(pannuke.path, tmp_path / "set", *COMMAND, "--as-published")
    patches = planes(folds)
    lost = sum(len(np.unique(p[..., c][(p[..., c] > 0) & (p[..., c] <= 10)])) for p in patches for c in range(5))
    mixed = sum(int(((p[..., :5] > 10).sum(axis=2) > 1).sum()) for p in patches)
    assert lost > 3
    assert mixed > 3
    assert said["loss"]["as published: cells with ids up to 10 not drawn"] == lost
    assert said["loss"]["as published: pixels of two classes whose colours were added"] == mixed
    files = [p for p in (tmp_path / "set").rglob("1*") if p.is_file()]
    assert {p.suffix for p in files} == {".jpg"}
    for k, (image_id, patch) in enumerate(zip(pannuke, patches, strict=True)):
        generated = sum((patch[..., c, None] > 10).astype(np.uint8) * V1[c] for c in range(5))
        mask = pixels(file_of(tmp_path / "set", "masks", 10001 + k)).astype(int)
        assert np.abs(mask - bilinear(generated, 8)).mean() < 2  # JPEG
        image = pixels(file_of(tmp_path / "set", "images", 10001 + k)).astype(int)
        assert np.abs(image[..., ::-1] - bilinear(pannuke[image_id].sample.pixels(), 8)).mean() < 3
    back = ingest("pannuke_imagemask", tmp_path / "set", tmp_path / "back.celltable", parts=("v1",))
    assert blended(back) > 0
    for k, patch in enumerate(patches):
        found = classes_of(back, str(10001 + k))
        drawn = (patch[..., :5] > 10).repeat(8, axis=0).repeat(8, axis=1)
        several = ndimage.binary_dilation(drawn.sum(axis=2) > 1, iterations=8)
        for channel, name in enumerate(CLASSES):
            near = ndimage.binary_dilation(drawn[..., channel], iterations=8) | several
            assert not (found[name] & ~near).any()
            alone = drawn[..., channel] & ~several
            assert np.count_nonzero(found[name] & alone) >= 0.8 * alone.sum()


def test_as_published_without_enlarging_is_the_generators_sum_bit_for_bit(
    folds: Path, pannuke: Store, tmp_path: Path
) -> None:
    export(pannuke, "image-mask-png", tmp_path / "set", palette="v2", as_published=True)
    colours = np.array([(0, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0), (0, 255, 255)], np.uint8)
    for k, patch in enumerate(planes(folds)):
        expected = np.zeros((*patch.shape[:2], 3), np.uint8)
        for channel in range(5):
            expected += (patch[..., channel, None] > 10).astype(np.uint8) * colours[channel]
        np.testing.assert_array_equal(pixels(file_of(tmp_path / "set", "masks", 10001 + k)), expected)


def test_the_loss_says_that_the_shuffle_moves_images_and_divides_folds(pannuke: Store, tmp_path: Path) -> None:
    loss = export(pannuke, "image-mask-png", tmp_path / "a", seed=0)
    moved, divided = (f"split: {t}" for t in (
        "images moved to another part", "leakage groups divided among parts"))  # fmt: skip
    assert loss.items[moved] == 6  # none of the folds is called train, valid or test
    parts = parts_of(tmp_path / "a")
    own = {i: pannuke.image(i).leakage_group for i in pannuke}
    groups = {g: {parts[i] for i in parts if own[i] == g} for g in own.values()}
    assert loss.items[divided] == sum(len(p) > 1 for p in groups.values()) > 0
    bowl = plugins.load("datasets", "dsb2018").example(tmp_path / "release", 1)
    store = ingest("dsb2018", bowl, tmp_path / "dsb.celltable")
    kept = export(store, "image-mask-png", tmp_path / "b", palette="binary", split="keep")
    splits = Counter(store.image(i).split for i in store)
    assert kept.items[moved] == sum(n for s, n in splits.items() if s not in ("train", "val", "test", None))
    assert Counter(parts_of(tmp_path / "b").values())["test"] == splits["test"] > 0


def test_the_shuffle_is_that_of_its_seed(pannuke: Store, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export(pannuke, "image-mask-png", tmp_path / name, seed=seed, size=32)
    files = [
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()} for n in "abc"
    ]
    assert files[0] == files[1]
    assert files[0] != files[2]


def table(figure: str, title: str) -> tuple[list[str], dict[str, list[int]]]:
    """Parse a table of the figure: its header, and its rows as name → numbers."""
    root = ET.fromstring(figure)
    for part in root.iter("{http://www.w3.org/2000/svg}svg"):
        texts = [(t.text or "", t.get("y")) for t in part.findall("{http://www.w3.org/2000/svg}text")]
        if texts and texts[0][0] == title and len(texts) > 1 and texts[1][1] == "33":
            rows: dict[str, list[str]] = {}
            for text, y in texts[1:]:
                rows.setdefault(str(y), []).append(text)
            header, *body = rows.values()
            return header, {r[0]: [int(v.replace(",", "")) for v in r[1:]] for r in body}
    raise AssertionError(f"no table {title}")


def test_the_figure_counts_what_is_in_each_part(folds: Path, pannuke: Store, tmp_path: Path) -> None:
    export(pannuke, "image-mask-png", tmp_path / "set", as_published=True)
    figure = (tmp_path / "set" / "statistics.svg").read_text(encoding="utf-8")
    parts = list(parts_of(tmp_path / "set").values())
    tissues = ["Breast", "Colon", "Bile-duct"] * 2
    for names, title in ((tissues, "Images by tissue"), (["images"] * 6, "Images and cells")):
        header, rows = table(figure, title)
        assert header == ["all", "train", "test"]
        for name in set(names):
            own = [p for p, n in zip(parts, names, strict=True) if n == name]
            assert rows[name] == [len(own), own.count("train"), own.count("test")]
    _, rows = table(figure, "Cells by class")
    for channel, name in enumerate(CLASSES):
        n = [len(set(np.unique(p[..., channel]).tolist()) - set(range(11))) for p in planes(folds)]
        by_part = [sum(c for c, p in zip(n, parts, strict=True) if p == q) for q in ("train", "test")]
        assert rows.get(name, [0, 0, 0]) == [sum(n), *by_part]
    titles = ("Cell area", "Cells per image", "Density", "Cell area by class")
    assert all(f">{t}<" in figure for t in (*titles, *(f"{t}, by part" for t in titles[:3])))
    assert "http" not in figure.replace("http://www.w3.org/2000/svg", "")


def test_nothing_appears_when_the_export_or_its_figure_fails(
    pannuke: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("no ink")

    export(pannuke, "image-mask-png", tmp_path / "old", seed=3)
    before = (tmp_path / "old" / "ids.csv").read_bytes()
    monkeypatch.setattr("celltable.drawing.statistics.statistics", fail)
    for name in ("new", "old"):
        with pytest.raises(RuntimeError, match="no ink"):
            export(pannuke, "image-mask-png", tmp_path / name, seed=4, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "ids.csv").read_bytes() == before


def test_several_stores_go_out_together_and_common_ids_are_refused(
    pannuke: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bowl = plugins.load("datasets", "tnbc").example(tmp_path / "release", 1)
    other = ingest("tnbc", bowl, tmp_path / "tnbc.celltable")
    said = run(pannuke.path, other.path, tmp_path / "both", *COMMAND, "--palette", "binary")
    assert said["written"]["images"] == len(pannuke) + len(other)
    assert list(parts_of(tmp_path / "both")) == [*pannuke, *other]
    monkeypatch.chdir(tmp_path)
    assert run(pannuke.path, other.path, "--to", "coco")["out"] == "coco.json"
    assert run(pannuke.path, other.path, "some", "--where", "dataset = 'tnbc'")["written"]["images"] == len(other)
    with pytest.raises(CelltableError, match="no image meets"):
        export([pannuke, other], "coco", "none.json", where="dataset = 'hpa'")
    with pytest.raises(CelltableError, match="celltable merge"):
        export([pannuke, open_store(pannuke.path)], "coco", tmp_path / "x.json")


@pytest.mark.real
def test_the_real_slice_loses_the_ids_up_to_ten_and_nothing_else(sample: Callable[[str], Path], tmp_path: Path) -> None:
    store = ingest("pannuke", sample("pannuke/fold_3_slice.zip"), tmp_path / "pannuke.celltable")
    counts = [6, 14, 3, 2, 37, 19, 18, 16, 79]  # nuclei of the nine patches, numbered from 1 in each
    right = run(store.path, tmp_path / "right", *COMMAND)
    wrong = run(store.path, tmp_path / "wrong", *COMMAND, "--as-published")
    assert right["written"]["cells"] == sum(counts) == 194
    assert wrong["written"]["cells"] == sum(max(n - 10, 0) for n in counts) == 123
    assert parts_of(tmp_path / "right") == parts_of(tmp_path / "wrong")
    assert Counter(parts_of(tmp_path / "right").values()) == {"train": 7, "valid": 1, "test": 1}
    header, rows = table((tmp_path / "right" / "statistics.svg").read_text(encoding="utf-8"), "Cells by class")
    assert {k: v[0] for k, v in rows.items()} == {
        "Neoplastic": 45, "Inflammatory": 89, "Connective": 44, "Epithelial": 16,
    }  # fmt: skip
    assert header == ["all", "train", "valid", "test"]
    for name in ("right", "wrong"):
        ingest("pannuke_imagemask", tmp_path / name, tmp_path / f"{name}.celltable", parts=("v1",))
    back = {name: open_store(tmp_path / f"{name}.celltable") for name in ("right", "wrong")}
    assert blended(back["right"]) == 0
    assert blended(back["wrong"]) == 6  # three patches have no id past 10
    for k, image_id in enumerate(store):
        original, number = classes_of(store, image_id), str(10001 + k)
        for name in CLASSES:
            enlarged = original[name].repeat(2, axis=0).repeat(2, axis=1)
            np.testing.assert_array_equal(classes_of(back["right"], number)[name], enlarged)
        drawn = sum(int(m.sum()) for m in classes_of(back["wrong"], number).values())
        assert (drawn > 0) == (counts[k] > 10)
        image = bilinear(store[image_id].sample.pixels(), 2)
        assert np.abs(back["right"][number].sample.pixels()[..., ::-1] - image).max() <= 1
        assert np.abs(back["wrong"][number].sample.pixels() - image).mean() < 4  # JPEG of the swapped colours


def test_the_figure_file_is_the_figure(pannuke: Store) -> None:
    from celltable.drawing.statistics import statistics

    cells = pannuke.columns("image_id", "instance_id", "area", "class_name").arrow
    text = statistics(pannuke.images.arrow, cells, dict.fromkeys(pannuke, "all of it"), title="a < b & c")
    assert ET.parse(io.StringIO(text)).getroot().get("viewBox")
    assert "by part" not in text
    empty = statistics(pannuke.images.arrow, cells, {}, title="nothing")
    assert "0 images, 0 cells" in empty


@pytest.mark.parametrize("palette", ["v1", "v2", "Neoplastic=#102030,*=#405060"])
def test_a_set_is_read_with_the_colours_of_its_own_classes_csv(pannuke: Store, tmp_path: Path, palette: str) -> None:
    export(pannuke, "image-mask-png", tmp_path / "set", palette=palette, split="keep")
    form = plugins.load("formats", "image-mask-png")
    named = [sample.instances.column("class_name") for sample in form.read(tmp_path / "set", {}, palette=palette)]
    own = [sample.instances.column("class_name") for sample in form.read(tmp_path / "set", {})]
    assert own == named
    assert any(own)


def test_a_classes_csv_that_cannot_be_read_ends_in_one_sentence(pannuke: Store, tmp_path: Path) -> None:
    export(pannuke, "image-mask-png", tmp_path / "set", split="keep")
    (tmp_path / "set" / "classes.csv").write_text("class,red,green,blue\nNeoplastic,red,0,0\n")
    with pytest.raises(InputError, match="expected the columns class, red, green and blue"):
        list(plugins.load("formats", "image-mask-png").read(tmp_path / "set", {}))
