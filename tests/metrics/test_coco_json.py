"""The native reader of COCO JSON holds the data of json.loads, in any window, and refuses what json.loads refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from celltable._native.cocojson import CocoFile
from celltable.errors import InputError, NotFoundError
from celltable.geometry import polygon
from celltable.geometry.masks import RunLengths

numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6).map(lambda v: round(v, 2)),
    st.floats(allow_nan=False, allow_infinity=False),
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
polygons = st.lists(st.lists(numbers, min_size=1, max_size=12), min_size=1, max_size=3)
run_lengths = st.fixed_dictionaries(
    {"size": st.lists(st.integers(0, 999), min_size=2, max_size=2)},
    optional={
        "counts": st.text(st.characters(min_codepoint=48, max_codepoint=111)) | st.lists(st.integers(0, 99), min_size=1)
    },
)
some_annotation: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(-5, 2**40) | st.text(max_size=3) | st.none(),
        "image_id": st.integers(0, 4) | st.sampled_from(["a", "b\n", "ü"]),
        "category_id": st.integers(0, 3),
        "segmentation": polygons | run_lengths | st.just([]) | st.none(),
        "area": numbers | st.text(max_size=2),
        "bbox": st.lists(numbers, min_size=4, max_size=4) | st.lists(numbers, max_size=5),
        "iscrowd": st.integers(0, 1) | st.booleans() | st.none(),
        "score": st.floats(0, 1),
        "nuclei_class": anything,
        "é": anything,
    },
)
windows = st.integers(16, 200)


def number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def is_close(found: float, expected: float) -> bool:
    return found == expected or (math.isnan(found) and math.isnan(expected))


def same_scalars(file: CocoFile, rows: list[dict[str, Any]]) -> None:
    assert len(file) == len(rows)
    keys = [None if k < 0 else file.image_keys[k] for k in file.image.tolist()]
    assert keys == [r.get("image_id") for r in rows]
    assert [None if k < 0 else file.category_keys[k] for k in file.category.tolist()] == [
        r.get("category_id") for r in rows
    ]
    ids = [file.odd_ids.get(i, k) for i, k in enumerate(file.ids.tolist())]
    assert ids == [r.get("id") for r in rows]
    assert all(is_close(a, number(r.get("area"))) for a, r in zip(file.area.tolist(), rows, strict=True))
    assert file.iscrowd.tolist() == [int(bool(r.get("iscrowd"))) for r in rows]
    scores = [math.nan] * len(rows) if file.score is None else file.score.tolist()
    assert all(is_close(a, number(r.get("score"))) for a, r in zip(scores, rows, strict=True))
    boxes = [[math.nan] * 4] * len(rows) if file.bbox is None else file.bbox.tolist()
    for box, row in zip(boxes, rows, strict=True):
        stated = row.get("bbox")
        assert box == stated if isinstance(stated, list) and len(stated) == 4 else all(map(math.isnan, box))


def same_outlines(file: CocoFile, rows: list[dict[str, Any]]) -> None:
    every = np.arange(len(rows))
    xy, parts, cells = file.polygons(every)
    data, ends, good = file.rles(every)
    for i, row in enumerate(rows):
        shape = row.get("segmentation")
        found = [xy[parts[j] : parts[j + 1]].tolist() for j in range(cells[i], cells[i + 1])]
        assert found == (shape if isinstance(shape, list) else [])
        counts = shape.get("counts") if isinstance(shape, dict) else None
        assert bool(good[i]) == (counts is not None)
        if isinstance(counts, str):
            assert bytes(data[ends[i] : ends[i + 1]]).decode() == counts
        elif counts is not None:
            assert bytes(data[ends[i] : ends[i + 1]]) == compressed(counts)
    assert [json.loads(t) if t else None for t in file.texts(every)] == [r.get("segmentation") for r in rows]


def compressed(counts: list[int]) -> bytes:
    from pycocotools import mask

    column = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    if 0 in counts[1:] or not len(column):  # the reference merges empty runs when it encodes; avoid that
        made = mask.frPyObjects({"size": [max(sum(counts), 1), 1], "counts": counts}, max(sum(counts), 1), 1)
    else:
        made = mask.encode(np.asfortranarray(column[:, None]))
    return bytes(made["counts"])


@settings(max_examples=80, deadline=None)
@given(st.lists(some_annotation, max_size=6), windows, st.sampled_from([None, 1]), st.booleans())
def test_columns_hold_what_json_holds_in_any_window(
    rows: list[dict[str, Any]], window: int, indent: int | None, ascii_only: bool
) -> None:
    document = {"info": {"a": [1, {"b": None}]}, "images": [{"id": 1}], "annotations": rows, "categories": []}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    file = CocoFile.parse(text, "a.json", window)
    assert not file.results
    assert json.loads(file.members["images"]) == [{"id": 1}]
    same_scalars(file, rows)
    same_outlines(file, rows)
    extras = {
        name: dict(zip(*[c if isinstance(c, list) else c.tolist() for c in file.extra(name)], strict=True))
        for name in file.extra_names
    }
    for i, row in enumerate(rows):
        for name in ("nuclei_class", "é"):
            assert (name in row) == (i in extras.get(name, {}))
            if name in row:
                assert json.loads(extras[name][i]) == row[name]


@given(st.dictionaries(st.integers(0, 3000).map(str), some_annotation, max_size=8), windows)
def test_annotations_as_an_object_come_in_the_order_of_their_numbers(
    rows: dict[str, dict[str, Any]], window: int
) -> None:
    file = CocoFile.parse(json.dumps({"annotations": rows}).encode(), "a.json", window)
    ordered = [rows[k] for k in sorted(rows, key=int)]
    same_scalars(file, ordered)
    same_outlines(file, ordered)
    for name in file.extra_names:
        at, texts = file.extra(name)
        assert [json.loads(t) for t in texts] == [ordered[k][name] for k in at.tolist()]


def accepts(text: bytes) -> bool:
    try:
        json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


DOCUMENT = json.dumps(
    {
        "images": [{"id": 1, "height": 5, "file_name": 'a "b" \\ \u00e9 \U0001f9ec'}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "segmentation": [[1.5, 2, -3e2, 4, 0.25, 6]],
                "bbox": [0, 1, 2, 3],
                "area": 7,
                "x": None,
            },
            {
                "id": 2,
                "image_id": 1,
                "segmentation": {"size": [5, 5], "counts": "`0\\\\5"},
                "iscrowd": 1,
                "y": [True, {}],
            },
        ],
    },
    ensure_ascii=False,
).encode()


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(DOCUMENT)),
    st.integers(0, 8),
    st.binary(max_size=3) | st.text('0123456789-+.eE,:[]{}"\\ ntfN\n', max_size=3).map(str.encode),
    windows,
)
@example(0, 0, b"\xef\xbb\xbf", 16)
def test_damaged_text_is_refused_exactly_where_json_refuses_it(at: int, cut: int, insert: bytes, window: int) -> None:
    text = DOCUMENT[:at] + insert + DOCUMENT[at + cut :]
    said = refusal(text, window)
    not_coco = any(
        words in said for words in ("expected an annotation, an object", "expected annotations", "not COCO:")
    )
    assert not_coco or bool(said) != accepts(text), (text, said)


def refusal(text: bytes, window: int) -> str:
    """Return the reader's error message for the text; empty if it reads it."""
    try:
        CocoFile.parse(text, "a.json", window)
    except InputError as exc:
        return str(exc)
    return ""


@given(st.integers(0, len(DOCUMENT) - 1))
def test_a_truncated_file_is_refused_with_the_byte(length: int) -> None:
    with pytest.raises(InputError, match=r"a.json is not valid COCO JSON: at byte \d+: "):
        CocoFile.parse(DOCUMENT[:length], "a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"3", "expected an object with images and annotations, or a list of results"),
        (b'{"annotations": 5}', "at byte 16: expected annotations to be a list or an object"),
        (b"[1]", "at byte 1: expected an annotation, an object, found '1'"),
        (b'{"annotations": {"1": {}, "1": {}}}', "two annotations under the same key"),
        (b"[" * 2000 + b"]" * 2000, "expected an annotation"),
        (b'{"a": ' + b"[" * 2000 + b"]" * 2000 + b"}", "nested more than 900 deep"),
    ],
)
def test_documents_that_are_not_coco_are_reported(text: bytes, message: str) -> None:
    with pytest.raises(InputError, match="a.json") as caught:
        CocoFile.parse(text, "a.json")
    assert message in str(caught.value)


def test_a_file_is_read_like_the_text_in_it(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(DOCUMENT)
    file = CocoFile.open(str(path))
    assert file.name == "some.json"
    xy, _, _ = file.polygons(np.array([0]))
    assert xy.tolist() == [1.5, 2, -300, 4, 0.25, 6]
    path.write_bytes(DOCUMENT[:40])
    with pytest.raises(InputError, match="shorter"):
        file.polygons(np.array([0]))


def test_impossible_requests_are_errors_not_crashes(tmp_path: Path) -> None:
    file = CocoFile.parse(DOCUMENT)
    for row in (-1, 2):
        with pytest.raises(InputError, match="does not exist"):
            file.rles(np.array([row]))
    with pytest.raises(NotFoundError):
        file.extra("no such key")
    with pytest.raises(InputError, match="cannot be opened"):
        CocoFile.open(str(tmp_path / "missing.json"))
    with pytest.raises(InputError, match="not a file"):
        CocoFile.open(str(tmp_path))


def test_rows_are_grouped_by_image_in_their_order() -> None:
    rows = [{"image_id": k} for k in (7, 5, 7, 7, 5)] + [{"id": 1}]
    order, starts = CocoFile.parse(json.dumps(rows).encode()).by_image()
    assert order.tolist() == [0, 2, 3, 1, 4]
    assert starts.tolist() == [0, 3, 5]


def test_numbers_have_the_bits_of_python_floats() -> None:
    texts = [
        "0",
        "-0.0",
        "1.5",
        "123456.7",
        "0.1",
        "1e22",
        "1e23",
        "4.35",
        "2.2250738585072011e-308",
        "5e-324",
        "1e400",
        "9007199254740993",
        "123456789012345678901234567890",
        "0.000001234567",
        "NaN",
        "-Infinity",
        "7.000000000000001",
    ]
    text = '[{"segmentation": [[' + ", ".join(texts) + "]]}]"
    xy, _, _ = CocoFile.parse(text.encode()).polygons(np.array([0]))
    expected = np.array(json.loads(f"[{','.join(texts)}]"), np.float64)
    np.testing.assert_array_equal(xy.view(np.int64), expected.view(np.int64))


usual_number = st.integers(-999, 9999).map(str) | st.floats(-2000, 2000).map(lambda v: repr(round(v, 2)))
slip = st.sampled_from(
    ["1.2.3", "-", "--1", "1.", ".5", "01", "-01", "0.", "1 2", "", "00", "1e3", "1.5E-2", "- 1", "1-2", "NaN"]
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(usual_number, max_size=60), st.integers(0, 59), slip | st.none(), st.sampled_from([", ", ",", " ,", ",  "])
)
@example(["1234567.25"] * 20, 12, "1.2.3", ", ")
@example(
    ["12345678901234567890.5", "0.12345678901234567890123456789012345678901234567890123456789012345678"], 1, None, ","
)
@example(["0.12345678901234567890123456789012345678901234567890123456789012345678.5"], 0, None, ",")
def test_lists_of_numbers_are_read_or_refused_as_in_json_wherever_the_error_is(
    values: list[str], at: int, wrong: str | None, comma: str
) -> None:
    texts = [*values[:at], wrong, *values[at:]] if wrong is not None else values
    text = f'[{{"segmentation": [[{comma.join(texts)}]], "id": 1}}]'.encode()
    assert bool(refusal(text, 4096)) != accepts(text)
    if accepts(text) and texts:
        xy, _, _ = CocoFile.parse(text).polygons(np.array([0]))
        expected = np.array(json.loads(text)[0]["segmentation"][0], np.float64)
        np.testing.assert_array_equal(xy.view(np.int64), expected.view(np.int64))


coordinate = st.floats(-5, 40).map(lambda v: round(v, 2)) | st.floats(-5, 40)
ring = st.lists(coordinate, max_size=20)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(ring, min_size=1, max_size=3), max_size=5), st.integers(0, 30), st.integers(0, 33))
@example([[[0, 0, 5, 0, 1e12, 5]], [[0, 0, 5, 0, math.inf, 5]], [[0, 0, 5, 0, 5, 5]]], 20, 20)
def test_polygons_become_the_masks_areas_and_boxes_of_pycocotools_or_a_reason(
    cells: list[list[list[float]]], height: int, width: int
) -> None:
    text = json.dumps([{"segmentation": parts, "id": k} for k, parts in enumerate(cells)]).encode()
    file = CocoFile.parse(text)
    texts, polygons, areas, boxes, wrong = file.cells(np.arange(len(cells)), height, width)
    counts, packed = RunLengths(*texts), RunLengths(*polygons)
    for k, parts in enumerate(cells):
        good = all(len(p) >= 6 and len(p) % 2 == 0 and all(map(math.isfinite, p)) for p in parts)
        near = max((abs(v) for p in parts for v in p), default=0) < 1e8
        assert (counts[k] != b"") == (k not in wrong) == bool(good and near and height and width), wrong
        if k in wrong:
            assert packed[k] == b""
            continue
        mask = coco.merge(coco.frPyObjects(parts, height, width))
        assert counts[k] == mask["counts"]
        assert areas[k] == coco.area(mask)
        assert boxes[k].tolist() == coco.toBbox(mask).tolist()
        assert [p.ravel().tolist() for p in polygon.unpack(packed[k])] == parts
