"""A user's mistake ends in one sentence that names it, never in a number or a traceback."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import celltable as ct
from celltable.errors import CelltableError

GT = np.array([[1, 1, 0, 2, 2, 0, 3, 3]])
PRED = np.array([[7, 7, 0, 9, 9, 0, 0, 4]])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scores": ["a", "b", "c"]}, "scores such as 'a'"),
        ({"scores": [0.5, 0.6]}, "2 scores for 3 cells"),
        ({"scores": [0.1, None, 0.2]}, "1 scores are NaN"),
        ({"scores": 0.5}, "scores is 0.5"),
        ({"classes": ["a", "b", "a"]}, "classes is not a pair"),
        ({"classes": (["a", "b"], ["a", "b", "a"])}, "2 classes for 3 cells"),
        ({"classes": ("a", "b")}, "classes is not a pair"),
        ({"classes": (list("aba"), list("abz")), "class_names": ["a", "b"]}, "class z, which class_names lacks"),
        ({"missing": "emtpy"}, "missing is 'emtpy'; expected 'error' or 'empty'"),
        ({"unknown": "drop"}, "unknown is 'drop'"),
        ({"rounds": -1}, "rounds is -1; expected 0"),
        ({"metrics": []}, "no metric is selected"),
        ({"metrics": ""}, "no metric is selected"),
        ({"partial": "skp"}, "partial is 'skp'"),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(CelltableError, match=said):
        ct.evaluate(GT, PRED, **{"metrics": "ap_coco", **given})


@pytest.mark.parametrize("scores", [[[0.5, 0.6, 0.7]], [0.5, 0.6], np.array([0.5, 0.6, 0.7]), {4: 0.5, 7: 0.5, 9: 0.5}])
def test_scores_of_two_images_need_a_list_each(scores: Any) -> None:
    with pytest.raises(CelltableError, match="for 2 images; expected one"):
        ct.evaluate([GT, GT], [PRED, PRED], "ap_coco", scores=scores)


def test_a_table_of_scores_has_one_row_per_image() -> None:
    rows = [[0.5, 0.6, 0.7], [0.1, 0.3, 0.2]]
    made = [ct.evaluate([GT, GT], [PRED, PRED], "ap_coco", scores=s) for s in (rows, np.array(rows))]
    assert made[0]["ap_coco"].value == made[1]["ap_coco"].value == pytest.approx(0.638, abs=1e-3)


def test_classes_of_one_side_are_not_classes_of_both() -> None:
    found = ct.evaluate(GT, PRED, classes=(list("aba"), None), scores=[0.1, 0.2, 0.3])
    assert found.unavailable["map_hpa2021"] == "the cells have no classes on both sides"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5, -1.0])
def test_a_float_map_that_is_not_a_label_map_is_refused(value: float) -> None:
    with pytest.raises(CelltableError, match="image 0, prediction: found"):
        ct.evaluate(GT, np.where(PRED > 0, value, 0.0), "ap_dsb2018")


@pytest.mark.parametrize("given", [{"a": GT}, 3, None])
def test_an_object_that_is_neither_image_nor_path_is_named_by_its_type(given: Any) -> None:
    with pytest.raises(CelltableError, match=f"{type(given).__name__}.*; expected"):
        ct.evaluate(given, given, "ap_dsb2018")


def test_a_column_may_be_given_as_a_word() -> None:
    assert list(ct.evaluate(GT, PRED, "ap_dsb2018", by="size")["ap_dsb2018"].groups) == ["size"]
