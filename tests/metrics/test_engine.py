"""The engine: one pass over pairs, what is left out and why, breakdowns, intervals, comparison, and array inputs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celltable import plugins
from celltable.errors import MaskError, MetricError, NotFoundError, OptionError, UnknownPluginError
from celltable.geometry import rle
from celltable.notation.pannuke import CLASS_NAMES
from celltable.plugins.metric import Metric
from celltable.scoring import Pair, Side, score_pairs
from celltable.scoring.arrays import pairs_from_arrays
from celltable.scoring.bootstrap import draws
from celltable.scoring.compare import compare_pairs
from celltable.scoring.engine import evaluate_pairs
from celltable.scoring.joined import join_images

FEW = ("ap_dsb2018", "pq_hovernet", "mae")
OTHERS = {name for name, metric in plugins.load_all("metrics").items() if "scores" in metric.needs}


def blobs(seed: int, size: int = 40, n: int = 8) -> NDArray[np.int32]:
    rng = np.random.default_rng(seed)
    out = np.zeros((size, size), np.int32)
    for k in range(1, n + 1):
        y, x = rng.integers(0, size - 6, 2)
        out[y : y + rng.integers(3, 7), x : x + rng.integers(3, 7)] = k
    return out


def images(n: int = 6, shift: int = 1, **columns: Any) -> list[Pair]:
    gt = [blobs(k) for k in range(n)]
    pred = [np.roll(g, shift if k % 2 else 0, axis=0) for k, g in enumerate(gt)]
    meta = [{"tissue": "ab"[k % 2], "split": "test"} for k in range(n)]
    return pairs_from_arrays(gt, pred, meta=meta, **columns)


def typed(n: int = 4) -> list[Pair]:
    gt = [blobs(k) for k in range(n)]
    kinds = [{i: ("round", "flat")[i % 2] for i in np.unique(g)[1:].tolist()} for g in gt]
    return pairs_from_arrays(gt, [np.roll(g, 1, axis=1) for g in gt], classes=(kinds, kinds))


def test_all_gives_every_metric_that_applies_and_says_why_others_do_not() -> None:
    scores = evaluate_pairs(images(), "all", rounds=0)
    assert set(scores) == set(plugins.names("metrics")) - OTHERS
    assert scores.unavailable == dict.fromkeys(sorted(OTHERS), "the predictions have no scores")


@pytest.mark.parametrize("mode", ["strict", "corrected"])
def test_order_of_images_and_number_of_workers_change_nothing(mode: Any) -> None:
    pairs = typed(7)
    names = [n for n in plugins.names("metrics") if n not in OTHERS and not plugins.load("metrics", n).needs]
    one = evaluate_pairs(pairs, names, mode=mode, by=["class", "size"], rounds=20)
    assert np.isfinite([one[n].value for n in names if n != "counts_livecell"]).all()
    for order, workers in ((pairs[::-1], 1), (pairs, 3)):
        other = evaluate_pairs(order, names, mode=mode, by=["class", "size"], rounds=20, workers=workers)
        assert other.to_json() == one.to_json()


def test_a_metric_is_counted_once_per_image_and_pooled_by_its_protocol() -> None:
    pairs = images()
    scores = evaluate_pairs(pairs, FEW, rounds=0)
    for name in FEW:
        assert scores[name].value == score_pairs(plugins.load("metrics", name), pairs).value
        assert list(scores[name].images) == [p.image_id for p in pairs]
    assert scores["ap_dsb2018"].value == pytest.approx(np.mean(list(scores["ap_dsb2018"].images.values())))


def test_ignored_images_are_never_scored_but_are_reported() -> None:
    pairs = images()
    some = [replace(p, ignored=k == 0) for k, p in enumerate(pairs)]
    scores = evaluate_pairs(some, FEW, rounds=0)
    assert scores["pq_hovernet"].value == evaluate_pairs(pairs[1:], FEW, rounds=0)["pq_hovernet"].value
    assert scores["pq_hovernet"].skipped["ignored images"] == 1
    assert "1 images are marked ignore" in str(scores)
    with pytest.raises(MetricError, match="all 6 images are marked ignore"):
        evaluate_pairs([replace(p, ignored=True) for p in pairs], FEW)


def test_partially_annotated_images_are_left_out_where_false_positives_count() -> None:
    pairs = [replace(p, exhaustive=k > 1) for k, p in enumerate(images())]
    scores = evaluate_pairs(pairs, ["ap_dsb2018", "seg_ctc"], rounds=0)
    assert scores["ap_dsb2018"].skipped == {"partially annotated images": 2}
    assert len(scores["ap_dsb2018"].images) == 4
    assert len(scores["seg_ctc"].images) == 6
    assert len(evaluate_pairs(pairs, ["ap_dsb2018"], partial="score", rounds=0)["ap_dsb2018"].images) == 6
    none = [replace(p, exhaustive=False) for p in pairs]
    with pytest.raises(MetricError, match="partially annotated"):
        evaluate_pairs(none, ["ap_dsb2018"])
    assert "partially annotated" in evaluate_pairs(none, "all", rounds=0).unavailable["ap_dsb2018"]


def test_the_corrected_score_leaves_out_ignore_regions_and_the_predictions_on_them() -> None:
    gt = np.array([[1, 1, 0, 2, 2, 0, 0]], np.int32)
    pred = np.array([[1, 1, 0, 4, 4, 0, 5]], np.int32)
    plain = pairs_from_arrays(gt, pred)[0]
    marked = replace(plain, gt=plain.gt.with_columns(ignore=np.array([False, True])))
    pq: Metric = plugins.load("metrics", "pq_hovernet")
    assert score_pairs(pq, [marked], "strict").value == score_pairs(pq, [plain], "strict").value
    kept = pairs_from_arrays(np.array([[1, 1, 0, 0, 0, 0, 0]]), np.array([[1, 1, 0, 0, 0, 0, 5]]))[0]
    for name in ("pq_hovernet", "ap_dsb2018", "dice_pixel", "boundary_f_cellpose", "f_hovernet", "mae", "aji_plus"):
        found: Metric = plugins.load("metrics", name)
        assert score_pairs(found, [marked]).value == score_pairs(found, [kept]).value, name


def test_monusac_cuts_predictions_by_ambiguous_regions() -> None:
    gt = np.array([[1, 1, 1, 2, 2, 2]], np.int32)
    pred = np.array([[0, 7, 7, 7, 7, 0]], np.int32)
    plain = pairs_from_arrays(gt, pred)[0]
    marked = replace(plain, gt=plain.gt.with_columns(ignore=np.array([False, True])))
    pq: Metric = plugins.load("metrics", "pq_monusac")
    assert score_pairs(pq, [plain]).value == 0
    assert score_pairs(pq, [marked]).value == pytest.approx(2 / 3)  # the prediction loses two of its four pixels


def test_breakdowns_score_each_group_as_if_it_were_alone() -> None:
    pairs = images()
    scores = evaluate_pairs(pairs, FEW, by=["tissue", "density"], rounds=0)
    groups = scores["mae"].groups["tissue"]
    assert list(groups) == ["a", "b"]
    alone = evaluate_pairs([p for p in pairs if p.meta["tissue"] == "b"], FEW, rounds=0)
    assert groups["b"].value == alone["mae"].value
    assert sum(g.n_images for g in scores["mae"].groups["density"].values()) == 6
    with pytest.raises(NotFoundError, match="no image has the column 'organ'.*tissue"):
        evaluate_pairs(pairs, FEW, by=["organ"], rounds=0)


def test_size_groups_hold_every_cell_once_and_take_predictions_to_their_cells() -> None:
    pairs = images()
    scores = evaluate_pairs(pairs, ["errors_caicedo"], by=["size"], size_edges=(0, 12, 20, np.inf), rounds=0)
    groups = scores["errors_caicedo"].groups["size"]
    for key in ("n_gt", "n_pred"):
        assert sum(g.fields[key] for g in groups.values()) == scores["errors_caicedo"].fields[key]
    gt, pred = np.zeros((2, 9, 9), np.int32)
    gt[:5, :5], pred[:4, :5] = 1, 1
    one = evaluate_pairs(pairs_from_arrays(gt, pred), ["pq_hovernet"], by=["size"], size_edges=(0, 22, 100), rounds=0)
    assert one["pq_hovernet"].groups["size"]["22-100 px²"].value == one["pq_hovernet"].value


def test_class_groups_equal_the_scores_of_the_class_alone() -> None:
    scores = evaluate_pairs(typed(), ["pq_conic", "pq_hovernet"], by=["class"], rounds=0)
    groups = scores["pq_hovernet"].groups["class"]
    assert set(groups) == {"round", "flat"}
    alone = scores["pq_conic"].groups["class"]["flat"]
    assert scores["pq_conic"].fields["flat PQ"] == pytest.approx(alone.fields["mPQ+"])


def test_the_bootstrap_is_seeded_and_draws_as_many_images_as_there_are() -> None:
    first, again = (np.concatenate(list(draws(9, 30, 4))) for _ in range(2))
    assert (first == again).all()
    assert (first.sum(axis=1) == 9).all()
    pairs = images()
    a, b, c = (evaluate_pairs(pairs, FEW, seed=s)["pq_hovernet"].ci for s in (0, 0, 1))
    assert a == b != c
    assert a is not None
    assert a[0] <= evaluate_pairs(pairs, FEW)["pq_hovernet"].value <= a[1]


def test_comparison_says_which_model_is_better_whichever_way_the_metric_points() -> None:
    good, bad = images(shift=0), images(shift=3)
    result = compare_pairs(bad, good, ["pq_hovernet", "errors_caicedo"], names=("old", "new"), by=["tissue"])
    whole = {r.metric: r for r in result.rows if r.group is None}
    assert whole["pq_hovernet"].verdict == whole["errors_caicedo"].verdict == "b"
    assert whole["pq_hovernet"].difference > 0 > whole["errors_caicedo"].difference
    tissues = {r.group: r for r in result.rows if r.metric == "pq_hovernet" and r.group}
    assert tissues["a"].verdict == "no clear difference"  # even images are the same in both
    assert tissues["b"].verdict == "b"
    assert "new" in str(result)
    json.dumps(result.to_dict(), allow_nan=False)
    same = compare_pairs(good, good, ["pq_hovernet"])
    assert same.rows[0].verdict == "no clear difference"
    assert same.rows[0].ci == (0.0, 0.0)


def test_comparison_uses_the_images_both_models_have() -> None:
    result = compare_pairs(images()[:4], images()[1:], ["mae"])
    assert result.rows[0].n_images == 3
    assert "3 images were scored for only one" in str(result)
    with pytest.raises(MetricError, match="different images"):
        compare_pairs(images()[:2], images()[2:], ["mae"])


def test_impossible_requests_are_refused_with_a_hint() -> None:
    pairs = images()
    with pytest.raises(UnknownPluginError, match="Did you mean pq_pannuke"):
        evaluate_pairs(pairs, ["pq_panuke"])
    with pytest.raises(OptionError, match="no chosen metric has the option 'treshold'"):
        evaluate_pairs(pairs, FEW, options={"treshold": 0.4})
    with pytest.raises(MetricError, match="mode is 'exact'"):
        evaluate_pairs(pairs, FEW, mode="exact")  # type: ignore[arg-type]
    with pytest.raises(MetricError, match="occurs more than once"):
        evaluate_pairs([pairs[0], pairs[0]], FEW)
    with pytest.raises(MetricError, match="there are no images"):
        evaluate_pairs([], FEW)
    with pytest.raises(NotFoundError, match="no score 'aji_plus'"):
        evaluate_pairs(pairs, FEW, rounds=0)["aji_plus"]


def test_options_reach_the_metrics_that_have_them() -> None:
    pairs = images()
    found = evaluate_pairs(pairs, ["pq_hovernet", "ap_cellpose"], options={"match_iou": 0.3}, rounds=0)
    assert found["pq_hovernet"].options["match_iou"] == 0.3
    own = evaluate_pairs(pairs, ["ap_cellpose"], options={"ap_cellpose": {"thresholds": (0.7,)}}, rounds=0)
    assert list(own["ap_cellpose"].fields["threshold"]) == [0.7]


def test_strict_mode_raises_where_the_official_code_does_and_all_says_so() -> None:
    pairs = pairs_from_arrays([np.zeros((4, 4), int), blobs(0)], [np.zeros((4, 4), int), blobs(0)])
    with pytest.raises(MetricError, match="divides by zero"):
        evaluate_pairs(pairs, ["pq_hovernet"], mode="strict")
    strict = evaluate_pairs(pairs, "all", mode="strict", rounds=0)
    assert "divides by zero" in strict.unavailable["pq_hovernet"]
    corrected = evaluate_pairs(pairs, ["pq_hovernet"], rounds=0)["pq_hovernet"]
    assert corrected.value == pytest.approx(1.0, abs=1e-6)
    assert corrected.skipped == {"images without cells on either side": 1}


def test_scores_read_as_a_table_and_as_json() -> None:
    scores = evaluate_pairs(typed(), ["pq_conic", "f_hovernet"], by=["class"], rounds=50)
    text = str(scores)
    assert "pq_conic" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["class", "images", "pq_conic", "f_hovernet"] in rows
    assert [r[:2] for r in rows if r and r[0] in ("flat", "round")] == [["flat", "4"], ["round", "4"]]
    card = str(scores["pq_conic"])
    assert "matching" in card
    assert "CoNIC" in card
    back = json.loads(scores.to_json())
    assert back["scores"]["pq_conic"]["fields"]["mPQ+"] == scores["pq_conic"].value
    levels = {row["level"] for row in scores.rows("model")}
    assert levels == {"pooled", "image", "group"}


@pytest.mark.parametrize(
    ("gt", "message"),
    [
        (np.array([[0.5, 1.0]]), "found the value 0.5"),
        (np.array([[-1, 1]]), "found the label -1"),
        (np.array([[True, False]]), "boolean mask"),
        (np.array([1, 2]), "expected a label map"),
        (np.array([["a", "b"]]), "expected integers"),
    ],
)
def test_arrays_that_are_not_label_maps_are_refused(gt: NDArray[Any], message: str) -> None:
    with pytest.raises(MaskError, match=message):
        pairs_from_arrays([gt], [np.array([[0, 1]])])


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    one = np.array([[0, 1, 2]])
    with pytest.raises(MetricError, match="1×3 and the prediction 3×1"):
        pairs_from_arrays(one, one.T)
    with pytest.raises(MetricError, match="2 ground-truth maps and 1"):
        pairs_from_arrays([one, one], [one])
    with pytest.raises(MetricError, match="2 cells"):
        pairs_from_arrays(one, one, scores=[[0.1, 0.2, 0.3, 0.4]])
    with pytest.raises(MetricError, match="scores are NaN"):
        pairs_from_arrays(one, one, scores=[[0.1, np.nan]])
    with pytest.raises(MetricError, match="no classes for labels"):
        pairs_from_arrays(one, one, classes=([{1: "a"}], [{1: "a", 2: "b"}]))
    with pytest.raises(MetricError, match="image ids"):
        pairs_from_arrays([one, one], [one, one], image_ids=["a", "a"])


def test_scores_and_classes_are_taken_in_each_of_their_forms() -> None:
    one = np.array([[0, 3, 7]])
    forms: tuple[Any, ...] = ([[0.3, 0.7]], [{3: 0.3, 7: 0.7}], [np.arange(8) / 10], np.array([0.3, 0.7]))
    for scores in forms:
        assert pairs_from_arrays(one, one, scores=scores)[0].pred.scores.tolist() == [0.3, 0.7]  # type: ignore[union-attr]
    kinds: tuple[Any, ...] = ([["a", "b"]], [{3: "a", 7: "b"}], [np.array([["", "a", "b"]])])
    for kind in kinds:
        found = pairs_from_arrays(one, one, classes=(kind, kind))[0]
        assert found.class_names == ("a", "b")
        assert found.gt.class_codes is not None
        assert found.gt.class_codes.tolist() == [0, 1]


def test_whole_numbered_float_maps_and_maps_without_background_are_accepted() -> None:
    pairs = pairs_from_arrays(np.array([[1.0, 2.0]]), np.array([[1, 2]]))
    scores = evaluate_pairs(pairs, ["ap_cellpose", "pq_hovernet"])
    assert scores["ap_cellpose"].value == 1.0
    assert scores["pq_hovernet"].value == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(MetricError, match="no background pixel"):
        evaluate_pairs(pairs_from_arrays(np.array([[1, 2]]), np.array([[1, 2]])), ["ap_cellpose"], mode="strict")


def test_a_pannuke_stack_becomes_cells_with_classes() -> None:
    stack = np.zeros((2, 8, 8, 6))
    stack[0, :2, :2, 0], stack[0, 4:, 4:, 4] = 3, 3
    pairs = pairs_from_arrays(stack, stack)
    assert pairs[0].class_names == CLASS_NAMES
    assert pairs[0].gt.class_codes is not None
    assert pairs[0].gt.class_codes.tolist() == [0, 4]
    scores = evaluate_pairs(pairs, ["pq_pannuke"], rounds=0)
    assert scores["pq_pannuke"].value == pytest.approx(1.0, abs=1e-5)
    assert scores["pq_pannuke"].skipped == {"images without a ground-truth cell": 1}
    with pytest.raises(MaskError, match="not a whole number"):
        pairs_from_arrays(stack + 0.5, stack)


def test_images_of_only_one_side_are_an_error_or_counted_and_reported() -> None:
    with pytest.raises(NotFoundError, match="1 of 2 images have no prediction: b"):
        join_images(["a", "b"], ["a"])
    with pytest.raises(NotFoundError, match="does not have: c"):
        join_images(["a"], ["a", "c"])
    with pytest.raises(NotFoundError, match="no image is on both sides"):
        join_images(["a"], ["b"], missing="empty", unknown="ignore")
    ids, notes = join_images(["a", "b"], ["a", "c"], missing="empty", unknown="ignore")
    assert ids == ["a", "b"]
    assert len(notes) == 2


@pytest.mark.parametrize("column", ["class", "size", "density"])
def test_models_are_compared_per_group_of_cells_as_each_is_scored_there(column: str) -> None:
    good = [replace(p, gt=p.gt.take(np.arange(len(p.gt)) < 2 + k)) for k, p in enumerate(typed(6))]
    bad = [replace(p, pred=p.pred.take(p.pred.areas > 12)) for p in good]
    result = compare_pairs(bad, good, ["pq_hovernet"], by=[column], rounds=20)
    alone = [
        evaluate_pairs(p, ["pq_hovernet"], by=[column], rounds=0)["pq_hovernet"].groups[column] for p in (bad, good)
    ]
    rows = {r.group: (r.a, r.b) for r in result.rows if r.group_by == column}
    assert len(rows) > 1
    for group, found in rows.items():
        assert found == pytest.approx([each[str(group)].value for each in alone], nan_ok=True)


def test_a_column_that_nothing_has_is_an_error_of_compare_too() -> None:
    with pytest.raises(NotFoundError, match="no image has the column 'tisue'"):
        compare_pairs(images(), images(), ["mae"], by=["tisue"])
    with pytest.raises(NotFoundError, match="no classes on both sides"):
        compare_pairs(images(), images(), ["mae"], by=["class"])


def test_a_headline_keeps_its_name_if_other_fields_are_equal() -> None:
    perfect, empty = np.array([[1, 0, 2]]), np.zeros((1, 3), np.int32)
    for gt, pred in ((perfect, perfect), (perfect, empty), (empty, empty)):
        assert evaluate_pairs(pairs_from_arrays(gt, pred), ["pq_hovernet"])["pq_hovernet"].headline == "pq"


def test_overlapping_masks_are_reported_if_a_metric_paints_them() -> None:
    def side(*spans: tuple[int, int]) -> Side:
        masks = [np.array([[start <= x < end for x in range(8)]]) for start, end in spans]
        return Side.from_rle([rle.encode(m) for m in masks], (1, 8), scores=np.linspace(0, 1, len(spans)))

    def notes(metric: str) -> tuple[str, ...]:
        return evaluate_pairs([Pair("a", (1, 8), side((0, 3)), side((0, 3), (2, 5), (2, 5)))], [metric]).notes

    (said,) = notes("ap_dsb2018")
    assert said.startswith("Masks of the predictions overlap in 1 image: ")
    assert said.endswith("which lost 4 px and 1 whole cell.")
    assert notes("ap_coco") == ()


def test_a_map_without_background_is_reported() -> None:
    gt = np.array([[0, 1, 2]])
    assert evaluate_pairs(pairs_from_arrays(gt, gt), ["ap_dsb2018"]).notes == ()
    (said,) = evaluate_pairs(pairs_from_arrays(gt, gt + 1), ["ap_dsb2018"]).notes
    assert said.startswith("Warning: 1 image of the predictions has no background pixel (0).")


def test_equal_scores_give_one_warning() -> None:
    pairs = pairs_from_arrays(blobs(1), blobs(1), scores=np.full(len(np.unique(blobs(1))) - 1, 0.5))
    with pytest.warns(UserWarning, match="have the score") as heard:
        scores = evaluate_pairs(pairs, ["ap_coco", "ar_coco", "ap_livecell"])
    assert len(heard) == len(scores.notes) == 1
    assert (
        scores.notes[0]
        == "Warning: all predictions have the score 0.5, so their order decides ap_coco, ar_coco, ap_livecell."
    )


def test_a_breakdown_by_many_groups_stays_readable_and_whole() -> None:
    groups = [f"a tissue of a long name {k}" for k in range(12)]
    pairs = [replace(p, meta={"tissue": g}) for p, g in zip(images(12), groups, strict=True)]
    names = [n for n in plugins.names("metrics") if n not in OTHERS]
    text = str(evaluate_pairs(pairs, names[:15], by=["tissue"], rounds=0))
    assert max(map(len, text.splitlines())) <= 120
    assert all(text.count(f"{g} ") + text.count(f"{g}\n") == 1 for g in groups)
    assert text.count("by tissue") > 1


def test_reasons_are_given_once_with_all_the_metrics_they_apply_to() -> None:
    lines = str(evaluate_pairs(images(1), "all", rounds=0)).splitlines()
    (said,) = [line for line in lines if "the predictions have no scores" in line]
    assert {n.strip() for n in said.split(":")[1].split(",")} == OTHERS
    empty = pairs_from_arrays(np.zeros((2, 2), np.int32), np.zeros((2, 2), np.int32))
    assert "  1 image without cells on either side: dice_pixel" in str(evaluate_pairs(empty, ["dice_pixel"]))


def test_a_warning_of_a_metric_is_also_a_note_and_is_issued_once() -> None:
    cells = np.array([[1, 0, 2, 0, 3]])
    pairs = pairs_from_arrays(cells, cells, classes=(["a"] * 3, ["a"] * 3), scores=[0.5, 0.5, 0.9])
    with pytest.warns(UserWarning, match="2 of 3 detections share their score") as heard:
        scores = evaluate_pairs(pairs, ["map_hpa2021"], by=["size"])
    assert len(heard) == len(scores.notes) == 1
    assert scores.notes[0].startswith("Warning: 2 of 3 detections share their score")
