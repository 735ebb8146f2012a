"""The demo runs the whole workflow; the report needs no network; import is the inverse of export."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from celltable import plugins
from celltable.errors import CelltableError, InputError, NotFoundError, UnknownPluginError
from celltable.pipelines.convert import export, import_annotations, selected
from celltable.pipelines.demo import MARKER, demo
from celltable.pipelines.ingest import ingest
from celltable.pipelines.predict import predict
from celltable.pipelines.report import report
from celltable.pipelines.show import summary
from celltable.store import Store, open_store


@pytest.fixture(scope="module")
def bowl(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("bowl")
    release = plugins.load("datasets", "dsb2018").example(folder / "release", 3)
    return ingest("dsb2018", release, folder / "dsb.celltable")


class Page(HTMLParser):
    """The addresses that a page would fetch, and whether its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v for k, v in attrs if k in ("src", "href") and v]
        if tag not in ("meta", "br", "image", "line", "rect", "path", "polyline", "i"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("i", "image", "line", "rect", "path", "polyline"):
            return
        assert self.open.pop() == tag


@pytest.mark.slow
def test_the_demo_runs_the_whole_workflow_and_names_the_report(tmp_path: Path) -> None:
    lines: list[str] = []
    path = demo(tmp_path / "demo", say=lines.append)
    text = "\n".join(lines)
    assert path.exists()
    assert str(path) in text
    for name in plugins.names("datasets"):
        assert (tmp_path / "demo" / f"{name}.celltable" / "dataset.json").exists()
        assert f"  {name} " in text
    with pytest.raises(CelltableError, match="--overwrite"):
        demo(tmp_path / "demo", say=lines.append)


def test_the_demo_does_not_touch_a_folder_that_it_did_not_create(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(CelltableError, match="left untouched"):
        demo(tmp_path, overwrite=True, say=lambda line: None)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    assert not (tmp_path / MARKER).exists()


def test_the_report_needs_no_network_and_shows_every_section(bowl: Store, tmp_path: Path) -> None:
    pred = predict(bowl, tmp_path / "pred.celltable")
    path = report(bowl, tmp_path / "report.html", predictions=pred, others=[bowl])
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(a.startswith(("#", "data:")) for a in page.addresses)
    anchors = set(re.findall(r'<section id="(\w+)"', text))
    assert anchors == {s.name for s in plugins.load_all("reports").values()}
    assert f"{summary(bowl)['instances']:,}" in text
    assert "ap_dsb2018" in text
    assert "Protocol card" in text
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".celltable"] == ["report.html"]


def test_a_report_without_predictions_leaves_their_sections_out(bowl: Store, tmp_path: Path) -> None:
    text = report(bowl, tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="overview"' in text
    assert 'id="scores"' not in text
    assert 'id="best_and_worst"' not in text


def test_names_in_the_data_cannot_break_the_page(bowl: Store, tmp_path: Path) -> None:
    store = bowl.update({}, {"title": '<script>alert("x")</script>'})
    try:
        text = report(store, tmp_path / "report.html").read_text(encoding="utf-8")
    finally:
        bowl.update({}, {"title": "Bowl"})
    assert "<script>" not in text


def test_what_is_exported_is_imported_again(bowl: Store, tmp_path: Path) -> None:
    loss = export(bowl, "coco", tmp_path / "out.json")
    assert "exact" not in str(loss)
    json.loads((tmp_path / "out.json").read_text())
    back = import_annotations("coco", tmp_path / "out.json", tmp_path / "back.celltable", images=bowl)
    assert list(back) == list(bowl)
    for image_id in bowl:
        assert list(back[image_id].instances.rle) == list(bowl[image_id].instances.rle)
        np.testing.assert_array_equal(back[image_id].pixels, bowl[image_id].pixels)


def test_a_condition_chooses_the_images(bowl: Store, tmp_path: Path) -> None:
    ids = selected(bowl, "modality = 'histology'")
    assert ids == [i for i in bowl if bowl.image(i).modality == "histology"]
    export(bowl, "mask-folder", tmp_path / "out", where="modality = 'histology'")
    assert len([p for p in (tmp_path / "out").rglob("images") if p.is_dir()]) == len(ids)
    with pytest.raises(NotFoundError, match="no image meets the condition"):
        selected(bowl, "modality = 'x-ray'")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"to": "cocoo"}, UnknownPluginError, "Did you mean coco"),
        ({"to": "coco", "segmentatoin": "rle"}, InputError, "Did you mean segmentation"),
        ({"to": "coco", "where": "selekt"}, InputError, "the query failed"),
    ],
)
def test_an_impossible_export_says_why(
    bowl: Store, tmp_path: Path, arguments: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(bowl, out=tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_not_replaced_unless_requested(bowl: Store, tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("mine")
    with pytest.raises(CelltableError, match="--overwrite"):
        export(bowl, "coco", tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "mine"
    export(bowl, "coco", tmp_path / "out.json", overwrite=True)
    assert json.loads((tmp_path / "out.json").read_text())["images"]


def test_the_summary_counts_what_a_query_counts(bowl: Store) -> None:
    found = summary(open_store(bowl.path))
    assert found["instances"] == bowl.query("select count(*) as n from instances").to_pylist()[0]["n"]
    assert sum(found["modality"].values()) == found["images"] == len(bowl)
    assert found["ignored_images"] == bowl.query("select count(*) as n from images where ignore").to_pylist()[0]["n"]
    assert found["area_px2"]["max"] == bowl.query("select max(area) as n from instances").to_pylist()[0]["n"]
