"""HPA scores equal the reference vectors and a slow implementation of the Open Images rule on full masks."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from celltable.errors import OptionError
from celltable.geometry import rle
from celltable.metrics.map_hpa2021 import METRIC
from celltable.scoring import Pair, Side, score_pairs

WORDS = tuple(str(k) for k in range(19))


@dataclass
class Scene:
    """Generate an image: masks, their classes and the scores of the predictions."""

    gt: list[NDArray[Any]]
    gt_classes: list[int]
    group: list[bool]
    dt: list[NDArray[Any]]
    dt_classes: list[int]
    scores: list[float]

    def pair(self) -> Pair:
        size = (6, 6)
        gt = Side.from_rle(
            [rle.encode(m) for m in self.gt],
            size,
            class_codes=np.array(self.gt_classes, np.int64),
            class_names=WORDS,
            crowd=np.array(self.group, bool),
        )
        codes = np.array(self.dt_classes, np.int64)
        scores = np.array(self.scores, float)
        dt = Side.from_rle([rle.encode(m) for m in self.dt], size, class_codes=codes, class_names=WORDS, scores=scores)
        return Pair("a", size, gt, dt)


def slow_map(scenes: list[Scene], threshold: float, absent: str) -> float:
    """Apply the rule as published, with full masks and dense matrices."""
    bar, found = np.float32(threshold), []
    for c in range(19):
        rows, n_gt = [], 0
        for s in scenes:
            cells = [m for m, k, g in zip(s.gt, s.gt_classes, s.group, strict=True) if k == c and not g]
            groups = [m for m, k, g in zip(s.gt, s.gt_classes, s.group, strict=True) if k == c and g]
            n_gt += len(cells)
            if absent == "ignore" and c not in s.gt_classes:
                continue
            mine = [(v, m) for v, m, k in zip(s.scores, s.dt, s.dt_classes, strict=True) if k == c and m.any()]
            taken = set()
            for score, mask in sorted(mine, key=lambda r: -r[0]):
                iou = [
                    both(mask, m) / np.maximum(area(mask) + area(m) - both(mask, m), np.float32(1e-7)) for m in cells
                ]
                best = int(np.argmax(iou)) if iou else -1
                if iou and iou[best] >= bar and best not in taken:
                    taken.add(best)
                    rows.append((score, True))
                elif not any(both(mask, m) / area(mask) >= bar for m in groups):
                    rows.append((score, False))
        if n_gt:
            rows.sort(key=lambda r: -r[0])
            found.append(voc(np.array([r[1] for r in rows], bool), n_gt))
    return float(np.mean(found)) if found else float("nan")


def both(a: NDArray[Any], b: NDArray[Any]) -> np.float32:
    return np.float32(np.minimum(a, b).sum())


def area(a: NDArray[Any]) -> np.float32:
    return np.float32(a.sum())


def voc(hits: NDArray[np.bool_], n_gt: int) -> float:
    """Compute the area under the envelope, rectangle by rectangle."""
    total = 0.0
    for k in range(1, int(hits.sum()) + 1):
        at = np.flatnonzero(np.cumsum(hits) >= k)[0]
        total += max(np.cumsum(hits)[j] / (j + 1) for j in range(at, len(hits))) / n_gt
    return total


masks = st.tuples(*[st.integers(0, 5)] * 2, *[st.integers(0, 4)] * 2).map(lambda t: square(*t))


def square(y: int, x: int, h: int, w: int) -> NDArray[Any]:
    mask = np.zeros((6, 6), np.uint8)
    mask[y : y + h, x : x + w] = 1
    return mask


@st.composite
def scenes(draw: st.DrawFn) -> list[Scene]:
    made, score = [], iter(draw(st.permutations(range(40))))
    for _ in range(draw(st.integers(1, 3))):
        gt = draw(st.lists(masks, max_size=4))
        dt = draw(st.lists(masks, max_size=4)) + gt[: draw(st.integers(0, 4))]
        classes = st.integers(0, 2)
        gt_classes, dt_classes = [draw(classes) for _ in gt], [draw(classes) for _ in dt]
        group = [draw(st.integers(0, 5)) == 0 for _ in gt]
        made.append(Scene(gt, gt_classes, group, dt, dt_classes, [next(score) / 40 for _ in dt]))
    return made


@settings(max_examples=150, deadline=None)
@given(scenes(), st.sampled_from([0.5, 0.6, 0.75]), st.sampled_from(["ignore", "fp"]))
def test_the_score_is_that_of_the_rule_on_full_masks(made: list[Scene], threshold: float, absent: str) -> None:
    pairs = [s.pair() for s in made]
    expected = slow_map(made, threshold, absent)
    for mode in ("strict", "corrected"):
        found = score_pairs(METRIC, pairs, mode, threshold=threshold, absent_class=absent).value
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def unpack(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def vector_pairs(vectors: Path, case: str) -> list[Pair]:
    data = json.loads((vectors / "datasets" / f"{case}.json").read_text())
    pairs = []
    for image, row in data["submission_rows"].items():
        size = (row["ImageHeight"], row["ImageWidth"])
        cells = [r for r in data["ground_truth"] if r["ImageID"] == image]
        tokens = row["PredictionString"].split()
        gt = Side.from_rle(
            [unpack(r["Mask"]) for r in cells],
            size,
            class_codes=np.array([int(r["LabelName"]) for r in cells], np.int64),
            class_names=WORDS,
            crowd=np.array([r["IsGroupOf"] for r in cells], bool),
        )
        dt = Side.from_rle(
            [unpack(t) for t in tokens[2::3]],
            size,
            class_codes=np.array(tokens[::3], np.int64),
            class_names=WORDS,
            scores=np.array(tokens[1::3], float),
        )
        pairs.append(Pair(image, size, gt, dt))
    return pairs


@pytest.mark.filterwarnings("ignore:.*share their score")
@pytest.mark.parametrize("case", ["hpa_small", "hpa_absent_classes", "hpa_iou_tie"])
def test_vectors(vectors: Path, case: str) -> None:
    expected = json.loads((vectors / "expected_datasets.json").read_text())["datasets"][case]
    pairs = vector_pairs(vectors, case)
    assert len(expected) == 4
    for key, numbers in expected.items():
        absent = "ignore" if "absent_ignored" in key else "fp"
        result = score_pairs(METRIC, pairs, "strict", threshold=float(key[3:6]), absent_class=absent)
        for name, number in numbers.items():
            word = name.rsplit("/", 1)[-1]
            if "mAP" in word:
                assert result.value == number
            else:
                found = result.fields["AP_per_class"].get(word, float("nan"))
                assert np.isnan(found) if number == "nan" else found == number


def test_a_cell_with_several_classes_counts_in_each() -> None:
    counts, size = [rle.encode(square(0, 0, 3, 3))], (6, 6)
    codes = np.zeros(1, np.int64)
    gt = Side.from_rle(
        counts, size, class_codes=codes, class_names=("a", "b"), several=[[("a", np.nan), ("b", np.nan)]]
    )
    dt = Side.from_rle(
        counts, size, class_codes=codes, class_names=("a", "b"), scores=np.ones(1), several=[[("a", 0.9), ("b", 0.3)]]
    )
    result = score_pairs(METRIC, [Pair("a", size, gt, dt)])
    assert result.fields["AP_per_class"] == {"a": 1.0, "b": 1.0}
    one = Side.from_rle(counts, size, class_codes=codes, class_names=("a", "b"), scores=np.ones(1))
    assert score_pairs(METRIC, [Pair("a", size, gt, one)]).fields["AP_per_class"] == {"a": 1.0, "b": 0.0}


def test_a_second_best_free_cell_is_not_tried() -> None:
    near, cell = square(0, 0, 4, 5), square(0, 0, 4, 4)
    made = Scene([near, cell], [0, 0], [False, False], [near, near], [0, 0], [0.9, 0.8])
    assert (
        score_pairs(METRIC, [made.pair()]).value == 0.5
    )  # COCO's rule would give the second detection the second cell


def test_many_equal_scores_are_a_warning() -> None:
    cell = square(0, 0, 3, 3)
    made = Scene([cell], [0], [False], [cell, cell], [0, 0], [0.5, 0.5])
    with pytest.warns(UserWarning, match="2 of 2 detections share their score"):
        score_pairs(METRIC, [made.pair()])


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(OptionError, match="expected ignore or fp"):
        score_pairs(METRIC, [Scene([], [], [], [], [], []).pair()], absent_class="none")
