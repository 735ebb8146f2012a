"""COCO and LIVECell scores equal those of pycocotools bit for bit, on its own vectors and on generated data sets."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO as Reference
from pycocotools.cocoeval import COCOeval

from celltable._native import matching
from celltable._native.cocojson import CocoFile
from celltable.errors import InputError, MetricError, NotFoundError
from celltable.geometry.masks import RunLengths
from celltable.metrics.afnr_livecell import METRIC as AFNR
from celltable.metrics.ap_coco import METRIC as AP_COCO
from celltable.metrics.ap_livecell import METRIC as AP_LIVECELL
from celltable.metrics.ar_coco import METRIC as AR_COCO
from celltable.metrics.ar_livecell import METRIC as AR_LIVECELL
from celltable.plugins.metric import MODES, Metric, Result
from celltable.scoring import Pair, Side, score_pairs
from celltable.scoring.coco.accumulate import Evaluation, accumulate
from celltable.scoring.coco.columns import Annotations, evaluate
from celltable.scoring.coco.files import coco_arrays, coco_scores
from celltable.scoring.coco.matching import Tally, tally
from celltable.scoring.coco.protocol import COCO, LIVECELL, Protocol
from celltable.scoring.coco.resample import resample_precision, resample_recall

ARRAYS = ("precision", "recall", "scores")
Document = dict[str, Any]
Results = list[dict[str, Any]]


def reference(gt: Document, dt: Results, protocol: Protocol, categories: list[Any] | None = None) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = Reference()
        truth.dataset = copy.deepcopy(gt)
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(copy.deepcopy(dt)), protocol.shape)
        run.params.iouThrs, run.params.recThrs = np.array(protocol.thresholds), np.array(protocol.recalls)
        run.params.maxDets = list(protocol.max_dets)
        run.params.areaRng = protocol.area_ranges.tolist()
        run.params.useCats = int(protocol.use_classes)
        if categories is not None:
            run.params.catIds = categories
        run.evaluate()
        run.accumulate()
    return run


def files(gt: Document, dt: Results) -> tuple[CocoFile, CocoFile]:
    return CocoFile.parse(json.dumps(gt).encode(), "gt.json"), CocoFile.parse(json.dumps(dt).encode(), "dt.json")


def same_arrays(found: Evaluation, expected: COCOeval) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), expected.eval[name], err_msg=name)


def pairs_of(gt: Document, dt: Results) -> list[Pair]:
    """Convert the data to pairs for the metric plug-ins."""
    keys = sorted(c["id"] for c in gt["categories"])
    made = []
    for image in sorted(gt["images"], key=lambda r: r["id"]):
        size = (image["height"], image["width"])
        cells = [a for a in gt["annotations"] if a["image_id"] == image["id"]]
        found = [a for a in dt if a["image_id"] == image["id"]]
        truth = side(cells, size, keys).with_columns(
            crowd=np.array([a["iscrowd"] for a in cells], bool),
            published_area=np.array([a["area"] for a in cells], float),
            source_ids=[str(a["id"]) for a in cells],
        )
        guess = side(found, size, keys).with_columns(scores=np.array([a["score"] for a in found], float))
        made.append(Pair(str(image["id"]), size, truth, guess))
    return made


def side(rows: Results, size: tuple[int, int], keys: list[Any]) -> Side:
    counts = [rle_of(a, size) for a in rows]
    return Side.from_rle(counts, size, class_codes=codes(rows, keys), class_names=tuple(map(str, keys)))


def codes(rows: Results, keys: list[Any]) -> Any:
    return np.array([keys.index(a["category_id"]) for a in rows], np.int64)


def rle_of(row: dict[str, Any], size: tuple[int, int]) -> bytes:
    shape = row["segmentation"]
    if isinstance(shape, list):
        return bytes(coco_mask.merge(coco_mask.frPyObjects(shape, *size))["counts"])
    counts = shape["counts"]
    return bytes(coco_mask.frPyObjects(shape, *size)["counts"]) if isinstance(counts, list) else str(counts).encode()


def masks(draw: st.DrawFn, size: tuple[int, int]) -> Any:
    height, width = size
    y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    h, w = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    kind = draw(st.integers(0, 5))
    if kind == 0:
        corners = [[x, y, x + w, y, x + w, y + h], [x, y, x + w, y + h, x, y + h]][: draw(st.integers(1, 2))]
        return [[c + 0.3 for c in part] for part in corners]
    array = np.zeros(size, np.uint8, order="F")
    array[y : y + h, x : x + w] = 1
    if kind == 1:
        array[y, x] = 0
    if kind == 2:
        runs = [0, *map(len, "".join(map(str, array.ravel("F"))).replace("01", "0 1").replace("10", "1 0").split())]
        return {"size": list(size), "counts": runs if array[0, 0] else runs[1:]}
    return {"size": list(size), "counts": coco_mask.encode(array)["counts"].decode()}


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Document, Results]:
    """Generate small data sets: crowd, categories, empty images, duplicates, equal scores, annotations in any order."""
    images = [
        {"id": k, "height": draw(st.integers(4, 9)), "width": draw(st.integers(4, 9))}
        for k in draw(st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True))
    ]
    categories = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True))
    scores = st.sampled_from([0.1, 0.5, 0.5, 0.9, 1.0]) | st.floats(0, 1)
    annotations: Results = []
    results: Results = []
    for _ in range(draw(st.integers(0, 9))):
        image = draw(st.sampled_from(images))
        shape = masks(draw, (image["height"], image["width"]))
        row = {"image_id": image["id"], "category_id": draw(st.sampled_from(categories)), "segmentation": shape}
        box = [float(draw(st.integers(0, 4))) for _ in range(4)]
        annotations.append(row | {"area": draw(st.sampled_from([1.0, 4.0, 8.5, 12.0])), "bbox": box})
        annotations[-1]["iscrowd"] = int(draw(st.integers(0, 4)) == 0)
        for _ in range(draw(st.integers(0, 2))):
            results.append(row | {"score": draw(scores)})
    for _ in range(draw(st.integers(0, 6))):
        image = draw(st.sampled_from(images))
        shape = masks(draw, (image["height"], image["width"]))
        row = {"image_id": image["id"], "category_id": draw(st.sampled_from(categories)), "segmentation": shape}
        results.append(row | {"score": draw(scores)})
    numbers = draw(st.permutations(range(draw(st.integers(0, 1)), len(annotations) + 2)))
    for row, number in zip(annotations, numbers, strict=False):
        row["id"] = number
    for row in results:
        size = next((i["height"], i["width"]) for i in images if i["id"] == row["image_id"])
        row["segmentation"] = {"size": list(size), "counts": rle_of(row, size).decode()}
    document = {"images": images, "categories": [{"id": c} for c in categories], "annotations": annotations}
    return document, results


SMALL = Protocol(
    thresholds=(0.5, 0.6, 0.75, 0.9),
    areas=(("all", 0, 1e10), ("small", 0, 4), ("medium", 4, 9), ("large", 9, 1e10)),
    max_dets=(1, 2, 4),
)


@settings(max_examples=80, deadline=None)
@given(data_sets(), st.booleans(), st.integers(1, 3))
def test_arrays_from_files_equal_pycocotools_bit_for_bit(
    data: tuple[Document, Results], use_classes: bool, threads: int
) -> None:
    gt, dt = data
    protocol = replace(SMALL, use_classes=use_classes)
    if not dt:
        with pytest.raises(MetricError, match="no results"):
            coco_arrays(*files(gt, dt), protocol=protocol, mode="strict")
        return
    found = coco_arrays(*files(gt, dt), protocol=protocol, mode="strict", threads=threads)
    same_arrays(found, reference(gt, dt, protocol))


@settings(max_examples=40, deadline=None)
@given(data_sets(), st.booleans())
def test_boxes_equal_pycocotools_bit_for_bit(data: tuple[Document, Results], stated: bool) -> None:
    gt, dt = data
    if stated:
        dt = [r | {"bbox": [1.5, 1.0, 2.0 + k % 3, 3.0]} for k, r in enumerate(dt)]
    if dt:
        protocol = replace(SMALL, shape="bbox")
        same_arrays(coco_arrays(*files(gt, dt), protocol=protocol, mode="strict"), reference(gt, dt, protocol))


@settings(max_examples=40, deadline=None)
@given(data_sets())
def test_a_stated_box_gives_the_area_of_a_detection_in_strict_mode(data: tuple[Document, Results]) -> None:
    gt, dt = data
    dt = [r | {"bbox": [0.0, 0.0, 3.0, 1.0 + k % 4]} for k, r in enumerate(dt)]
    if dt:
        same_arrays(coco_arrays(*files(gt, dt), protocol=SMALL, mode="strict"), reference(gt, dt, SMALL))


@settings(max_examples=50, deadline=None)
@given(data_sets())
def test_pairs_give_the_same_arrays_as_pycocotools(data: tuple[Document, Results]) -> None:
    gt, dt = data
    if dt:
        found = accumulate([tally(p, "strict", SMALL) for p in pairs_of(gt, dt)], SMALL)
        same_arrays(found, reference(gt, dt, SMALL))


@settings(max_examples=150, deadline=None)
@given(data_sets(), st.randoms(use_true_random=False), st.booleans())
def test_a_resample_is_bit_for_bit_each_image_listed_as_often(
    data: tuple[Document, Results], random: Any, use_classes: bool
) -> None:
    gt, dt = data  # with equal scores, within an image and between images
    for row in random.sample(dt, len(dt) // 2):
        row["score"] = 0.5
    pairs = pairs_of(gt, dt)
    protocol = replace(SMALL, use_classes=use_classes, recalls=COCO.recalls)
    tallies = [tally(p, "corrected", protocol) for p in pairs]
    weights = np.array([[random.randint(0, 3) for _ in pairs] for _ in range(4)])
    precision = resample_precision(tallies, weights, protocol)
    recall = resample_recall(tallies, weights, protocol)
    for row, ap, ar in zip(weights.tolist(), precision, recall, strict=True):
        repeated = [t for t, n in zip(tallies, row, strict=True) for _ in range(n)]
        whole = accumulate(repeated, protocol)
        expected = whole.average_precision(), whole.average_recall()
        assert np.isnan(ap) if expected[0] == -1 else ap == expected[0]
        assert np.isnan(ar) if expected[1] == -1 else ar == expected[1]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_resample_of_any_verdicts_is_bit_for_bit_each_image_listed_as_often(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, tallies = int(rng.integers(1, 4)), []
    protocol = replace(COCO, areas=COCO.areas[:1], thresholds=(0.5, 0.75), max_dets=(100,))
    for _ in range(int(rng.integers(1, 7))):
        n = int(rng.integers(0, 9))
        category = np.sort(rng.integers(0, classes, n)).astype(np.int32)
        score = rng.integers(0, rng.choice([2, 4, 1000]), n) / 10
        order = np.lexsort((-score, category))
        codes = rng.choice(3, (1, 2, n), p=rng.dirichlet((1, 1, 1))).astype(np.uint8)
        n_gt = (codes[0] == 1).sum() + rng.integers(0, 3, (classes, 1)) * rng.integers(0, 2)
        rank = np.concatenate([np.arange((category == k).sum()) for k in range(classes)]).astype(np.int32)
        made = Tally(
            category=category, rank=rank, score=score[order], iou=np.zeros(n), codes=codes, n_gt=n_gt, names=()
        )
        tallies.append(made)
    weights = rng.integers(0, 4, (5, len(tallies)))
    precision = resample_precision(tallies, weights, protocol)
    recall = resample_recall(tallies, weights, protocol)
    for row, ap, ar in zip(weights.tolist(), precision, recall, strict=True):
        whole = accumulate([t for t, n in zip(tallies, row, strict=True) for _ in range(n)], protocol)
        expected = whole.average_precision(), whole.average_recall()
        assert np.isnan(ap) if expected[0] == -1 else ap == expected[0]
        assert np.isnan(ar) if expected[1] == -1 else ar == expected[1]


def test_copies_of_an_image_are_consecutive_among_equal_scores() -> None:
    """Two copies of hit, miss, hit of one score are hit, miss, hit, hit, miss, hit; not hit, hit, miss, miss, …."""
    counts, far = COUNTS, coco_mask.encode(np.asfortranarray(np.eye(8, dtype=np.uint8)))["counts"]
    second = np.zeros((8, 8), np.uint8, order="F")
    second[6:, 6:] = 1
    other = coco_mask.encode(second)["counts"]
    guess = Side.from_rle([counts, far, other], (8, 8), scores=np.full(3, 0.5))
    pair = Pair("a", (8, 8), Side.from_rle([counts, other], (8, 8)), guess)
    made = tally(pair, "corrected", COCO)
    once, twice = (accumulate([made] * n, COCO).average_precision() for n in (1, 2))
    assert resample_precision([made, made], np.array([[1, 0], [2, 0], [1, 1], [0, 2]]), COCO).tolist() == [
        once,
        twice,
        twice,
        twice,
    ]
    assert once != twice


@settings(max_examples=30, deadline=None)
@given(data_sets(), st.randoms(use_true_random=False))
def test_neither_new_ids_nor_another_order_of_images_changes_a_score(
    data: tuple[Document, Results], random: Any
) -> None:
    gt, dt = data
    for k, row in enumerate(dt):
        row["score"] = (k + 1) / (len(dt) + 1)
    for k, row in enumerate(gt["annotations"]):
        row["id"] = k + 1
    plain = coco_scores(*files(gt, dt)).fields
    keys = [i["id"] for i in gt["images"]]
    fresh = dict(zip(keys, random.sample(range(1000), len(keys)), strict=True))
    moved = copy.deepcopy(gt)
    for image in moved["images"]:
        image["id"] = fresh[image["id"]]
    for k, row in enumerate(moved["annotations"]):
        row["image_id"], row["id"] = fresh[row["image_id"]], 10_000 - k
    again = coco_scores(*files(moved, [r | {"image_id": fresh[r["image_id"]]} for r in dt])).fields
    np.testing.assert_equal(again, plain)


CASES = ["absent_category", "annotation_id_zero", "crowd_1cat", "dsb_real_1cat", "plain_1cat", "truncation_duplicates"]
SINGLE = ["AP", "AP50", "AP75", "APs", "APm", "APl", "ARs", "ARm", "ARl", "AP_per_iou", "AR_per_iou"]


def vector(vectors: Path, case: str) -> tuple[Document, Results, dict[str, Any]]:
    data = json.loads((vectors / "datasets" / f"coco_{case}.json").read_text())
    expected = json.loads((vectors / "expected_datasets.json").read_text())["datasets"][f"coco_{case}"]
    return data["gt"], data["dt"], expected


def same_numbers(result: Result, expected: dict[str, Any]) -> None:
    assert {k: result.fields[k] for k in SINGLE} == {k: expected[k] for k in SINGLE}
    assert [result.fields[f"AR{n}"] for n in expected["maxDets"]] == expected["AR_maxDets"]
    if "AFNR" in expected:
        assert result.fields["AFNR"] == expected["AFNR"]
    if "AP_per_cat" in expected:
        assert list(result.fields["AP_per_class"].values()) == expected["AP_per_cat"]


@pytest.mark.parametrize("case", CASES)
def test_vectors_from_files(vectors: Path, case: str) -> None:
    gt, dt, expected = vector(vectors, case)
    truth, guess = files(gt, dt)
    same_numbers(coco_scores(truth, guess, mode="strict"), expected["coco_pycocotools"])
    same_numbers(coco_scores(truth, guess, protocol="livecell", mode="strict"), expected["livecell_pycocotools"])
    boxes = coco_scores(truth, guess, protocol=replace(COCO, shape="bbox"), mode="strict")
    same_numbers(boxes, expected["bbox_coco_pycocotools"])


@pytest.mark.parametrize("case", CASES)
def test_vectors_through_the_metrics(vectors: Path, case: str) -> None:
    gt, dt, expected = vector(vectors, case)
    pairs = pairs_of(gt, dt)
    same_numbers(score_pairs(AP_COCO, pairs, "strict"), expected["coco_pycocotools"])
    same_numbers(score_pairs(AP_COCO, pairs, "strict", shape="bbox"), expected["bbox_coco_pycocotools"])
    assert score_pairs(AR_COCO, pairs, "strict").value == expected["coco_pycocotools"]["AR_maxDets"][-1]
    if case != "absent_category":  # LIVECell has one category; its code reads only that with the id 1
        same_numbers(score_pairs(AP_LIVECELL, pairs, "strict"), expected["livecell_pycocotools"])
        assert score_pairs(AFNR, pairs, "strict").value == expected["livecell_pycocotools"]["AFNR"]
        assert score_pairs(AR_LIVECELL, pairs, "strict").value == expected["livecell_pycocotools"]["AR_maxDets"][-1]


def test_corrected_mode_counts_the_annotation_with_the_id_zero(vectors: Path) -> None:
    gt, dt, expected = vector(vectors, "annotation_id_zero")
    with pytest.warns(UserWarning, match="annotation with the id 0"):
        result = coco_scores(*files(gt, dt))
    assert result.value == expected["same_data_ids_plus_1_coco_pycocotools"]["AP"]
    assert score_pairs(AP_COCO, pairs_of(gt, dt)).value == expected["same_data_ids_plus_1_coco_pycocotools"]["AP"]


SQUARE = np.zeros((8, 8), np.uint8, order="F")
SQUARE[2:6, 2:6] = 1
COUNTS: bytes = coco_mask.encode(SQUARE)["counts"]
METRICS = [AP_COCO, AR_COCO, AP_LIVECELL, AR_LIVECELL, AFNR]


def one(n_gt: int, scores: list[float] | None, **columns: Any) -> Pair:
    guess = Side.from_rle(
        [COUNTS] * (1 if scores is None else len(scores)), (8, 8), scores=None if scores is None else np.array(scores)
    )
    return Pair("a", (8, 8), Side.from_rle([COUNTS] * n_gt, (8, 8), **columns), guess)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_a_perfect_detection_is_perfect(metric: Metric) -> None:
    perfect = 0.0 if metric is AFNR else 1.0
    for mode in ("strict", "corrected"):
        assert score_pairs(metric, [one(1, [0.5])], mode).value == pytest.approx(perfect, abs=1e-15)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_nothing_to_detect_is_undefined(metric: Metric) -> None:
    assert np.isnan(score_pairs(metric, [one(0, [0.5])]).value)
    assert score_pairs(metric, [one(0, [0.5])], "strict").value == (2 if metric is AFNR else -1)  # 1 - (-1)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_no_detection_at_all_scores_zero_and_is_an_error_in_strict_mode(metric: Metric) -> None:
    assert score_pairs(metric, [one(1, [])]).value == (1.0 if metric is AFNR else 0.0)
    with pytest.raises(MetricError, match="no detections at all"):
        score_pairs(metric, [one(1, [])], "strict")


def test_an_ignored_cell_is_a_region_in_corrected_mode_only() -> None:
    pair = one(1, [0.5], ignore=np.array([True]))
    assert np.isnan(score_pairs(AP_COCO, [pair]).value)
    assert score_pairs(AP_COCO, [pair], "strict").value > 0.99


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_an_image_has_its_own_number_as_if_alone_even_without_detections(metric: Metric) -> None:
    for mode in MODES:
        for pair in (one(2, [0.9, 0.2]), one(0, [0.5, 0.4])):
            numbers = metric.count(pair, mode, **metric.defaults)
            alone = metric.pool([numbers], mode, **metric.defaults).value
            assert metric.one(numbers, mode, **metric.defaults) == pytest.approx(alone, abs=0, nan_ok=True)
        nothing = metric.count(one(1, []), mode, **metric.defaults)  # strict mode refuses this only of a whole data set
        assert metric.one(nothing, mode, **metric.defaults) == (1.0 if metric is AFNR else 0.0)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_a_score_of_resampled_images_is_that_of_each_listed_as_often(metric: Metric) -> None:
    pairs = [one(1, [0.5]), one(3, [0.4, 0.7]), one(1, [0.9, 0.2]), one(2, [])]
    numbers = [metric.count(p, "corrected", **metric.defaults) for p in pairs]
    weights = np.array([[1, 1, 1, 1], [0, 2, 0, 3], [1, 0, 3, 2]])
    listed = [[n for n, times in zip(numbers, row, strict=True) for _ in range(times)] for row in weights.tolist()]
    expected = [metric.pool(rows, "corrected", **metric.defaults).value for rows in listed]
    assert metric.resample is not None
    assert metric.resample(numbers, weights, "corrected", **metric.defaults).tolist() == expected
    assert len(set(expected)) == 3


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_predictions_without_scores_are_refused(metric: Metric) -> None:
    with pytest.raises(MetricError, match="have no scores"):
        score_pairs(metric, [one(1, None)])
    with pytest.raises(MetricError, match="1 of 2 scores are NaN"):
        score_pairs(metric, [one(1, [0.5, float("nan")])])


def test_all_scores_equal_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="depends on their order"):
        score_pairs(AP_COCO, [one(1, [0.5, 0.5])])


def test_strict_average_precision_asks_for_a_hundred_detections_as_summarize_does() -> None:
    assert score_pairs(AP_COCO, [one(1, [0.5])], "strict", max_dets=(1, 10)).value == -1
    assert score_pairs(AP_COCO, [one(1, [0.5])], max_dets=(1, 10)).value > 0.99


def document(**changes: Any) -> Document:
    row = {"id": 1, "image_id": 1, "category_id": 1, "area": 16.0, "iscrowd": 0, "bbox": [2, 2, 4, 4]}
    row["segmentation"] = {"size": [8, 8], "counts": COUNTS.decode()}
    images = [{"id": 1, "height": 8, "width": 8}]
    return {"images": images, "categories": [{"id": 1, "name": "cell"}], "annotations": [row]} | changes


def result_row(**changes: Any) -> dict[str, Any]:
    shape = {"size": [8, 8], "counts": COUNTS.decode()}
    return {"image_id": 1, "category_id": 1, "segmentation": shape, "score": 0.5} | changes


def broken() -> Iterator[tuple[Document, Results, str]]:
    yield document(), [result_row(image_id=7)], "names 1 images that gt.json does not list, the first 7"
    yield document(), [result_row(score="high")], "1 of 1 results have no score that is a number"
    yield document(), [{k: v for k, v in result_row().items() if k != "score"}], "1 of 1 results have no score"
    yield document(), [result_row(segmentation={"size": [8, 8], "counts": "zz"})], "the run lengths of detection 0"
    yield document(), [result_row(segmentation=[[1, 2, 3, 4]])], "has a polygon of 4 numbers"
    yield document(), [result_row(segmentation=None)], "have no mask that can be read, the first at position 0"
    yield document(images=5), [result_row()], "expected images, a list of objects with an id"
    yield document(images=[{"id": 1}, {"id": "b"}]), [result_row()], "image ids are of different types"
    changed = document()
    del changed["annotations"][0]["area"]
    yield changed, [result_row()], "1 annotations have no area"


@pytest.mark.parametrize(("gt", "dt", "message"), list(broken()), ids=[m[:30] for _, _, m in broken()])
def test_files_that_cannot_be_scored_say_why(gt: Document, dt: Results, message: str) -> None:
    with pytest.raises(InputError) as caught:
        coco_scores(*files(gt, dt))
    assert message in str(caught.value)


def test_repeated_annotation_ids_are_refused_in_strict_mode() -> None:
    gt = document()
    gt["annotations"] *= 2
    with pytest.raises(MetricError, match="1 annotations repeat the id of another"):
        coco_scores(*files(gt, [result_row()]), mode="strict")
    assert coco_scores(*files(gt, [result_row()])).fields["AR100"] == 0.5


def test_a_mask_score_replaces_the_score_in_livecell(tmp_path: Path) -> None:
    for name, data in (("gt.json", document()), ("dt.json", [result_row(mask_score=0.9), result_row()])):
        (tmp_path / name).write_text(json.dumps(data))
    found = coco_arrays(tmp_path / "gt.json", tmp_path / "dt.json", protocol="livecell")
    assert found.scores[0, 0, 0, 0, -1] == 0.9
    assert coco_arrays(tmp_path / "gt.json", tmp_path / "dt.json").scores[0, 0, 0, 0, -1] == 0.5
    with pytest.raises(NotFoundError, match=r"missing\.json"):
        coco_scores(tmp_path / "missing.json", tmp_path / "dt.json")
    with pytest.raises(NotFoundError, match="expected one of coco, livecell"):
        coco_scores(tmp_path / "gt.json", tmp_path / "dt.json", protocol="cocoa")


def test_columns_that_do_not_fit_are_errors_not_crashes() -> None:
    place, eight = np.zeros(1, np.int32), np.full((1, 2), 8, np.int32)
    good = Annotations(place, place, RunLengths.packed([COUNTS]), eight, area=np.ones(1))
    guess = replace(good, score=np.ones(1))
    assert evaluate(good, guess, 1, ("cell",), LIVECELL, "strict").average_recall() == 1
    for bad in (
        replace(guess, image=np.ones(1, np.int32)),
        replace(guess, category=np.zeros(2, np.int32)),
        replace(guess, score=np.array([np.nan])),
        replace(guess, masks=RunLengths.packed([COUNTS, COUNTS])),
        replace(guess, sizes=np.full((2, 2), 8, np.int32)),
        replace(guess, masks=RunLengths(np.zeros(0, np.uint8), np.array([0, 9]))),
        replace(guess, masks=None, boxes=np.zeros((1, 4))),
    ):
        with pytest.raises(InputError):
            evaluate(good, bad, 1, ("cell",), LIVECELL, "strict")
    with pytest.raises(MetricError, match="no scores"):
        evaluate(good, good, 1, ("cell",), LIVECELL, "strict")
    with pytest.raises(ValueError, match="not ascending"):
        matching.accumulate(
            score=np.zeros(0),
            category=np.zeros(0, np.int32),
            rank=np.zeros(0, np.int32),
            codes=np.zeros((1, 1, 0), np.uint8),
            n_gt=np.ones((1, 1), np.int64),
            max_dets=[3, 1],
            recalls=np.zeros(1),
            threads=1,
        )
