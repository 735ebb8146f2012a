"""Native releases are exported as the COCO collection of nuclei sets and read back; its defects only on request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from pycocotools import mask as coco_mask
from scipy import ndimage
from typer.testing import CliRunner

from celltable import plugins
from celltable.cells import Instances
from celltable.cli import build
from celltable.errors import InputError
from celltable.formats.nuclei_coco import DEFECTS, SOURCES
from celltable.notation.nuclei_tiles import redrawn
from celltable.pipelines.convert import export, import_annotations
from celltable.pipelines.ingest import ingest
from celltable.pipelines.merge import merge
from celltable.store import Store

NATIVE = ("dsb2018", *SOURCES)
WHOLE = ("bbbc006", "bbbc007", "bbbc018", "cluster_nuclei", "kumar", "janowczyk", "tnbc")
RESIZED = ("bbbc020", "isbi2009")
NUCLEAR = {"bbbc006": 0, "bbbc007": 0, "bbbc018": 0, "bbbc020": 1}  # the channel of Hoechst, DNA, DNA and DAPI
PARTS = {
    "stage1_train": "nuclei_stage1_train",
    "stage_1_test": "nuclei_stage_1_test",
    "stage_2_test": "nuclei_stage_2_test",
}
Stores = Callable[[str], Store]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Ingest the example of a native release once."""
    made: dict[str, Store] = {}

    def of(name: str) -> Store:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            release = plugins.load("datasets", name).example(folder / "release", 5)
            made[name] = ingest(name, release, folder / f"{name}.celltable")
        return made[name]

    return of


def run(*arguments: str | Path) -> dict[str, Any]:
    command = ["export", *map(str, arguments), "--to", "nuclei-coco", "--json"]
    result = CliRunner().invoke(build(["export", "import"]), command)
    assert result.exit_code == 0, result.output or result.exception
    found: dict[str, Any] = json.loads(result.output)
    return found


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    """The JSON files by name."""
    return {p.stem: json.loads(p.read_text()) for p in sorted((folder / "annotations").iterdir())}


def back(folder: Path) -> Store:
    return ingest("nuclei_coco", folder, folder.with_suffix(".celltable"))


def nuclei(store: Store, image_id: str) -> list[NDArray[np.bool_]]:
    cells = store[image_id].sample.instances
    return [m for m, k in zip(cells.masks(), cells.column("kind"), strict=True) if k == "nucleus" and m.any()]


def nuclear(store: Store, image_id: str) -> NDArray[Any]:
    pixels = store[image_id].sample.pixels()
    channel = NUCLEAR.get(store.image(image_id).dataset)
    return pixels if channel is None or pixels.ndim == 2 else pixels[..., channel]


@pytest.mark.parametrize("name", WHOLE)
def test_a_native_release_comes_back_nucleus_by_nucleus(name: str, native: Stores, tmp_path: Path) -> None:
    store, folder = native(name), tmp_path / "out"
    said = run(store.path, folder)
    again = back(folder)
    part = SOURCES[name]
    assert list(again) == [f"{part}/{i}" for i in store]
    assert said["written"]["cells"] == sum(len(nuclei(store, i)) for i in store) > 0
    for image_id in store:
        old, new = store.image(image_id), again[f"{part}/{image_id}"].sample
        expected = nuclei(store, image_id)
        assert len(new.instances) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(new.instances.masks(), expected, strict=True))
        np.testing.assert_array_equal(new.pixels(), nuclear(store, image_id))
        assert (new.image.annotated, new.image.exhaustive) == (old.annotated, old.exhaustive)
        assert set(new.instances.column("kind")) <= {"nucleus"}
    whole_cells = sum(k != "nucleus" for i in store for k in store[i].sample.instances.column("kind"))
    assert said["loss"].get("kind: whole cells left out, the collection has nuclei", 0) == whole_cells
    assert again.findings.column("rule").to_pylist() == []


@pytest.mark.parametrize("name", RESIZED)
def test_two_sources_are_shrunk_and_say_so(name: str, native: Stores, tmp_path: Path) -> None:
    store, folder = native(name), tmp_path / "out"
    said = run(store.path, folder)
    again = back(folder)
    n = sum(len(nuclei(store, i)) for i in store)
    assert said["loss"]["masks: nuclei redrawn at 0.4 of their size"] == n > 10
    for image_id in store:
        height, width = store.image(image_id).size
        new = again[f"{SOURCES[name]}/{image_id}"].sample
        assert new.image.size == (round(height * 0.4), round(width * 0.4)) == new.pixels().shape[:2]
        mean = Picture.fromarray(nuclear(store, image_id)).resize(new.image.size[::-1], Picture.Resampling.BOX)
        assert np.abs(new.pixels().astype(int) - np.asarray(mean)).max() <= 1
        expected = [
            np.asarray(Picture.fromarray(m).resize(new.image.size[::-1], Picture.Resampling.NEAREST))
            for m in nuclei(store, image_id)
        ]
        clear = np.ix_(*(  # if the centre of a pixel is on the border of two, either is the nearest
            np.flatnonzero((2 * np.arange(n) + 1) * old % (2 * n))
            for n, old in zip(new.image.size, (height, width), strict=True)
        ))  # fmt: skip
        assert len(new.instances) == len(expected)
        masks = new.instances.masks()
        assert all(np.array_equal(a[clear], b[clear]) for a, b in zip(masks, expected, strict=True))


def test_the_bowl_goes_to_its_three_files_and_the_local_splits_are_the_same_records(
    native: Stores, tmp_path: Path
) -> None:
    store, folder = native("dsb2018"), tmp_path / "out"
    run(store.path, folder)
    files = documents(folder)
    assert list(files) == [
        "stage1_train", "stage_1_local_train_split", "stage_1_local_val_split", "stage_1_test", "stage_2_test",
    ]  # fmt: skip
    local = [files["stage_1_local_train_split"], files["stage_1_local_val_split"]]
    for key in ("images", "annotations"):
        whole = {json.dumps(r, sort_keys=True) for r in files["stage1_train"][key]}
        parts = [{json.dumps(r, sort_keys=True) for r in d[key]} for d in local]
        assert parts[0] | parts[1] == whole
        assert not parts[0] & parts[1]
        assert all(parts)
    assert all(r["nuclei_class"].startswith("purple_") for r in local[1]["images"])
    assert not any(r["nuclei_class"].startswith("purple_") for r in local[0]["images"])
    splits = Counter(store.image(i).split for i in store)
    assert {n: len(files[n]["images"]) for n in PARTS} == {
        "stage1_train": splits["train"], "stage_1_test": splits["test"], "stage_2_test": splits["final-test"],
    }  # fmt: skip
    again = back(folder)
    assert sum(len(again[i].sample.instances) for i in again) == sum(len(nuclei(store, i)) for i in store)
    assert {again.image(i).split for i in again} == {"train", "val", "test", "final-test"}


@pytest.mark.parametrize("name", NATIVE)
def test_every_file_is_plain_coco(name: str, native: Stores, tmp_path: Path) -> None:
    run(native(name).path, tmp_path / "out")
    for document in documents(tmp_path / "out").values():
        assert [(c["id"], c["name"]) for c in document["categories"]] == [(1, "nucleus")]
        images = {i["id"]: i for i in document["images"]}
        assert len(images) == len(document["images"])
        ids = [a["id"] for a in document["annotations"]]
        assert len(set(ids)) == len(ids)
        assert min(ids, default=1) >= 1
        for row in document["annotations"]:
            image, code = images[row["image_id"]], row["segmentation"]
            assert (row["iscrowd"], row["category_id"], code["size"]) == (0, 1, [image["height"], image["width"]])
            assert (coco_mask.area(code), coco_mask.toBbox(code).tolist()) == (row["area"], row["bbox"])
        assert all(i["nuclei_class"].split("_")[2:4] == [str(i["width"]), str(i["height"])] for i in images.values())


def test_images_are_named_by_colour_and_density(native: Stores, tmp_path: Path) -> None:
    run(*(native(n).path for n in ("tnbc", "bbbc018")), tmp_path / "out")
    kinds = {n: {i["nuclei_class"] for i in d["images"]} for n, d in documents(tmp_path / "out").items()}
    assert all(k.split("_")[1] == "purple" for k in kinds["TNBC_NucleiSegmentation"])
    assert {k.rpartition("_")[0] for k in kinds["BBBC018"]} == {"white_black_128_128", "white_black_128"}
    unlabelled = next(i for i in documents(tmp_path / "out")["BBBC018"]["images"] if i["file_name"] == "10779.png")
    assert unlabelled["nuclei_class"] == "white_black_128_128"  # a density would imply that the cells are known
    assert unlabelled["annotated"] is False


def crops(store: Store, image_id: str, windows: list[tuple[int, int, int, int]]) -> list[list[NDArray[np.bool_]]]:
    """Cut the masks of each window (top, bottom, left, right), without empty ones."""
    masks = nuclei(store, image_id)
    return [[m[t:b, s:e] for m in masks if m[t:b, s:e].any()] for t, b, s, e in windows]


def test_large_images_are_tiled_whole_and_cut_nuclei_marked(native: Stores, tmp_path: Path) -> None:
    store, folder = native("kumar"), tmp_path / "out"
    said = run(store.path, folder, "-O", "tile=64")
    again = back(folder)
    windows = [(t, t + 64, s, s + 64) for t in (0, 56) for s in (0, 56)]  # 120 px: the last tile reaches back
    pieces = repeated = 0
    for image_id in store:
        expected = crops(store, image_id, windows)
        pixels, whole = store[image_id].sample.pixels(), store[image_id].sample.instances
        areas = Counter(int(m.sum()) for m in nuclei(store, image_id))
        repeated += sum(map(len, expected)) - sum(areas.values())
        for (top, bottom, left, right), masks in zip(windows, expected, strict=True):
            new = again[f"nucleisegmentationbenchmark/{image_id}.x{left}_{right}_y{top}_{bottom}"].sample
            np.testing.assert_array_equal(new.pixels(), pixels[top:bottom, left:right])
            assert len(new.instances) == len(masks)
            assert all(np.array_equal(a, b) for a, b in zip(new.instances.masks(), masks, strict=True))
            full = dict(zip(whole.ids.tolist(), whole.area.tolist(), strict=True))
            cut = [bool(a < full[i]) for i, a in zip(new.instances.ids.tolist(), new.instances.area, strict=True)]
            assert new.instances.column("truncated") == cut
            pieces += sum(cut)
            assert new.image.metadata["source_image"] == image_id
            assert again.image(new.image.image_id).leakage_group == "kumar " + "-".join(image_id.split("-")[:3])
    assert pieces > 0
    assert said["loss"]["tiles: rows with a piece of a nucleus cut by a tile's border"] == pieces
    assert said["loss"]["tiles: rows of a nucleus that is also in another tile"] == repeated
    assert len(again) == 4 * len(store)


def test_several_stores_and_their_merged_store_make_the_same_files(native: Stores, tmp_path: Path) -> None:
    stores = [native(n) for n in ("bbbc018", "tnbc", "cluster_nuclei")]
    run(*(s.path for s in stores), tmp_path / "one")
    merge(stores, tmp_path / "all.celltable", similarity=False)
    run(tmp_path / "all.celltable", tmp_path / "two")
    assert documents(tmp_path / "one").keys() == documents(tmp_path / "two").keys()
    for name, document in documents(tmp_path / "one").items():
        other = documents(tmp_path / "two")[name]
        for key in ("images", "annotations"):
            assert [_plain(r) for r in document[key]] == [_plain(r) for r in other[key]]
    names = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.png")) for n in ("one", "two")]
    assert names[0] == names[1]


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in ("leakage_group", "group_source")}


# The effect of each defect alone: (stores, further options, check of the folder and the loss).
Check = Callable[[Stores, Path, dict[str, Any], Store], None]


def jpeg(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".jpg", ".json"}
    for path in folder.rglob("*.jpg"):
        with Picture.open(path) as picture:
            assert (picture.mode, picture.format) == ("RGB", "JPEG")
    assert "jpeg-images" in again.findings.column("rule").to_pylist()
    assert loss["pixels: images whose pixels were changed"] == len(native("dsb2018"))


def zero_ids(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    for document in documents(folder).values():
        assert min(r["id"] for r in document["images"]) == 0 or "local" in document["info"]["description"] or True
    whole = documents(folder)["stage1_train"]
    assert [r["id"] for r in whole["images"]] == list(range(len(whole["images"])))
    assert [r["id"] for r in whole["annotations"]] == list(range(len(whole["annotations"])))
    for key in ("images", "annotations"):
        split = [r for n, d in documents(folder).items() if "local" in n for r in d[key]]
        assert sorted(r["id"] for r in split) == list(range(len(whole[key])))
    assert "annotation-id-zero" in again.findings.column("rule").to_pylist()


def swapped(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    windows = [(t, min(t + 50, 120), s, min(s + 50, 110)) for t in (0, 50, 60) for s in (0, 50, 70)]
    written = 0
    for image_id in native("janowczyk"):
        for (top, bottom, left, right), masks in zip(
            windows, crops(native("janowczyk"), image_id, windows), strict=True
        ):
            new = again.image(f"nuclei_partial_annotations/{image_id}.{top}_{bottom}_x_{left}_{right}")
            assert new.size == (bottom - top, right - left)
            assert new.metadata["tile_rows"] == f"{top}_{bottom}"
            assert len(again[new.image_id].sample.instances) == len(masks)
            written += len(masks)
    assert "swapped-tile-names" in again.findings.column("rule").to_pylist()
    assert sum(len(again[i].sample.instances) for i in again) == written
    # rows were cut as far as the 110 columns reach: the last ten of the 120 rows are in no tile
    rows = [i.metadata["tile_rows"] for i in map(again.image, again)]
    assert max(int(r.split("_")[1]) for r in rows) == 110


def ragged(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    sizes = Counter(again.image(i).size for i in again)
    assert sizes == {s: len(native("janowczyk")) * n for s, n in
                     (((50, 50), 4), ((20, 50), 2), ((50, 10), 2), ((20, 10), 1))}  # fmt: skip


def sparse(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    store = native("kumar")
    windows = [(t, t + 40, s, s + 40) for t in (0, 40, 80) for s in (0, 40, 80)]
    counts = [len(masks) for i in store for masks in crops(store, i, windows)]
    assert 0 < sum(n < 3 for n in counts) < len(counts)
    assert len(again) == sum(n >= 3 for n in counts)
    assert loss["as published: tiles left out, with fewer than 3 nuclei"] == sum(n < 3 for n in counts)


def tiny(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    store = native("kumar")
    spans = [(t, t + 24) for t in range(0, 120, 24)]
    windows = [(*rows, *columns) for rows in spans for columns in spans]
    areas = [int(m.sum()) for i in store for masks in crops(store, i, windows) for m in masks]
    assert sum(a < 5 for a in areas) > 0
    assert sorted(int(a) for i in again for a in again[i].sample.instances.area) == sorted(a for a in areas if a >= 5)


def outlines(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    lost = 0
    for name, grown in (("bbbc018", True), ("cluster_nuclei", False)):
        for image_id in native(name):
            old = nuclei(native(name), image_id)
            inner = np.zeros(native(name).image(image_id).size, bool)
            inner[1:-1, 1:-1] = True
            expected = [m & inner for m in old if 30 <= (m & inner).sum() <= inner.size / 2]
            expected = [ndimage.binary_dilation(m, np.ones((3, 3))) for m in expected] if grown else expected
            new = again[f"{SOURCES[name]}/{image_id}"].sample.instances.masks()
            assert len(new) == len(expected)
            assert all(np.array_equal(a, b) for a, b in zip(new, expected, strict=True))
            lost += len(old) - len(expected)
    assert loss.get("as published: nuclei lost in redrawing outlines", 0) == lost


def test_redrawn_outlines_keep_the_smaller_of_two_that_overlap() -> None:
    y, x = np.ogrid[:60, :60]
    discs = [(y - 30) ** 2 + (x - c) ** 2 <= r * r for c, r in ((20, 9), (30, 8), (42, 5))]
    overlaps = [int((a & b).sum()) for a, b in ((discs[0], discs[1]), (discs[1], discs[2]))]
    assert overlaps[0] > 30 > overlaps[1] > 0
    cells = redrawn(Instances.from_masks(discs, (60, 60)), dilate=False)
    assert cells.ids.tolist() == [2, 3]
    assert np.array_equal(cells.masks()[0], discs[1])


def partial(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    (document,) = documents(folder).values()
    assert all(i.get("exhaustive", True) for i in document["images"])


def unlabelled(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    assert not all(native("bbbc018").image(i).annotated for i in native("bbbc018"))
    assert all(again.image(i).annotated for i in again)
    n = sum(not native("bbbc018").image(i).annotated for i in native("bbbc018"))
    assert loss["unlabelled images: unannotated images, which are read as images without cells"] == n


def bare(native: Stores, folder: Path, loss: dict[str, Any], again: Store) -> None:
    files = documents(folder)
    assert files["stage_2_test"]["annotations"] == []
    assert len(files["stage_2_test"]["images"]) > 0
    store = native("dsb2018")
    n = sum(len(nuclei(store, i)) for i in store if store.image(i).split == "final-test")
    assert loss["as published: nuclei of stage 2 left out"] == n > 0


CASES: dict[str, tuple[tuple[str, ...], int, Check]] = {
    "jpeg": (("dsb2018",), 0, jpeg),
    "zero-ids": (("dsb2018",), 0, zero_ids),
    "swapped-axes": (("janowczyk",), 50, swapped),
    "ragged-tiles": (("janowczyk",), 50, ragged),
    "sparse-tiles": (("kumar",), 40, sparse),
    "tiny-masks": (("kumar",), 24, tiny),
    "redrawn-outlines": (("bbbc018", "cluster_nuclei"), 0, outlines),
    "unflagged-partial": (("janowczyk",), 0, partial),
    "unlabelled-as-empty": (("bbbc018",), 0, unlabelled),
    "bare-stage-2": (("dsb2018",), 0, bare),
}


def test_every_defect_has_a_case_and_is_in_the_list_of_formats() -> None:
    assert CASES.keys() == DEFECTS.keys()
    for more in ((), ("--to", "nuclei-coco")):
        result = CliRunner().invoke(build(["export", "import"]), ["export", "--list", *more])
        text = " ".join(result.output.split())
        assert all(f"{name}: {what}" in text for name, what in DEFECTS.items())
        assert ("dsb-csv" in text) == (not more)


@pytest.mark.parametrize("defect", CASES)
def test_a_requested_defect_is_present(defect: str, native: Stores, tmp_path: Path) -> None:
    names, tile, check = CASES[defect]
    more = ("-O", f"tile={tile}") if tile else ()
    said = run(*(native(n).path for n in names), tmp_path / "out", "-O", f"defects={defect}", *more)
    check(native, tmp_path / "out", said["loss"], back(tmp_path / "out"))


@pytest.mark.parametrize("defect", CASES)
def test_a_defect_is_absent_unless_requested(defect: str, native: Stores, tmp_path: Path) -> None:
    names, tile, check = CASES[defect]
    more = ("-O", f"tile={tile}") if tile else ()
    said = run(*(native(n).path for n in names), tmp_path / "out", *more)
    with pytest.raises((AssertionError, KeyError, LookupError)):
        check(native, tmp_path / "out", said["loss"], back(tmp_path / "out"))


def test_as_published_is_all_defects(native: Stores, tmp_path: Path) -> None:
    run(native("tnbc").path, tmp_path / "a", "--as-published")
    run(native("tnbc").path, tmp_path / "b", "-O", "defects=all")
    files = [
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()} for n in "ab"
    ]
    assert files[0] == files[1]
    assert any(p.suffix == ".jpg" for p in files[0])


def test_an_unknown_defect_and_an_impossible_tile_are_refused(native: Stores, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="defects is 'jpg'; .*jpeg, zero-ids.*Did you mean jpeg"):
        export(native("tnbc"), "nuclei-coco", tmp_path / "a", defects="jpg")
    with pytest.raises(InputError, match="tile is '0'"):
        export(native("tnbc"), "nuclei-coco", tmp_path / "a", tile=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
@pytest.mark.slow
def test_real_slides_are_tiled_at_512_with_every_nucleus(sample: Callable[[str], Path], tmp_path: Path) -> None:
    store = ingest("kumar", sample("kumar/nucleisegmentationbenchmark.zip"), tmp_path / "kumar.celltable")
    run(store.path, tmp_path / "out")
    again = back(tmp_path / "out")
    assert {again.image(i).size for i in again} == {(512, 512)}
    assert len(again) == 12
    windows = [(t, t + 512, s, s + 512) for t in (0, 488) for s in (0, 488)]
    for image_id in store:
        expected = crops(store, image_id, windows)
        names = [f"nucleisegmentationbenchmark/{image_id}.x{s}_{r}_y{t}_{b}" for t, b, s, r in windows]
        assert [len(again[n].sample.instances) for n in names] == [len(m) for m in expected]
        ids = {i for n in names for i in again[n].sample.instances.ids.tolist()}
        assert len(ids) == len(nuclei(store, image_id))


@pytest.mark.real
def test_real_patients_keep_their_2712_nuclei(sample: Callable[[str], Path], tmp_path: Path) -> None:
    store = ingest("tnbc", sample("tnbc/TNBC_NucleiSegmentation.zip"), tmp_path / "tnbc.celltable")
    said = run(store.path, tmp_path / "out")
    again = back(tmp_path / "out")
    assert (len(again), said["written"]["cells"]) == (33, 2712)
    groups = Counter(again.image(i).leakage_group for i in again for _ in range(len(again[i].sample.instances)))
    assert groups == {f"tnbc {k:02d}": n for k, n in enumerate((458, 188, 289, 596, 420, 204, 557), 1)}


@pytest.mark.real
@pytest.mark.slow
def test_the_known_record_of_the_collection_is_made_from_the_bowl(
    sample: Callable[[str], Path], tmp_path: Path
) -> None:
    store = ingest("dsb2018", sample("dsb2018/stage1_train.zip"), tmp_path / "dsb.celltable")
    run(store.path, tmp_path / "out", "--where", "modality = 'histology'")
    files = documents(tmp_path / "out")
    assert list(files) == ["stage1_train", "stage_1_local_val_split"]  # the six purple classes are its local val
    assert len(files["stage1_train"]["images"]) == 108
    name = "4ca5081854df7bbcaa4934fcf34318f82733a0f8c05b942c2265eea75419d62f"
    (record,) = [i for i in files["stage1_train"]["images"] if i["file_name"] == f"{name}.png"]
    masks = [a for a in files["stage1_train"]["annotations"] if a["image_id"] == record["id"]]
    assert (record["height"], record["width"], record["nuclei_class"]) == (256, 320, "purple_purple_320_256_sparce")
    assert len(masks) == 37


@pytest.mark.real
@pytest.mark.slow
def test_a_real_source_is_shrunk_and_its_rejected_image_stays_unlabelled(
    sample: Callable[[str], Path], tmp_path: Path
) -> None:
    archive = sample("isbi2009/2009_ISBI_2DNuclei_code_data.zip")
    store = ingest("isbi2009", archive, tmp_path / "isbi.celltable")
    said = run(store.path, tmp_path / "out")
    again = import_annotations(
        "coco", tmp_path / "out" / "annotations" / "2009_ISBI_2DNuclei.json", tmp_path / "again.celltable"
    )
    assert len(again) == 21
    assert {again.image(i).size for i in again} == {(412, 540), (410, 538)}
    assert [i for i in again if not again.image(i).annotated] == ["gnf_31"]
    n = sum(len(nuclei(store, i)) for i in store)
    assert said["written"]["cells"] + said["loss"].get("empty masks: cells without pixels left out", 0) == n > 700
