"""Every label-map metric against numbers that the official implementations computed themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celltable import plugins
from celltable.errors import MetricError
from celltable.plugins.metric import Metric
from celltable.scoring import Pair, Side, score_pairs

T10 = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def metric(name: str) -> Metric:
    loaded = plugins.load("metrics", name)
    assert isinstance(loaded, Metric)
    return loaded


def fields(name: str, pairs: list[Pair], mode: str = "strict", **options: Any) -> dict[str, Any]:
    return dict(score_pairs(metric(name), pairs, mode, **options).fields)  # type: ignore[arg-type]


def number(value: Any) -> float:
    return float(value)  # "nan" and "inf" are strings in the vectors


def same(found: Any, expected: Any, rel: float = 0.0) -> bool:
    a, b = np.asarray(found, np.float64), np.asarray([number(v) for v in np.ravel(expected)]).reshape(np.shape(found))
    return bool(np.all((np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= rel * np.abs(b))))


class Case:
    """One case: its label maps and the numbers of each reference."""

    def __init__(self, name: str, folder: Path, refs: dict[str, Any]) -> None:
        with np.load(folder / "cases" / f"{name}.npz") as data:
            self.gt: NDArray[np.int32] = data["gt"]
            self.pred: NDArray[np.int32] = data["pred"]
        self.name, self.refs = name, refs

    def pair(self) -> Pair:
        return Pair(self.name, self.gt.shape, Side.from_label_map(self.gt), Side.from_label_map(self.pred))

    def full(self, side: NDArray[np.int32]) -> bool:
        return bool(side.size and side.min() > 0)


@pytest.fixture(scope="module")
def cases(vectors: Path) -> list[Case]:
    loaded = json.loads((vectors / "expected_cases.json").read_text())["cases"]
    return [Case(name, vectors, entry["refs"]) for name, entry in loaded.items()]


@pytest.fixture(scope="module")
def datasets(vectors: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((vectors / "expected_datasets.json").read_text())["datasets"]
    return loaded


def refuses(case: Case, name: str, **options: Any) -> bool:
    with pytest.raises(MetricError):
        score_pairs(metric(name), [case.pair()], "strict", **options)
    return True


def needing_background(cases: list[Case], *, gt_only: bool = False) -> Iterator[Case]:
    """Return the cases that the reference handles; the others must be refused."""
    for case in cases:
        if not case.full(case.gt) and (gt_only or not case.full(case.pred)):
            yield case


def test_data_science_bowl_counts_and_scores_are_bit_equal(cases: list[Case]) -> None:
    for case in needing_background(cases):
        expected = case.refs["dsb2018_caicedo"]
        found = fields("ap_dsb2018", [case.pair()])
        columns = np.asarray(expected["rows"], np.float64).T
        names = ("F1", "TP", "FP", "FN", "Official_Score", "Precision", "Recall")
        for name, column in zip(names, columns, strict=True):
            assert same(found[name], column), (case.name, name)
        assert same(found["mean_official_score"], expected["mean_official_score"]), case.name
        assert same(found["mean_F1"], expected["mean_F1"]), case.name


@pytest.mark.parametrize("criterion", ["iou", "iot", "iop"])
def test_stardist_fields_agree_to_float32(cases: list[Case], criterion: str) -> None:
    for case in cases:
        rows = (
            case.refs["stardist_matching"] if criterion == "iou" else [case.refs[f"stardist_matching_{criterion}_0.5"]]
        )
        thresholds = tuple(row["thresh"] for row in rows)
        found = fields("ap_stardist", [case.pair()], thresholds=thresholds, criterion=criterion)
        for k, row in enumerate(rows):
            for name in ("tp", "fp", "fn"):
                assert found[name][k] == row[name], (case.name, name, row["thresh"])
            for name in (
                "precision",
                "recall",
                "accuracy",
                "f1",
                "mean_true_score",
                "mean_matched_score",
                "panoptic_quality",
            ):
                assert same(found[name][k], row[name], 2e-6), (case.name, name, row["thresh"])


def test_stardist_and_cellpose_differ_at_the_arange_thresholds(cases: list[Case]) -> None:
    arange = tuple(np.arange(0.5, 1.0, 0.05).tolist())
    for case in cases:
        assert fields("ap_stardist", [case.pair()], thresholds=arange)["tp"] == case.refs["stardist_matching_arange"], (
            case.name
        )
        if not case.full(case.gt) and not case.full(case.pred):
            found = fields("ap_cellpose", [case.pair()], thresholds=arange)["tp"][0]
            assert same(found, case.refs["cellpose_tp_arange"]), case.name


def test_cellpose_average_precision_is_bit_equal(cases: list[Case]) -> None:
    for case in needing_background(cases):
        found = fields("ap_cellpose", [case.pair()], thresholds=T10)
        for name in ("ap", "tp", "fp", "fn"):
            assert same(found[name][0], case.refs["cellpose_average_precision"][name]), (case.name, name)


@pytest.mark.parametrize(
    ("name", "reference", "field"),
    [
        ("aji_cellpose", "cellpose_aji", "aji"),
        ("aji_kumar2017", "hovernet_aji", "aji"),
        ("aji_plus", "hovernet_aji_plus", "aji_plus"),
        ("dice_pixel", "hovernet_dice1", "dice"),
        ("dice_ensemble", "hovernet_fast_dice2", "dice2"),
        ("dice_ensemble", "hovernet_dice2", "dice2"),
        ("pq_monusac", "monusac_pq", "PQ of all cells"),
    ],
)
def test_one_number_metrics_are_bit_equal_or_refuse(cases: list[Case], name: str, reference: str, field: str) -> None:
    for case in cases:
        expected = case.refs.get(reference)
        if expected is None:
            continue
        dropped = name == "aji_plus" and case.full(case.gt)  # the reference took the only cell for the background
        if isinstance(expected, dict) or dropped:
            assert refuses(case, name), case.name
        else:
            tolerance = 4e-16 if name == "pq_monusac" else 0.0
            assert same(fields(name, [case.pair()])[field], expected, tolerance), case.name


@pytest.mark.parametrize("match_iou", [0.5, 0.3])
def test_hovernet_and_pannuke_panoptic_quality_is_bit_equal_or_refuses(cases: list[Case], match_iou: float) -> None:
    for case in cases:
        for reference in ("hovernet", "pannuke"):
            expected = case.refs[f"{reference}_pq_{match_iou}"]
            if "error" in expected:
                assert refuses(case, "pq_hovernet", match_iou=match_iou), case.name
                continue
            found = fields("pq_hovernet", [case.pair()], match_iou=match_iou)
            assert all(same(found[k], expected[k]) for k in ("dq", "sq", "pq")), case.name


@pytest.mark.parametrize("match_iou", [0.5, 0.3])
def test_cellvit_panoptic_quality_is_bit_equal_where_its_inference_computes_it(
    cases: list[Case], match_iou: float
) -> None:
    for case in cases:
        expected = case.refs[f"cellvit_pq_{match_iou}"]
        if "error" in expected or case.full(case.gt):
            assert refuses(case, "pq_cellvit", match_iou=match_iou), case.name
            continue
        found = fields("pq_cellvit", [case.pair()], match_iou=match_iou)
        if case.refs["counts"]["n_gt"] == 0:  # the inference script leaves out such images before computing PQ
            assert math.isnan(found["bPQ"])
            continue
        assert all(same(found[k], expected[k[1:].lower()]) for k in ("bDQ", "bSQ", "bPQ")), case.name


def test_conic_counts_and_quality_are_bit_equal_or_refuse(cases: list[Case]) -> None:
    for case in cases:
        expected = case.refs["conic_pq_0.5"]
        if "error" in expected:
            assert refuses(case, "pq_conic"), case.name
            continue
        found = fields("pq_conic", [case.pair()])
        assert all(same(found[k], expected[k]) for k in ("dq", "sq", "pq")), case.name
        binary = metric("pq_conic").count(case.pair(), "strict")["binary"]
        assert (binary.tp, binary.fp, binary.fn) == (expected["tp"], expected["fp"], expected["fn"]), case.name
        assert same(binary.iou, expected["sum_iou"]), case.name


def test_cell_tracking_challenge_seg_and_det_agree(cases: list[Case]) -> None:
    for case in needing_background(cases):
        expected = case.refs["ctc"]
        assert same(fields("seg_ctc", [case.pair()])["SEG"], expected["SEG"], 4e-16), case.name
        found = fields("det_ctc", [case.pair()])
        assert [found[k] for k in ("NS", "FN", "FP")] == [expected[k] for k in ("NS", "FN", "FP")], case.name
        assert same(found["DET"], expected["DET(det() on NS,FN,FP counted from match())"], 4e-16), case.name


def test_cellpose_boundary_scores_are_bit_equal(cases: list[Case]) -> None:
    for case in cases:
        expected = case.refs["cellpose_boundary_scores"]
        found = fields("boundary_f_cellpose", [case.pair()], scales=tuple(expected["scales"]))
        for name in ("precision", "recall", "fscore"):
            assert same(found[name], expected[name]), (case.name, name)


def of_names(cases: list[Case], names: list[str]) -> list[Pair]:
    return [c.pair() for n in names for c in cases if c.name == n]


@pytest.mark.parametrize("name", ["dataset_synth8", "dataset_dsb_real", "dataset_with_empty_images"])
def test_scores_of_whole_datasets_agree(cases: list[Case], datasets: dict[str, Any], name: str) -> None:
    entry = datasets[name]
    pairs = of_names(cases, entry["images"])
    for by_image in (False, True):
        rows = entry[f"stardist_matching_dataset_by_image={by_image}"]
        found = fields("ap_stardist", pairs, thresholds=tuple(r["thresh"] for r in rows))
        found = found["by_image"] if by_image else found
        for k, row in enumerate(rows):
            for key in (
                "tp",
                "fp",
                "fn",
                "precision",
                "recall",
                "accuracy",
                "f1",
                "mean_true_score",
                "mean_matched_score",
            ):
                assert same(found[key][k], row[key], 2e-6), (key, row["thresh"], by_image)
            assert same(found["panoptic_quality"][k], row["panoptic_quality"], 2e-6)
    ap = fields("ap_cellpose", pairs, thresholds=T10)["ap"]
    assert all(same(row, expected) for row, expected in zip(ap, entry["cellpose_average_precision"]["ap"], strict=True))
    aji = metric("aji_cellpose")
    assert all(same(aji.count(p, "strict")["aji"], e) for p, e in zip(pairs, entry["cellpose_aji"], strict=True))
    dsb, expected = metric("ap_dsb2018"), entry["dsb2018_caicedo_official_score"]
    assert same([dsb.one(dsb.count(p, "strict"), "strict") for p in pairs], expected["per_image_mean"])
    assert same(
        score_pairs(dsb, pairs, "strict").value, expected["dataset_mean(mean over thresholds then images)"], 4e-16
    )
    assert same(score_pairs(metric("seg_ctc"), pairs, "strict").value, entry["ctc_SEG"]["SEG_pooled"], 4e-16)


def test_hovernet_statistics_of_a_dataset_are_bit_equal(cases: list[Case], datasets: dict[str, Any]) -> None:
    entry = datasets["hovernet_run_nuclei_inst_stat"]
    pairs = of_names(cases, entry["images"])
    pq = fields("pq_hovernet", pairs)
    found = {
        "dice1": fields("dice_pixel", pairs)["dice"],
        "aji": fields("aji_kumar2017", pairs)["aji"],
        "aji_plus": fields("aji_plus", pairs)["aji_plus"],
        **pq,
    }
    for row, mean in zip(entry["rows"], entry["mean"], strict=True):
        assert same(found[row], mean), row


def pannuke_pairs(vectors: Path) -> list[Pair]:
    names = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Non-Neoplastic")
    with np.load(vectors / "datasets" / "pannuke.npz") as data:
        true, pred, types = data["true"], data["pred"], data["types"]
    return [
        Pair(str(i), t.shape[:2], Side.from_layers(t, names), Side.from_layers(p, names), {"tissue": str(tissue)})
        for i, (t, p, tissue) in enumerate(zip(true, pred, types, strict=True))
    ]


def test_pannuke_run_is_bit_equal_per_class_per_tissue_and_over_all(vectors: Path, datasets: dict[str, Any]) -> None:
    entry = datasets["pannuke_run"]
    pairs = pannuke_pairs(vectors)
    found = fields("pq_pannuke", pairs)
    printed = [line.split(":") for line in entry["stdout"] if ":" in line]
    assert len(printed) == 5 + 2 * 19 + 2
    for key, value in printed:
        name = key.replace("Average ", "Average ").strip()
        assert same(found.get(name, float("nan")), value), key
    each = [metric("pq_pannuke").count(p, "strict") for p in pairs]
    for numbers, expected in zip(each, entry["per_image_class_pq(utils.get_fast_pq)"], strict=True):
        assert same(numbers["classes"], expected)
    for numbers, expected in zip(each, entry["per_image_binary_dq_sq_pq"], strict=True):
        assert same(numbers["binary"], expected if isinstance(expected, list) else [expected] * 3)


def pairing_of(entry: dict[str, Any]) -> Any:
    from celltable.scoring import detection as c
    from celltable.scoring.centroids import pair_points

    whole = c.total([])
    for image in entry["inputs"]:
        true, pred = (np.asarray(image[f"{s}_centroids_xy"], np.float64).reshape(-1, 2) for s in ("true", "pred"))
        true, true_type = c.phantom(true, np.asarray(image["true_types"], np.int64))
        pred, pred_type = c.phantom(pred, np.asarray(image["pred_types"], np.int64))
        rows = pair_points(true, pred, 12.0)
        whole = whole + c.pair_types(rows, true_type, pred_type, tuple("12345"))
    return whole


def test_hovernet_and_cellvit_type_scores_agree(datasets: dict[str, Any]) -> None:
    entry = datasets["hovernet_run_nuclei_type_stat"]
    whole = pairing_of(entry)
    found = metric("f_hovernet").pool([whole], "strict", radius=12.0, typed=True).fields
    expected = [float(v) for v in entry["stdout_5_decimals"].strip("[]").split()]
    names = ["F_d", "acc_type", *(f"F_c({k})" for k in range(1, 6))]
    assert [round(found[n], 5) for n in names] == expected
    cellvit = next(v for k, v in datasets.items() if k.startswith("cellvit_detection_scores"))
    scores = metric("f_cellvit").pool([whole], "strict").fields
    assert int(whole.paired.sum()) == cellvit["n_paired"]
    assert same([scores[f"{k}_detection"] for k in ("f1", "precision", "recall")], cellvit["f1_prec_rec_detection"])
    for kind in range(1, 6):
        found3 = [scores[f"{kind} {k}_cell"] for k in ("f1", "prec", "rec")]
        assert same(found3, cellvit[f"type_{kind}_f1_prec_rec"]), kind


def test_livecell_counts_agree(datasets: dict[str, Any]) -> None:
    entry = datasets["counting_livecell"]
    numbers = list(zip(entry["fluorescence"], entry["prediction"], strict=True))
    found = metric("counts_livecell").pool(numbers, "strict", below=1600).fields
    assert same(found["R2"], entry["r2_below_1600(sklearn r2_score(true,pred))"], 1e-15)
    assert found["linearity_break"] == entry["linearity_cutoff(start 500, step 1, p 1e-5, k 5)"]
    assert same(metric("mape").pool(numbers, "strict").value, entry["mape_all"], 1e-15)
    mae = metric("mae").pool(numbers, "strict").fields
    assert same([mae["mae"], mae["rmse"]], [entry["mae_all"], entry["rmse_all"]], 1e-15)
