"""Stores cut into tiles and put together again: pixels against slices, cells against the store they came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from celltable import plugins, synthetic
from celltable.cells import Image, Instances, Pixels, Sample
from celltable.cli import build
from celltable.errors import CelltableError, StoreError
from celltable.pipelines.ingest import ingest
from celltable.pipelines.predict import predict
from celltable.pipelines.tile import PARENT, stitch, tile
from celltable.store import Store, StoreWriter, open_store
from celltable.work import Runner


def made(folder: Path, images: dict[str, NDArray[Any]], cells: dict[str, Instances], **fields: Any) -> Store:
    """Make a store with its own pixels as .npy."""
    with StoreWriter(folder, {"made": 1}) as writer:
        (writer.extra / "pixels").mkdir()
        for k, (name, pixels) in enumerate(images.items()):
            np.save(writer.extra / "pixels" / f"{k}.npy", pixels)
            image = Image(name, pixels.shape[0], pixels.shape[1], (Pixels("", f"pixels/{k}.npy"),), "made")
            image = replace(image, **fields)
            writer.append(Sample(image, cells.get(name, Instances.empty(image.size))))
        return writer.finish({"name": "made", "licence": "CC0", "sources": {}})


def truth(size: tuple[int, int], seed: int, n: int = 40) -> Instances:
    scene = synthetic.generate("fluorescence", size=size, cells=n, seed=seed)
    return Instances.from_label_map(scene.label_map, class_name="nucleus")


def same_cells(a: Store, b: Store) -> bool:
    columns = ("rle", "class_name", "kind", "area")
    return all(
        sorted(zip(*(a[i].instances.column(c) for c in columns), strict=True))
        == sorted(zip(*(b[i].instances.column(c) for c in columns), strict=True))
        for i in a
    ) and list(a) == list(b)


@pytest.mark.parametrize("form", ["auto", "png", "tif", "npy"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "rgb", "rgba", "rgb16"])
def test_pixels_of_tiles_are_slices_of_the_image(tmp_path: Path, form: str, kind: str) -> None:
    shape = (70, 90) if kind.startswith("u") else (70, 90, 4 if kind == "rgba" else 3)
    dtype = np.uint16 if "16" in kind else np.uint8
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    store = tile(made(tmp_path / "a", {"one": pixels}, {}), tmp_path / "t", size=32, overlap=8, form=form)
    assert len(store) == 3 * 4
    for name in store:
        meta = store.image(name).metadata
        row, col = int(meta["tile_row"]), int(meta["tile_col"])
        assert name == f"one@r{row:06d}_c{col:06d}"
        found = store[name].pixels
        assert found.dtype == dtype
        assert (found == pixels[row : row + 32, col : col + 32]).all()


def test_pixels_no_png_can_hold_become_npy_and_a_png_is_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).random((40, 50, 5)).astype(np.float32)
    store = made(tmp_path / "a", {"one": pixels}, {})
    tiles = tile(store, tmp_path / "t", size=32, overlap=8)
    assert (tiles["one@r000008_c000018"].pixels == pixels[8:40, 18:50]).all()
    with pytest.raises(CelltableError, match="PNG cannot hold pixels of float32"):
        tile(store, tmp_path / "u", size=32, overlap=8, form="png")
    assert not (tmp_path / "u").exists()


def test_tiles_put_together_are_the_store_they_were_cut_from(tmp_path: Path) -> None:
    scenes = {f"i{k}": synthetic.generate("histology", size=(200, 170 + 40 * k), cells=60, seed=k) for k in range(3)}
    cells = {n: Instances.from_label_map(s.label_map, class_name=list(s.classes)) for n, s in scenes.items()}
    store = made(tmp_path / "s", {n: s.pixels for n, s in scenes.items()}, cells)
    largest = max(max(store.columns(c)[0].to_pylist()) for c in ("bbox_w", "bbox_h"))
    tiles = tile(store, tmp_path / "t", size=largest + 30, overlap=largest + 1)
    assert len(tiles) > len(store)
    assert any(tiles.columns("truncated")["truncated"].to_pylist())
    back = stitch(tiles, tmp_path / "b", images=store)
    assert same_cells(store, back)
    for name in back:
        assert (back[name].pixels == store[name].pixels).all()
        assert replace(back.image(name), pixels=()) == replace(store.image(name), pixels=())


def test_without_the_whole_images_their_records_are_what_the_tiles_know(tmp_path: Path) -> None:
    cells = {"a/1": truth((80, 90), 1), "b": truth((30, 20), 2)}
    pixels = {"a/1": np.zeros((80, 90), np.uint8), "b": np.zeros((30, 20), np.uint8)}
    store = made(tmp_path / "s", pixels, cells, split="train", metadata={"site": "3"})
    back = stitch(tile(store, tmp_path / "t", size=64, overlap=40), tmp_path / "b")
    assert same_cells(store, back)
    for name in store:
        assert back.image(name) == replace(store.image(name), pixels=())


def test_tiles_of_one_image_share_a_group_and_weak_labels_do_not_reach_them(tmp_path: Path) -> None:
    pixels = {"p": np.zeros((80, 90), np.uint8), "q": np.zeros((80, 90), np.uint8)}
    store = made(tmp_path / "s", pixels, {}, labels=("Nucleoplasm",), count=7.0)
    tiles = tile(store, tmp_path / "t", size=64, overlap=10)
    records = [tiles.image(i) for i in tiles]
    assert {(r.leakage_group, r.group_source) for r in records} == {("p", "derived"), ("q", "derived")}
    assert all(r.leakage_group == r.metadata[PARENT] and r.labels is None and r.count is None for r in records)
    grouped = made(tmp_path / "g", pixels, {}, leakage_group="patient 1", group_source="published")
    tiles = tile(grouped, tmp_path / "u", size=64, overlap=10)
    assert set(tiles.images["leakage_group"].to_pylist()) == {"patient 1"}


def test_the_number_of_workers_and_an_interruption_do_not_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"i{k}" for k in range(6)]
    rng = np.random.default_rng(0)
    store = made(
        tmp_path / "s", {n: rng.integers(0, 255, (80, 90)).astype(np.uint8) for n in names},
        {n: truth((80, 90), k) for k, n in enumerate(names)},
    )  # fmt: skip
    one = tile(store, tmp_path / "one", size=32, overlap=8, workers=1)
    tile(store, tmp_path / "two", size=32, overlap=8, workers=3)
    monkeypatch.setattr(StoreWriter, "PART_IMAGES", 5)
    plain = Runner.map

    def broken(self: Runner, function: Callable[[Any], Any], items: Any, **options: Any) -> Any:
        for k, result in enumerate(plain(self, function, items, **options)):
            if k == 4:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(Runner, "map", broken)
    with pytest.raises(KeyboardInterrupt):
        tile(store, tmp_path / "three", size=32, overlap=8)
    assert not (tmp_path / "three").exists()
    monkeypatch.setattr(Runner, "map", plain)
    tile(store, tmp_path / "three", size=32, overlap=8)
    files = sorted(p.relative_to(one.path) for p in one.path.rglob("*") if p.is_file())
    assert len(files) == 6 * 12 + 4
    for other in ("two", "three"):
        assert files == sorted(p.relative_to(tmp_path / other) for p in (tmp_path / other).rglob("*") if p.is_file())
        assert all((one.path / f).read_bytes() == (tmp_path / other / f).read_bytes() for f in files)


def test_missing_tiles_and_unreadable_images_are_findings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = {n: rng.integers(0, 255, (80, 90)).astype(np.uint8) for n in ("good", "lost")}
    store = made(tmp_path / "s", pixels, {n: truth((80, 90), 1) for n in pixels})
    (store.path / "pixels" / "1.npy").unlink()
    tiles = tile(store, tmp_path / "t", size=64, overlap=40)
    assert tiles.findings["rule"].to_pylist() == ["unreadable-image"]
    assert "1.npy" in tiles.findings["message"][0].as_py()
    found = stitch(predict(tiles, tmp_path / "p"), tmp_path / "b", images=store)
    assert found.findings.select(["image_id", "rule", "value"]).to_pylist() == []
    assert (found.image("good").annotated, found.image("lost").annotated) == (True, False)
    part = tiles.images.filter(np.array(["c000000" in i or "lost" in i for i in tiles]))
    cells = tiles.instances.filter(np.isin(tiles.instances["image_id"].to_pylist(), part["image_id"].to_pylist()))
    less = stitch(tiles.update({"images": part, "instances": cells}), tmp_path / "c")
    assert less.findings.select(["image_id", "rule"]).to_pylist() == [{"image_id": "good", "rule": "missing-tiles"}]
    assert (less.image("good").exhaustive, less.image("lost").exhaustive) == (False, True)


def test_requests_that_make_no_sense_end_in_one_sentence(tmp_path: Path) -> None:
    store = made(tmp_path / "s", {"a": np.zeros((80, 90), np.uint8)}, {})
    tiles = tile(store, tmp_path / "t", size=64, overlap=40)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: tile(tiles, tmp_path / "u"), "already holds tiles"),
        (lambda: stitch(store, tmp_path / "u"), "1 of 1 images are not tiles, the first 'a'"),
        (lambda: tile(store, tmp_path / "u", size=16, overlap=16), "cannot overlap by 16 px"),
        (lambda: tile(store, tmp_path / "u", form="jpg"), "the form of the pixel files is 'jpg'"),
        (lambda: stitch(tiles, tmp_path / "u", match=1.5), "match is 1.5"),
        (lambda: tile(store, tmp_path / "t"), "already exists"),
        (lambda: tile(store, store.path, overwrite=True), "is the store that is read"),
    ]
    for call, words in calls:
        with pytest.raises(CelltableError, match=words):
            call()
    other = made(tmp_path / "o", {"a": np.zeros((80, 91), np.uint8)}, {})
    with pytest.raises(CelltableError, match="80 × 91 px; its tiles were cut from one of 80 × 90 px"):
        stitch(tiles, tmp_path / "u", images=other)
    (tmp_path / "notes").mkdir()
    with pytest.raises(StoreError, match="not a celltable store"):
        tile(store, tmp_path / "notes", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes", "o", "s", "t"]


def seam_defects(whole: Store, tiled: Store, borders: set[int], on: bool = True) -> tuple[int, int]:
    """Count reference cells on (or off) tile borders, and those of them that are split, doubled, joined or lost."""
    counted = wrong = 0
    for name in whole:
        a, b = (np.array(s[name].instances.masks()).reshape(-1, 384 * 384).astype(np.float32) for s in (whole, tiled))
        shared, area_a, area_b = a @ b.T, a.sum(1)[:, None], b.sum(1)[None, :]
        hits = shared > 0.1 * np.minimum(area_a, area_b)
        same = (hits.sum(1) == 1) & ((shared / (area_a + area_b - shared)).max(1) > 0.5)
        for (x, y, w, h), ok in zip(whole[name].instances.bbox.tolist(), same.tolist(), strict=True):
            if on == any(x < s < x + w or y < s < y + h for s in borders):
                counted, wrong = counted + 1, wrong + (not ok)
    return counted, wrong


def predicted_on_tiles(store: Store, folder: Path, overlap: int) -> tuple[Store, set[int]]:
    """Return the stitched predictions and the borders of the tiles."""
    tiles = tile(store, folder / f"t{overlap}", size=160, overlap=overlap)
    found = stitch(predict(tiles, folder / f"p{overlap}"), folder / f"found{overlap}", images=store)
    starts = {int(dict(m)[k]) for m in tiles.images["metadata"].to_pylist() for k in ("tile_row", "tile_col")}
    return found, (starts | {s + 160 for s in starts}) - {0, 384}


@pytest.mark.slow
def test_predictions_of_tiles_have_hardly_a_seam(tmp_path: Path) -> None:
    scenes = [synthetic.generate("fluorescence", size=(384, 384), cells=110, seed=s, touching=0.2) for s in range(3)]
    store = made(tmp_path / "s", {f"i{k}": s.pixels for k, s in enumerate(scenes)}, {})
    whole = predict(store, tmp_path / "whole")
    found, borders = predicted_on_tiles(store, tmp_path, 64)
    assert found.info["kind"] == "predictions"
    assert None not in found.columns("score")["score"].to_pylist()
    on_border, wrong = seam_defects(whole, found, borders)
    off_border, other = seam_defects(whole, found, borders, on=False)
    torn = seam_defects(whole, *predicted_on_tiles(store, tmp_path, 0))
    assert on_border > 80
    assert wrong / on_border < 0.05
    assert wrong / on_border <= other / off_border + 0.02, "hardly more than the model differs from itself elsewhere"
    assert torn[1] / torn[0] > 5 * wrong / on_border, "the measure must see existing seams"


@pytest.mark.real
def test_a_published_release_comes_back_from_tiles_cell_by_cell(sample: Callable[[str], Path], tmp_path: Path) -> None:
    store = ingest("kumar", sample("kumar"), tmp_path / "k")
    back = stitch(tile(store, tmp_path / "t", size=300, overlap=150), tmp_path / "b", images=open_store(store.path))
    assert len(back.columns("area")) == 1205
    assert same_cells(store, back)


def test_the_commands_count_in_singular_and_plural(tmp_path: Path) -> None:
    first = next(iter(ingest("tnbc", plugins.load("datasets", "tnbc").example(tmp_path / "r", 0), tmp_path / "a")))
    commands = build(["tile", "stitch"])
    where = ["--where", f"image_id = '{first}'", "--size", "64", "--overlap", "16"]
    made = CliRunner().invoke(commands, ["tile", str(tmp_path / "a"), str(tmp_path / "t"), *where])
    assert "tiles of 1 image; " in made.output
    tiles = open_store(tmp_path / "t")
    back = CliRunner().invoke(commands, ["stitch", str(tmp_path / "t"), str(tmp_path / "b")])
    assert f"cells in 1 image, of {len(tiles.instances):,} cells in {len(tiles)} tiles\n" in back.output
    kept = tiles.images.arrow.slice(1)
    ids = pa.array(kept.column("image_id").to_pylist())
    cells = tiles.instances.arrow
    tiles.update({"images": kept, "instances": cells.filter(pc.is_in(cells.column("image_id"), ids))})
    less = CliRunner().invoke(commands, ["stitch", str(tmp_path / "t"), str(tmp_path / "c")])
    assert "1 image lacks tiles and is marked as not exhaustive\n" in less.output
