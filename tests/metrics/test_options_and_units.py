"""Options have a default, a meaning and a type, numbers have a unit, and the command line prints both."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from celltable import plugins
from celltable.cells import Image, Instances, Sample
from celltable.cli import build
from celltable.errors import OptionError
from celltable.geometry import rle
from celltable.pipelines.evaluate import compare, evaluate, scores_table
from celltable.plugins.metric import Metric
from celltable.plugins.section import Material
from celltable.reports.scores import SECTION
from celltable.scoring import Pair, Side, score_pairs
from celltable.scoring.compare import compare_pairs, distinct_names
from celltable.scoring.engine import evaluate_pairs
from celltable.store import Store, StoreWriter

NAMES = plugins.names("metrics")
GT = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2, 0]])
PRED = np.array([[1, 1, 1, 0, 0, 2, 2, 0, 0, 0]])  # IoU 3/4 and 1/2


def metric(name: str) -> Metric:
    found: Metric = plugins.load("metrics", name)
    return found


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build([arguments[0], "datasets"]), list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_metric_is_listed_with_its_default_range_and_meaning(name: str) -> None:
    found = metric(name)
    plain = json.loads(run("metrics", name, "--json"))["options"]
    assert list(plain) == list(found.defaults)
    for option in found.options:
        assert plain[option.name]["meaning"] == option.about
        assert plain[option.name]["takes"] == option.expected
        listed = run("metrics", name).split("\noptions (")[1].splitlines()
        line = next(x for x in listed if x.split()[:1] == [option.name])
        assert line.split(option.expected)[0].split(None, 1)[1].strip() == option.usual
        assert line.endswith(option.about)


def test_the_list_of_metrics_names_all_and_what_one_prints_is_its_card() -> None:
    listed = [line.split()[0] for line in run("metrics").splitlines()[1:-2]]
    assert listed == list(NAMES)
    assert [m["name"] for m in json.loads(run("metrics", "--json"))] == list(NAMES)
    text = run("metrics", "ap-coco")
    assert "max_dets     1,10,100  whole numbers of 1 or more, separated by commas" in text
    assert "use_classes  yes       yes or no" in text
    assert metric("ap_coco").card.doi in text
    assert "options: none" in run("metrics", "aji_plus")


@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_help_says_how_to_see_the_options_of_a_metric(verb: str) -> None:
    assert "'celltable metrics NAME' lists" in " ".join(run(verb, "--help").split())


@pytest.mark.parametrize("given", [(0.5, 0.7), [0.5, 0.7], np.array([0.5, 0.7]), "0.5,0.7", "0.5, 0.7"])
def test_several_numbers_come_as_a_sequence_or_as_text_with_commas(given: Any) -> None:
    found = evaluate(GT, PRED, ["ap_stardist"], options={"thresholds": given}, rounds=0)["ap_stardist"]
    assert found.fields["tp"] == [2, 1]
    assert found.options["thresholds"] == (0.5, 0.7)


def test_one_number_can_be_given_for_several() -> None:
    found = evaluate(GT, PRED, ["ap_stardist"], options={"thresholds": 0.7}, rounds=0)["ap_stardist"]
    assert found.fields["tp"] == [1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "ap_stardist",
            {"thresholds": "high"},
            "option thresholds is 'high'; expected numbers from 0 to 1",
        ),
        ("ap_stardist", {"thresholds": ()}, "option thresholds is ''; expected numbers from 0 to 1"),
        (
            "ap_stardist",
            {"thresholds": 1.5},
            r"option thresholds is '1.5'; expected numbers from 0 to 1.*default 0.5,0.55",
        ),
        ("ap_stardist", {"criterion": 1}, r"option criterion is '1'; expected iou, iot or iop \(default iou\)"),
        (
            "pq_hovernet",
            {"match_iou": "half"},
            r"option match_iou is 'half'; expected a number from 0 to 1 \(default 0.5",
        ),
        ("pq_hovernet", {"match_iou": True}, "option match_iou is 'yes'; expected a number"),
        ("pq_hovernet", {"match_iou": np.nan}, "option match_iou is 'nan'; expected a number"),
        ("f_hovernet", {"radius": -3}, r"option radius is '-3'; expected a number above 0 \(px\) \(default 12\)"),
        ("f_cellvit", {"radius": 0}, "option radius is '0'; expected a number above 0"),
        ("ap_coco", {"use_classes": 2}, "option use_classes is '2'; expected yes or no"),
        ("ap_coco", {"shape": "masks"}, "option shape is 'masks'; expected segm or bbox"),
        ("ar_coco", {"max_dets": (0, 100)}, "option max_dets is '0,100'; expected whole numbers of 1 or more"),
        ("calibration", {"threshold": 1}, "option threshold is '1'; expected a number above 0 and below 1"),
        ("calibration", {"bins": 0}, "option bins is '0'; expected a whole number of 1 or more"),
        ("tide", {"bg_thresh": 0.6}, "option bg_thresh is 0.6; expected at most pos_thresh, which is 0.5"),
        ("errors_caicedo", {"touch": 0.9}, "option touch is 0.9; expected at most tight, which is 0.5"),
        ("ap_stardist", {"treshold": 0.5}, "no chosen metric has the option 'treshold'. Did you mean thresholds?"),
        ("aji_plus", {"radius": 3}, "no chosen metric has the option 'radius'. Options: none"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        evaluate(GT, PRED, [name], scores=[0.9, 0.8], options=options, rounds=0)


def pairs(scores: list[float]) -> list[Pair]:
    found = Side.from_label_map(PRED, given_ids=np.array([1, 2]), scores=np.array(scores))
    return [Pair("a", (1, 10), Side.from_label_map(GT), found)]


def test_the_unit_percent_is_printed_with_the_number_and_fields_keep_their_names() -> None:
    scores = evaluate_pairs(pairs([0.9, 0.8]), ["tide", "ap_coco"], rounds=0)
    tide = next(line for line in str(scores).splitlines() if line.startswith("tide"))
    assert tide.split()[1:4] == ["AP", "(percent)", "100.0000"]
    coco = next(line for line in str(scores).splitlines() if line.startswith("ap_coco"))
    assert coco.split()[1:3] == ["AP", f"{scores['ap_coco'].value:.4f}"]
    assert str(scores["tide"]).startswith("tide (corrected) = 100.0000 percent")
    assert scores["tide"].to_dict()["card"]["unit"] == "percent"
    assert {"AP", "dAP", "dAP_Loc"} <= set(scores["tide"].fields)
    compared = str(compare_pairs(pairs([0.9, 0.8]), pairs([0.8, 0.9]), ["tide", "ap_coco"], rounds=0))
    assert "tide (percent)" in compared
    assert "ap_coco (" not in compared
    by = evaluate_pairs(
        [replace(p, meta={"tissue": "x"}) for p in pairs([0.9, 0.8])], ["tide"], by=["tissue"], rounds=0
    )
    assert "tide (percent)" in str(by)


def test_a_report_says_percent_of_the_headline() -> None:
    scores = evaluate_pairs(pairs([0.9, 0.8]), ["tide", "ap_coco"], rounds=0)
    cards = {name: score.card.to_dict() for name, score in scores.items()}
    rows = scores_table(scores).to_pylist()
    html = SECTION.render(Material([], None, None, None, lambda _: None, scores=rows, cards=cards))  # type: ignore[arg-type,return-value]
    assert html.count(">value (percent)</td>") == 1
    assert html.count(">value</td>") == 1


def test_the_order_matters_for_two_predictions_of_equal_score_but_not_for_one() -> None:
    one = np.where(PRED == 1, PRED, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not evaluate(GT, one, ["ap_coco"], scores=[0.9], rounds=0).notes
    with pytest.warns(UserWarning, match="all .* have the (same score|score 0.9)") as heard:
        scores = evaluate(GT, PRED, ["ap_coco"], scores=[0.9, 0.9], rounds=0)
    assert len(heard) > 0
    assert "all predictions have the score 0.9, so their order decides ap_coco" in str(scores)


def store(path: Path, label_map: NDArray[Any]) -> Store:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = label_map.shape
    with StoreWriter(path, {"name": path.stem}) as writer:
        columns = {"score": np.linspace(0.9, 0.5, len(np.unique(label_map)) - 1)}
        writer.append(Sample(Image("a", height, width, dataset="d"), Instances.from_label_map(label_map, **columns)))
        return writer.finish({"name": path.stem})


def test_two_stores_with_the_same_file_name_are_distinguished_by_their_folders(tmp_path: Path) -> None:
    truth = store(tmp_path / "gt.celltable", GT)
    a, b = (store(tmp_path / model / "fold" / "pred.celltable", PRED) for model in ("unet", "yolo"))
    expected = ("unet/fold/pred.celltable", "yolo/fold/pred.celltable")
    assert compare(truth, a, b, ["pq_hovernet"], rounds=0).names == expected
    assert compare(truth.path, a.path, str(b.path), ["pq_hovernet"], rounds=0).names == expected
    text = run("compare", str(truth.path), str(a.path), str(b.path), "--metrics", "pq_hovernet", "-O", "match_iou=0.6")
    assert all(name in text for name in expected)
    assert compare(truth, a, a, ["pq_hovernet"], rounds=0).names == ("pred (A)", "pred (B)")
    assert compare(truth, a, b, ["pq_hovernet"], rounds=0, names=("x", "y")).names == ("x", "y")


def test_names_that_differ_already_stay_short_and_arrays_are_a_and_b() -> None:
    assert distinct_names(Path("runs/a.json"), "runs/b.json") == ("a.json", "b.json")
    assert distinct_names(GT, PRED) == ("A", "B")
    assert distinct_names("x/p.csv", "x/y/p.csv") == ("x/p.csv", "y/p.csv")


def test_options_and_kind_reach_a_comparison(tmp_path: Path) -> None:
    truth = store(tmp_path / "gt.celltable", GT)
    pred = store(tmp_path / "pred.celltable", PRED)
    where = [str(s.path) for s in (truth, pred, truth)]
    rows = json.loads(run("compare", *where, "-m", "ap_stardist", "-O", "thresholds=0.5", "--rounds", "0", "--json"))
    assert rows["rows"][0]["a"] == 1.0
    rows = json.loads(run("compare", *where, "-m", "ap_stardist", "-O", "thresholds=0.7", "--rounds", "0", "--json"))
    assert rows["rows"][0]["a"] == pytest.approx(1 / 3)


def square(x: int, side: int) -> bytes:
    mask = np.zeros((30, 70), bool)
    mask[2 : 2 + side, x : x + side] = True
    return rle.encode(mask)


def test_livecell_takes_areas_from_masks_and_coco_from_the_boxes_of_results() -> None:
    """A false detection of 400 px, medium by its mask and small by its stated box, ranks before the only hit.

    By the mask it is a false positive among medium cells, so precision is 1/2 at every recall; by the box it is none.
    """
    gt = Side.from_rle([square(2, 20)], (30, 70))
    boxes = np.array([[40.0, 2, 10, 10], [2, 2, 20, 20]])
    scores = np.array([0.9, 0.8])
    dt = Side.from_rle([square(40, 20), square(2, 20)], (30, 70), scores=scores, published_boxes=boxes)
    for mode in ("strict", "corrected"):
        fields = evaluate_pairs([Pair("a", (30, 70), gt, dt)], ["ap_livecell"], mode=mode, rounds=0)[
            "ap_livecell"
        ].fields
        assert fields["APm"] == pytest.approx(1 / 2)


def test_calibration_differs_by_mode_where_its_card_says() -> None:
    gt = Side.from_rle([square(2, 20)], (30, 70), source_ids=["0"])
    dt = Side.from_rle([square(2, 20)], (30, 70), scores=np.array([0.75]))
    found = [
        score_pairs(metric("calibration"), [Pair("a", (30, 70), gt, dt)], mode).value
        for mode in ("strict", "corrected")
    ]
    assert found == [0.75, 0.25]


def test_hpa_reads_an_ignore_mark_in_corrected_mode_only_and_crowd_in_both() -> None:
    """Draw a cell that is found, a marked one that is missed, and a detection in the marked one that ranks first."""
    words = ("a",)

    def value(mode: Any, **marks: NDArray[Any]) -> float:
        gt = Side.from_rle(
            [square(2, 20), square(40, 20)], (30, 70), class_codes=np.zeros(2, int), class_names=words, **marks
        )
        dt = Side.from_rle(
            [square(45, 5), square(2, 20)],
            (30, 70),
            class_codes=np.zeros(2, int),
            class_names=words,
            scores=np.array([0.9, 0.8]),
        )
        return float(score_pairs(metric("map_hpa2021"), [Pair("a", (30, 70), gt, dt)], mode).value)

    mark = np.array([False, True])
    assert value("strict", crowd=mark) == value("corrected", crowd=mark) == value("corrected", ignore=mark) == 1
    assert value("strict", ignore=mark) == value("strict") == 1 / 2 * 1 / 2  # half found, behind a false positive
