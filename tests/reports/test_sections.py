"""The report's plots and tables agree with a recount; several stores are compared on common axes."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from celltable import plugins, schema
from celltable.cells import Instances
from celltable.cli import build
from celltable.drawing.beside import count_table, share_bars
from celltable.drawing.picture import path_of
from celltable.drawing.svg import histogram, ranges
from celltable.pipelines.check import check
from celltable.pipelines.ingest import ingest
from celltable.pipelines.report import report
from celltable.pipelines.show import summary
from celltable.store import Store, open_store, with_columns


class Tables(HTMLParser):
    """Parse every table of a page as rows of texts, and the titles (hover texts) of its marks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.titles: list[str] = []
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._into = self.tables[-1][-1]
            self._into.append("")
        elif tag == "title":
            self._into = self.titles
            self.titles.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "title"):
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data

    def headed(self, first: str) -> list[list[str]]:
        """Return the table whose first column has that title."""
        return next(t for t in self.tables if t and t[0][0] == first)


def ingested(name: str, folder: Path, seed: int = 1) -> Store:
    found = plugins.load("datasets", name).example(folder / f"{name}-release", seed)
    return ingest(name, found or folder / f"{name}-release", folder / f"{name}.celltable")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    folder = tmp_path_factory.mktemp("stores")
    made = [ingested(name, folder) for name in ("pannuke", "livecell", "pannuke_imagemask")]
    return [made[0], _partly_unlabelled(made[1]), made[2]]


def _partly_unlabelled(store: Store) -> Store:
    """Remove the annotation of all images except every third."""
    known = [k % 3 == 0 for k in range(len(store))]
    kept = pa.array([i for i, k in zip(store, known, strict=True) if k])
    cells = store.instances.arrow.filter(pc.is_in(store.instances["image_id"], kept))
    return store.update({"images": with_columns(store.images.arrow, {"annotated": known}), "instances": cells})


@given(
    st.lists(st.floats(0.5, 1e6), min_size=1, max_size=60),
    st.booleans(),
    st.lists(st.floats(1e6, 1e9), max_size=2),
)
def test_every_value_is_in_a_bar_of_the_histogram(values: list[float], log: bool, far: list[float]) -> None:
    svg = histogram({"": np.array(values + far)}, title="t", label="x", log=log)
    bars = [float(t.rsplit(": ", 1)[1].replace(",", "")) for t in Tables(svg).titles]
    assert sum(bars) == len(values + far)
    assert len(bars) <= 40


def test_a_logarithmic_plot_says_how_many_zeros_it_leaves_out() -> None:
    assert "cells; 3 of 0 left out<" in ranges({"a": [0, 0, 5, 7], "b": [0, 2, 3]}, title="t", label="cells")
    assert "cells<" in ranges({"a": [5, 7]}, title="t", label="cells")


def test_the_largest_of_three_images_is_shown() -> None:
    titles = Tables(histogram({"": [363, 398, 444]}, title="t", label="x")).titles
    assert [t.rsplit(": ", 1)[1] for t in titles] == ["1", "0", "1", "0", "0", "1"]
    assert not any("more" in t for t in titles)


def test_contours_drawn_as_steps_enclose_the_pixels_of_the_cells() -> None:
    rng = np.random.default_rng(2)
    cells = Instances.from_masks([rng.random((24, 30)) < share for share in (0.2, 0.6, 0.9)], (24, 30))
    covered = _filled(path_of(cells), cells.size)
    assert np.array_equal(covered % 2, np.sum(cells.masks(), axis=0) % 2)


def _filled(path: str, size: tuple[int, int]) -> Any:
    """Rasterise an SVG path by the even-odd rule at pixel centres, from its commands alone."""
    crossings = np.zeros(size, int)
    for ring in re.findall(r"M[^M]*Z", path):
        x, y, *_ = map(float, re.findall(r"-?[\d.]+", ring[: re.search(r"[hvlZ]", ring).start()]))  # type: ignore[union-attr]
        points = [(x, y)]
        for letter, numbers in re.findall(r"([hvl])([-\d. ]+)", ring):
            step = [float(n) for n in numbers.split()]
            x, y = x + (step[0] if letter in "hl" else 0), y + (step[-1] if letter in "vl" else 0)
            points.append((x, y))
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            rows = np.arange(size[0]) + 0.5
            hit = (np.minimum(y0, y1) < rows) & (rows < np.maximum(y0, y1))
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0) if y1 != y0 else np.zeros(size[0])
            crossings += hit[:, None] & (np.arange(size[1])[None, :] + 0.5 > at[:, None])
    return crossings


def test_shares_are_of_each_store_and_the_rest_is_counted_together() -> None:
    many = {f"c{k:02d}": 100 - k for k in range(23)}
    series = {"a": {"x": 3, "y": 1}, "b": many, "none": {}}
    rows = Tables(count_table(series, what="class")).tables[0]
    assert rows[0] == ["class", "a", "b"]
    assert rows[1] == ["x", "3 (75.0%)", ""]
    assert rows[-1] == ["all", "4", f"{sum(many.values()):,}"]
    left_out = sorted(many.values())[:5]
    assert rows[-2][0] == "5 others"
    assert rows[-2][2].startswith(f"{sum(left_out)} (")
    titles = Tables(share_bars(series, title="t")).titles
    assert "a: x 3 of 4" in titles
    assert not any(t.startswith("none") for t in titles)


def test_several_stores_are_shown_side_by_side_with_classes_and_tissues(stores: list[Store], tmp_path: Path) -> None:
    page = Tables(report(stores[0], tmp_path / "r.html", others=stores[1:]).read_text(encoding="utf-8"))
    classes = page.headed("class")
    assert classes[0] == ["class", "pannuke", "pannuke_imagemask"]
    for column, store in ((1, stores[0]), (2, stores[2])):
        counted = Counter(store.columns("class_name")["class_name"].to_pylist())
        shown = {row[0]: int(row[column].split()[0]) for row in classes[1:-1] if row[column]}
        assert shown == dict(counted)
    tissues = page.headed("tissue")
    assert {r[0] for r in tissues[1:-1]} == {t for s in stores for t in s.images["tissue"].to_pylist() if t}
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    pictured = set(re.findall(r"here ([^,<]*), ", text))
    assert all(pictured & {i[:40] for i in store} for store in stores)
    legend = re.findall(r'<i style="background:(#\w+)"></i>(\w+)', text[text.index('id="gallery"') :])
    coloured = {name: {c for c, n in legend if n == name} for _, name in legend}
    assert {name for name, n in Counter(n for _, n in legend).items() if n > 1} & set(classes_of(stores[0]))
    assert all(len(colours) == 1 for colours in coloured.values()), "one colour a class"
    facts = page.headed("")
    assert [r[0] for r in facts[1:]] == [s.name for s in stores]
    at = facts[0].index("cells")
    assert [r[at] for r in facts[1:]] == [f"{len(s.instances):,}" for s in stores]


def classes_of(store: Store) -> list[str]:
    return [c for c in store.columns("class_name")["class_name"].unique().to_pylist() if c]


def test_what_nobody_annotated_is_not_counted_as_empty(stores: list[Store]) -> None:
    store = next(s for s in stores if s.name == "livecell")
    annotated = store.images["annotated"].to_pylist()
    assert not all(annotated)
    counts = [n for n, known in zip(store.images["n_instances"].to_pylist(), annotated, strict=True) if known]
    found = summary(store)
    assert found["cells_per_image"]["min"] == min(counts)
    assert found["cells_per_image"]["median"] == np.median(counts)
    area = float(store.images["height"][0].as_py() * store.images["width"][0].as_py())
    assert found["density"]["mean"] == pytest.approx(np.mean(counts) / area * 1e4, abs=1e-3)
    bare = store.images.arrow.filter(pa.array([not a for a in annotated]))
    assert summary(_only(store, bare))["cells_per_image"] is None


def _only(store: Store, images: pa.Table) -> Store:
    from celltable.store import write_store

    cells = store.instances.arrow.filter(
        pc.is_in(store.instances["image_id"], images.column("image_id").combine_chunks())
    )
    return write_store(store.path.with_name("bare.celltable"), store.info, images, cells)


def test_the_gallery_prefers_annotated_images_and_says_if_there_are_none(stores: list[Store], tmp_path: Path) -> None:
    store = next(s for s in stores if s.name == "livecell")
    text = report(store, tmp_path / "r.html").read_text(encoding="utf-8")
    gallery = text[text.index('id="gallery"') :]
    gallery = gallery[: gallery.index("</section>")]
    types = dict(zip(store, store.images["cell_type"].to_pylist(), strict=True))
    known = {i for i, a in zip(store, store.images["annotated"].to_pylist(), strict=True) if a}
    shown = re.findall(r"<b>([^<]*)</b>, \d+ images?; here ([^,]*), ([^<]*)</figcaption>", gallery)
    assert shown
    for kind, image_id, cells in shown:
        any_known = any(i in known for i, t in types.items() if t == kind)
        assert (image_id in known) == any_known
        assert cells.startswith("not annotated") == (image_id not in known)


def test_images_without_pixels_show_their_contours_on_black(tmp_path: Path) -> None:
    store = ingested("dsb2018", tmp_path)
    images = store.images.arrow
    pixels = schema.IMAGES.field("pixels")
    nothing = pa.array([[]] * images.num_rows, pixels.type)
    bare = store.update({"images": images.set_column(images.schema.get_field_index("pixels"), pixels, nothing)})
    assert bare[next(iter(bare))].sample.load_pixels is None
    report(bare, tmp_path / "r.html")
    assert "(no pixels)" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_findings_of_two_severities_have_two_rows_as_check_counts_them(tmp_path: Path) -> None:
    store = ingested("dsb2018", tmp_path)
    found = check(store, pixels=False)
    now = open_store(store.path)
    severities = with_columns(now.findings.arrow, {"severity": ["note", *now.findings["severity"].to_pylist()[1:]]})
    store = now.update({"findings": severities})
    page = Tables(report(store, tmp_path / "r.html").read_text(encoding="utf-8"))
    rows = {(r[0], r[1]): int(r[2].replace(",", "")) for r in page.headed("rule")[1:]}
    expected = Counter(zip(store.findings["rule"].to_pylist(), store.findings["severity"].to_pylist(), strict=True))
    assert rows == dict(expected)
    assert len(rows) > len({rule for rule, _ in rows}) or len(found.counts) == len(rows)


def test_places_that_a_finding_names_are_circled(tmp_path: Path) -> None:
    store = ingested("tnbc", tmp_path)
    first = next(iter(store))
    message = "2 dark objects like the annotated cells that no mask covers, around x, y = (13, 40), (29, 7), …"
    row = {"image_id": first, "rule": "probable-missed", "severity": "warning", "value": 2.0, "message": message}
    table = pa.Table.from_pylist([row], schema=schema.FINDINGS)
    text = report(store.update({"findings": table}), tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.findall(r'<circle cx="(\d+)" cy="(\d+)"', text) == [("13", "40"), ("29", "7")]


def test_show_prints_one_table_per_category_for_several_stores(stores: list[Store]) -> None:
    result = CliRunner().invoke(build(["show", "split"]), ["show", *(str(s.path) for s in stores)])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    counted = Counter(stores[0].columns("class_name")["class_name"].to_pylist())
    name, n = counted.most_common(1)[0]
    assert any(line[:2] == [name, f"{n:,}"] for line in lines)
    assert ["cells", *(f"{len(s.instances):,}" for s in stores)] in lines
