"""TIDE numbers equal the reference vectors, and each type of error is recognised on a few pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celltable.errors import MetricError
from celltable.geometry import rle
from celltable.metrics.tide import METRIC
from celltable.scoring import Pair, Side, score_pairs


def vector_pairs(vectors: Path, case: str) -> list[Pair]:
    data = json.loads((vectors / "datasets" / f"coco_{case}.json").read_text())
    pairs = []
    for image in data["gt"]["images"]:
        size = (image["height"], image["width"])
        cells = [a for a in data["gt"]["annotations"] if a["image_id"] == image["id"]]
        found = [a for a in data["dt"] if a["image_id"] == image["id"]]
        crowd, scores = np.array([a["iscrowd"] for a in cells], bool), np.array([a["score"] for a in found], float)
        gt = Side.from_rle([a["segmentation"]["counts"].encode() for a in cells], size, crowd=crowd)
        dt = Side.from_rle([a["segmentation"]["counts"].encode() for a in found], size, scores=scores)
        pairs.append(Pair(str(image["id"]), size, gt, dt))
    return pairs


@pytest.mark.parametrize("case", ["plain_1cat", "crowd_1cat"])
def test_vectors(vectors: Path, case: str) -> None:
    expected = json.loads((vectors / "expected_datasets.json").read_text())["datasets"][f"tide_{case}"]
    pairs = vector_pairs(vectors, case)
    result = score_pairs(METRIC, pairs, "strict")
    errors = expected["errors(dAP at pos_thresh 0.5)"]
    assert result.value == expected["AP@0.5"]
    assert result.fields["dAP"] == errors["main"]["p"] | errors["special"]["p"]
    assert result.fields["counts"] == expected["counts"]
    assert score_pairs(METRIC, pairs, "strict", pos_thresh=0.75).value == expected["AP@0.75"]


SIZE = (4, 24)


def bar(start: int, stop: int) -> bytes:
    mask = np.zeros(SIZE, bool)
    mask[:, start:stop] = True
    return rle.encode(mask)


def pair(gt: list[tuple[bytes, int]], dt: list[tuple[bytes, int]], **columns: Any) -> Pair:
    words = ("a", "b")
    cells = Side.from_rle(
        [m for m, _ in gt], SIZE, class_codes=np.array([c for _, c in gt], np.int64), class_names=words, **columns
    )
    scores = np.linspace(0.9, 0.5, len(dt))
    codes = np.array([c for _, c in dt], np.int64)
    return Pair(
        "x", SIZE, cells, Side.from_rle([m for m, _ in dt], SIZE, class_codes=codes, class_names=words, scores=scores)
    )


CELL = (bar(0, 10), 0)


@pytest.mark.parametrize(
    ("detections", "kind"),
    [
        ([(bar(0, 4), 0)], "Loc"),
        ([(bar(0, 10), 1)], "Cls"),
        ([(bar(0, 4), 1)], "Both"),
        ([CELL, CELL], "Dupe"),
        ([(bar(12, 20), 0)], "Bkg"),
    ],
)
def test_each_kind_of_error_is_named(detections: list[tuple[bytes, int]], kind: str) -> None:
    counts = score_pairs(METRIC, [pair([CELL], detections)]).fields["counts"]
    missed = kind in ("Both", "Bkg")
    assert counts == dict.fromkeys(("Cls", "Loc", "Both", "Dupe", "Bkg"), 0) | {kind: 1, "Miss": int(missed)}


def test_an_iou_of_exactly_one_half_is_a_hit() -> None:
    assert score_pairs(METRIC, [pair([CELL], [(bar(0, 5), 0)])]).value == pytest.approx(100)


def test_fixing_the_only_error_gives_a_perfect_score() -> None:
    result = score_pairs(METRIC, [pair([CELL], [(bar(0, 4), 0)])])
    assert result.value == 0
    assert result.fields["dAP"]["Loc"] == pytest.approx(100)
    assert result.fields["dAP"]["Bkg"] == 0


def test_mending_a_class_moves_the_detection_to_its_class() -> None:
    result = score_pairs(METRIC, [pair([CELL, (bar(12, 20), 1)], [(bar(0, 10), 1), (bar(12, 20), 1)])])
    assert result.fields["dAP"]["Cls"] == pytest.approx(100 - result.value)


def test_only_the_best_scored_error_of_a_cell_is_fixed() -> None:
    result = score_pairs(METRIC, [pair([CELL], [(bar(0, 4), 0), (bar(0, 3), 0)])])
    assert result.fields["counts"]["Loc"] == 2
    assert result.fields["dAP"]["Loc"] == pytest.approx(100)


def test_missed_cells_and_images_without_cells() -> None:
    empty, missed = pair([], [CELL]), pair([CELL], [])
    assert score_pairs(METRIC, [empty]).fields["counts"]["Bkg"] == 1
    assert score_pairs(METRIC, [missed]).fields["counts"]["Miss"] == 1
    assert score_pairs(METRIC, [pair([CELL], [CELL]), missed]).fields["dAP"]["Miss"] == pytest.approx(50, abs=1)


def test_a_detection_in_a_region_is_not_counted() -> None:
    region = (bar(12, 24), 0)
    ignored = np.array([False, True])
    result = score_pairs(METRIC, [pair([CELL, region], [(bar(13, 15), 0), CELL], crowd=ignored)], "strict")
    assert result.value == pytest.approx(100)
    assert score_pairs(METRIC, [pair([CELL, region], [(bar(13, 15), 0), CELL], ignore=ignored)]).value == pytest.approx(
        100
    )
    assert score_pairs(METRIC, [pair([CELL], [(bar(13, 15), 0), CELL])]).value == pytest.approx(50, abs=1)


def test_strict_mode_reads_a_hundred_detections_and_refuses_nothing_at_all() -> None:
    crowded = pair([CELL], [(bar(20, 22), 0)] * 100 + [CELL])
    assert score_pairs(METRIC, [crowded], "strict").value == 0
    assert score_pairs(METRIC, [crowded]).value > 0
    assert np.isnan(score_pairs(METRIC, [pair([], [])]).value)
    with pytest.raises(MetricError, match="divides by zero"):
        score_pairs(METRIC, [pair([], [])], "strict")


def random_images(rng: np.random.Generator, classes: int) -> list[Pair]:
    """Generate images of bars with equal scores, regions, several classes, some without cells or detections."""
    made = []
    for _ in range(int(rng.integers(2, 7))):
        cells, found = ([bars(rng, classes) for _ in range(int(rng.integers(0, 6)))] for _ in range(2))
        found += [c for c in cells if rng.random() < 0.6]
        image = pair(cells, found, crowd=rng.random(len(cells)) < 0.2)
        scores = rng.integers(0, rng.choice([2, 5, 1000]), len(found)) / 10
        made.append(replace(image, pred=image.pred.with_columns(scores=scores)))
    return made


def bars(rng: np.random.Generator, classes: int) -> tuple[bytes, int]:
    start = int(rng.integers(0, 20))
    return bar(start, start + int(rng.integers(1, 8))), int(rng.integers(0, classes))


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_a_resample_is_each_image_listed_as_often(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = [METRIC.count(p, "corrected") for p in random_images(rng, classes)]
    weights = rng.integers(0, 4, (6, len(numbers)))
    assert METRIC.resample is not None
    found = METRIC.resample(numbers, weights, "corrected")
    literal = [
        METRIC.pool([n for n, w in zip(numbers, row, strict=True) for _ in range(w)], "corrected").value
        for row in weights.tolist()
    ]
    if classes == 1:
        np.testing.assert_array_equal(found, literal)
    else:  # classes are added in another order
        np.testing.assert_allclose(found, literal, rtol=1e-14)


def test_an_image_has_its_own_ap_even_if_strict_mode_refuses_the_whole_set() -> None:
    for mode in ("strict", "corrected"):
        numbers = METRIC.count(pair([CELL], [(bar(0, 4), 0), CELL]), mode)
        assert METRIC.one(numbers, mode) == METRIC.pool([numbers], mode).value
    assert np.isnan(METRIC.one(METRIC.count(pair([], []), "strict"), "strict"))
