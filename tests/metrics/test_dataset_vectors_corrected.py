"""Corrected mode on the reference vectors of data sets: the official numbers, or the rule's where a quirk is named.

Expected values of corrected mode come from the counts of single images that the references gave, averaged as the
corrected rule says, or (COCO, types of nuclei) from the rule written out on full masks and all distances.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from celltable import plugins
from celltable.plugins.metric import MODES, Metric, Mode
from celltable.scoring import Pair, Side, score_pairs

NAN = float("nan")
T10 = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
Document = dict[str, Any]


def metric(name: str) -> Metric:
    loaded = plugins.load("metrics", name)
    assert isinstance(loaded, Metric)
    return loaded


def fields(name: str, pairs: Sequence[Pair], mode: Mode = "corrected", **options: Any) -> dict[str, Any]:
    return dict(score_pairs(metric(name), pairs, mode, **options).fields)


def close(found: Any, expected: Any, rel: float = 0.0) -> bool:
    a, b = (np.array([float(v) for v in np.ravel(np.asarray(x, object))]) for x in (found, expected))
    return a.shape == b.shape and bool(np.all((np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= rel * np.abs(b))))


def over(top: float, bottom: float) -> float:
    return top / bottom if bottom else NAN


def mean_of_known(values: Iterable[float]) -> float:
    known = [v for v in values if v == v]
    return sum(known) / len(known) if known else NAN


@pytest.fixture(scope="module")
def expected(vectors: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((vectors / "expected_datasets.json").read_text())["datasets"]
    return loaded


class Images:
    """Return the images of a data set as pairs, and the reference numbers of each image."""

    def __init__(self, vectors: Path, names: Sequence[str]) -> None:
        cases = json.loads((vectors / "expected_cases.json").read_text())["cases"]
        self.refs = [cases[name]["refs"] for name in names]
        self.pairs = []
        for name in names:
            with np.load(vectors / "cases" / f"{name}.npz") as data:
                gt, pred = data["gt"], data["pred"]
            self.pairs.append(Pair(name, gt.shape, Side.from_label_map(gt), Side.from_label_map(pred)))


SETS = ("dataset_synth8", "dataset_dsb_real", "dataset_with_empty_images")
HAS_EMPTY = {"dataset_with_empty_images"}  # one image without cells on either side


@pytest.mark.parametrize("name", SETS)
def test_dsb_leaves_empty_images_out_and_adds_no_small_constant(
    vectors: Path, expected: dict[str, Any], name: str
) -> None:
    images = Images(vectors, expected[name]["images"])
    each = []
    for refs in images.refs:
        rows = np.array(refs["dsb2018_caicedo"]["rows"], float)[:, 1:4].tolist()
        each.append(sum(over(tp, tp + fp + fn) for tp, fp, fn in rows) / 10)
    found = score_pairs(metric("ap_dsb2018"), images.pairs)
    assert close(found.value, mean_of_known(each), 1e-14)
    official = expected[name]["dsb2018_caicedo_official_score"]
    assert bool(np.isnan(each).any()) == (name in HAS_EMPTY) == bool(found.skipped)
    if name not in HAS_EMPTY:  # the constant alone
        assert found.value == pytest.approx(official["dataset_mean(mean over thresholds then images)"], abs=1e-9)
    assert found.value > official["dataset_mean(mean over thresholds then images)"]


COUNTS = ("tp", "fp", "fn")
RATIOS = ("precision", "recall", "accuracy", "f1", "mean_true_score", "mean_matched_score", "panoptic_quality")


def stardist_ratios(row: Mapping[str, Any]) -> dict[str, float]:
    """Compute the fields of one image from stardist's counts; 0/0 is undefined, not 0."""
    tp, fp, fn, n_true, n_pred = (row[k] for k in ("tp", "fp", "fn", "n_true", "n_pred"))
    total = row["mean_true_score"] * n_true
    values = (over(tp, n_pred), over(tp, n_true), over(tp, tp + fp + fn), over(2 * tp, n_true + n_pred))
    more = (over(total, n_true), over(total, tp), over(total, tp + fp / 2 + fn / 2))
    return dict(zip(RATIOS, (*values, *more), strict=True))


# Fields of by_image=True that differ from the reference because some image has 0/0 at some threshold.
BY_IMAGE_DIFFERS: dict[str, set[str]] = {
    "dataset_synth8": set(),
    "dataset_dsb_real": set(),
    "dataset_with_empty_images": set(RATIOS),
}


@pytest.mark.parametrize("name", SETS)
def test_stardist_pools_the_same_way_and_leaves_undefined_ratios_out_of_means_over_images(
    vectors: Path, expected: dict[str, Any], name: str
) -> None:
    entry = expected[name]
    images = Images(vectors, entry["images"])
    pooled, by_image = (entry[f"stardist_matching_dataset_by_image={b}"] for b in (False, True))
    thresholds = tuple(row["thresh"] for row in pooled)
    found = fields("ap_stardist", images.pairs, thresholds=thresholds)
    departs = set()
    for k, t in enumerate(thresholds):
        for key in COUNTS:
            assert found[key][k] == found["by_image"][key][k] == pooled[k][key] == by_image[k][key]
        rows = [next(r for r in refs["stardist_matching"] if r["thresh"] == t) for refs in images.refs]
        for key in RATIOS:
            assert found["tp"][k] == 0 or close(found[key][k], pooled[k][key], 2e-6), (key, t)
            rule = mean_of_known(stardist_ratios(row)[key] for row in rows)
            assert close(found["by_image"][key][k], rule, 2e-6), (key, t)
            if not close(found["by_image"][key][k], by_image[k][key], 2e-6):
                departs.add(key)
    assert departs == BY_IMAGE_DIFFERS[name]


@pytest.mark.parametrize("name", SETS)
def test_cellpose_and_ctc_differ_only_in_that_empty_images_leave_the_mean(
    vectors: Path, expected: dict[str, Any], name: str
) -> None:
    entry = expected[name]
    pairs = Images(vectors, entry["images"]).pairs
    found = fields("ap_cellpose", pairs, thresholds=T10)
    assert close(found["ap"], entry["cellpose_average_precision"]["ap"])
    columns = np.array([[float(v) for v in row] for row in entry["cellpose_average_precision"]["ap"]]).T
    means = [found[f"ap@{t:g}"] for t in T10]
    assert close(means, [mean_of_known(column) for column in columns.tolist()], 2e-7)  # float32
    each = [float(v) for v in entry["cellpose_aji"]]
    assert close(fields("aji_cellpose", pairs)["aji"], mean_of_known(each), 1e-15)
    for key in ("ap_cellpose", "aji_cellpose"):
        assert np.isnan(score_pairs(metric(key), pairs, "strict").value) == (name in HAS_EMPTY), key
    assert close(score_pairs(metric("seg_ctc"), pairs).value, entry["ctc_SEG"]["SEG_pooled"], 4e-16)


def test_hovernet_statistics_touch_no_quirk(vectors: Path, expected: dict[str, Any]) -> None:
    entry = expected["hovernet_run_nuclei_inst_stat"]
    pairs = Images(vectors, entry["images"]).pairs
    found = {
        "dice1": fields("dice_pixel", pairs)["dice"],
        "aji": fields("aji_kumar2017", pairs)["aji"],
        "aji_plus": fields("aji_plus", pairs)["aji_plus"],
        **fields("pq_hovernet", pairs),
    }
    assert close([found[row] for row in entry["rows"]], entry["mean"])


def test_pannuke_touches_no_quirk(vectors: Path, expected: dict[str, Any]) -> None:
    entry = expected["pannuke_run"]
    names = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Non-Neoplastic")
    with np.load(vectors / "datasets" / "pannuke.npz") as data:
        rows = list(zip(data["true"], data["pred"], data["types"].tolist(), strict=True))
    pairs = [
        Pair(str(k), t.shape[:2], Side.from_layers(t, names), Side.from_layers(p, names), {"tissue": str(tissue)})
        for k, (t, p, tissue) in enumerate(rows)
    ]
    found = fields("pq_pannuke", pairs)
    printed = dict(line.split(":") for line in entry["stdout"] if ":" in line)
    assert len(printed) == 5 + 2 * 19 + 2
    for key, value in printed.items():
        assert close(found.get(key.strip(), NAN), float(value)), key
    each = [metric("pq_pannuke").count(p, "corrected")["classes"] for p in pairs]
    assert close(each, entry["per_image_class_pq(utils.get_fast_pq)"])


def type_pairs(inputs: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """Make pairs with the given centres; their masks are never read."""
    words, made = tuple("12345"), []
    for k, image in enumerate(inputs):
        sides = []
        for side in ("true", "pred"):
            types = np.asarray(image[f"{side}_types"], np.int64)
            counts = [b"01"] * len(types)  # one pixel
            sides.append(Side.from_rle(counts, (1, 1), class_codes=types - 1, class_names=words))
        pair = Pair(str(k), (1, 1), sides[0], sides[1])
        for side, name in (("true", "gt_centroids"), ("pred", "pred_centroids")):
            pair.__dict__[name] = np.asarray(image[f"{side}_centroids_xy"], np.float64).reshape(-1, 2)
        made.append(pair)
    return made


def type_counts(
    inputs: Sequence[Mapping[str, Any]], phantom: bool
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Return the types of all pairs, of unpaired cells and of unpaired predictions; `phantom` is the official quirk."""
    pairs: list[tuple[int, int]] = []
    left: list[int] = []
    over_: list[int] = []
    for image in inputs:
        a, b = ([list(xy) for xy in image[f"{side}_centroids_xy"]] for side in ("true", "pred"))
        kinds_a, kinds_b = list(image["true_types"]), list(image["pred_types"])
        for points, kinds in ((a, kinds_a), (b, kinds_b)):
            if phantom and not points:
                points.append([0.0, 0.0])
                kinds.append(0)
        cost = np.array([[np.hypot(p[0] - q[0], p[1] - q[1]) for q in b] for p in a]).reshape(len(a), len(b))
        near = [(i, j) for i, j in zip(*linear_sum_assignment(cost), strict=True) if cost[i, j] <= 12]
        pairs += [(kinds_a[i], kinds_b[j]) for i, j in near]
        left += [k for i, k in enumerate(kinds_a) if i not in {i for i, _ in near}]
        over_ += [k for j, k in enumerate(kinds_b) if j not in {j for _, j in near}]
    return pairs, left, over_


def type_scores(counts: tuple[list[tuple[int, int]], list[int], list[int]]) -> dict[str, float]:
    pairs, left, over_ = counts
    out = {"F_d": over(2 * len(pairs), 2 * len(pairs) + len(left) + len(over_))}
    out["acc_type"] = over(sum(a == b for a, b in pairs), len(pairs))
    for k in range(1, 6):
        tp = pairs.count((k, k))
        fp, fn = sum(b == k for _, b in pairs) - tp, sum(a == k for a, _ in pairs) - tp
        out[f"F_c({k})"] = over(2 * tp, 2 * (tp + fp + fn) + over_.count(k) + left.count(k))
        out[f"{k} prec_cell"] = over(tp, tp + 2 * fp + over_.count(k))
        out[f"{k} rec_cell"] = over(tp, tp + 2 * fn + left.count(k))
    return out


def test_types_of_nuclei_differ_only_by_the_phantom_of_an_empty_side(expected: dict[str, Any]) -> None:
    entry = expected["hovernet_run_nuclei_type_stat"]
    inputs, pairs = entry["inputs"], type_pairs(entry["inputs"])
    official = [float(v) for v in entry["stdout_5_decimals"].strip("[]").split()]
    assert [sum(not image[f"{s}_types"] for image in inputs) for s in ("true", "pred")] == [2, 1]
    for mode in MODES:
        rule = type_scores(type_counts(inputs, mode == "strict"))
        found, vit = fields("f_hovernet", pairs, mode), fields("f_cellvit", pairs, mode)
        for key in entry["order"]:
            assert close(found[key], rule[key], 1e-15), (mode, key)
        for k in range(1, 6):
            assert close(vit[f"{k} f1_cell"], rule[f"F_c({k})"], 1e-15)
            assert close([vit[f"{k} prec_cell"], vit[f"{k} rec_cell"]], [rule[f"{k} prec_cell"], rule[f"{k} rec_cell"]])
        same = [round(found[key], 5) == v for key, v in zip(entry["order"], official, strict=True)]
        assert same == [mode == "strict", *[True] * 6]  # the phantom has no type, so only F_d knows of it


def test_counts_touch_no_quirk(expected: dict[str, Any]) -> None:
    entry = expected["counting_livecell"]
    numbers = list(zip(entry["fluorescence"], entry["prediction"], strict=True))
    found = metric("counts_livecell").pool(numbers, "corrected", below=1600).fields
    assert close(found["R2"], entry["r2_below_1600(sklearn r2_score(true,pred))"], 1e-15)
    assert found["linearity_break"] == entry["linearity_cutoff(start 500, step 1, p 1e-5, k 5)"]
    assert close(metric("mape").pool(numbers, "corrected").value, entry["mape_all"], 1e-15)
    mae = metric("mae").pool(numbers, "corrected").fields
    assert close([mae["mae"], mae["rmse"]], [entry["mae_all"], entry["rmse_all"]], 1e-15)


COCO_AREAS = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
LIVECELL_AREAS = {"": (0.0, 1e10), "s": (0.0, 18.0**2), "m": (18.0**2, 31.0**2), "l": (31.0**2, 1e10)}
STEPS = np.linspace(0.5, 0.95, 10).tolist()


def decoded(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """Decode compressed COCO counts: five bits per character, low first, differences to the count before the last."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            group = ord(text[at]) - 48
            value |= (group & 31) << shift
            more, at, shift = bool(group & 32), at + 1, shift + 5
        if group & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def coco_iou(cell: Document, found: Document, shape: str) -> float:
    if shape == "bbox":
        (x, y, w, h), (X, Y, W, H) = cell["bbox"], found["bbox"]
        shared = max(0.0, min(x + w, X + W) - max(x, X)) * max(0.0, min(y + h, Y + H) - max(y, Y))
        return float(shared / (W * H if cell["iscrowd"] else w * h + W * H - shared)) if shared else 0.0
    a, b = cell["mask"], found["mask"]
    shared = int(np.sum(a & b))
    return shared / int(np.sum(b) if cell["iscrowd"] else np.sum(a | b)) if shared else 0.0


def verdicts(
    cells: list[Document], found: list[Document], iou: NDArray[Any], t: float, low: float, high: float
) -> list[bool | None]:
    """Say for each detection, by decreasing score, whether it hits; None if it is not counted."""
    region = [bool(c["iscrowd"]) or not low <= c["area"] <= high for c in cells]
    taken: set[int] = set()
    out: list[bool | None] = []
    for j, detection in enumerate(found):
        best, chosen = min(t, 1 - 1e-10), -1
        near = [i for i in np.flatnonzero(iou[:, j]).tolist() if i not in taken or cells[i]["iscrowd"]]
        for skipped in (False, True):
            if chosen < 0:
                for i in (i for i in near if region[i] is skipped):
                    if iou[i, j] >= best:
                        best, chosen = iou[i, j], i
        taken |= {chosen} - {-1}
        ignored = region[chosen] if chosen >= 0 else not low <= detection["area"] <= high
        out.append(None if ignored else chosen >= 0)
    return out


def curve(ranked: Sequence[tuple[float, bool | None]], n_gt: int) -> tuple[float, float]:
    """Compute AP and the final recall; undefined without cells."""
    if not n_gt:
        return NAN, NAN
    order = sorted(ranked, key=lambda r: -r[0])  # stable
    hits = np.array([v for _, v in order if v is not None], bool)
    tp = np.cumsum(hits)
    precision = tp / (np.arange(1, len(tp) + 1) + np.spacing(1))
    bars = [precision[tp / n_gt >= r].max(initial=0.0) for r in np.linspace(0, 1, 101)]
    return float(np.mean(bars)), float(hits.sum() / n_gt)


class SlowCoco:
    """Apply COCO's rule to full masks and dense matrices; an annotation can be found whatever its id."""

    def __init__(self, gt: Document, dt: list[Document], shape: str) -> None:
        self.keys = sorted(c["id"] for c in gt["categories"])
        self.groups: dict[tuple[int, int], tuple[list[Document], list[Document], NDArray[Any]]] = {}
        for image in sorted(gt["images"], key=lambda r: r["id"]):
            for key in self.keys:
                mine = [r for r in gt["annotations"] if (r["image_id"], r["category_id"]) == (image["id"], key)]
                cells = [self._opened(r, shape) for r in mine]
                found = [self._opened(r, shape) for r in dt if (r["image_id"], r["category_id"]) == (image["id"], key)]
                found.sort(key=lambda r: -r["score"])
                iou = np.array([[coco_iou(c, f, shape) for f in found] for c in cells]).reshape(len(cells), len(found))
                self.groups[image["id"], key] = cells, found, iou

    def _opened(self, row: Document, shape: str) -> Document:
        mask = decoded(row["segmentation"]["counts"], *row["segmentation"]["size"])
        rows, columns = np.nonzero(mask)
        tight = [0.0] * 4
        if len(rows):
            tight = [columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1]
        area = row.get("area", float(mask.sum()))
        return {"iscrowd": 0, "bbox": tight, **row, "mask": mask, "area": area}

    def of_class(self, key: int, area: tuple[float, float], limits: Sequence[int]) -> NDArray[Any]:
        """Compute (AP, recall) by threshold and limit."""
        out = np.full((len(STEPS), len(limits), 2), NAN)
        for k, t in enumerate(STEPS):
            ranked: list[list[tuple[float, bool | None]]] = [[] for _ in limits]
            n_gt = 0
            for (_, of), (cells, found, iou) in self.groups.items():
                if of != key:
                    continue
                said = verdicts(cells, found[: limits[-1]], iou, t, *area)
                n_gt += sum(not c["iscrowd"] and area[0] <= c["area"] <= area[1] for c in cells)
                for rows, limit in zip(ranked, limits, strict=True):
                    rows += list(zip([f["score"] for f in found[:limit]], said[:limit], strict=True))
            out[k] = [curve(rows, n_gt) for rows in ranked]
        return out

    def summary(self, areas: Mapping[str, tuple[float, float]], limits: Sequence[int]) -> dict[str, Any]:
        table = {s: np.stack([self.of_class(key, a, limits) for key in self.keys]) for s, a in areas.items()}
        whole = table[""]
        out: dict[str, Any] = {f"AP{s}": mean_of_known(v[:, :, -1, 0].ravel().tolist()) for s, v in table.items()}
        out |= {f"AR{s}": mean_of_known(v[:, :, -1, 1].ravel().tolist()) for s, v in table.items() if s}
        out |= {"AP50": mean_of_known(whole[:, 0, -1, 0].tolist()), "AP75": mean_of_known(whole[:, 5, -1, 0].tolist())}
        out |= {f"AR{n}": mean_of_known(whole[:, :, k, 1].ravel().tolist()) for k, n in enumerate(limits)}
        for name, axis in (("AP_per_iou", 0), ("AR_per_iou", 1)):
            out[name] = [mean_of_known(whole[:, k, -1, axis].tolist()) for k in range(len(STEPS))]
        return out | ({"AFNR": 1 - out["AR2000"]} if limits[-1] == 2000 else {})


def coco_pairs(gt: Document, dt: list[Document]) -> list[Pair]:
    keys = sorted(c["id"] for c in gt["categories"])
    words, made = tuple(map(str, keys)), []
    for image in sorted(gt["images"], key=lambda r: r["id"]):
        size = (image["height"], image["width"])
        cells, found = ([r for r in rows if r["image_id"] == image["id"]] for rows in (gt["annotations"], dt))
        truth, guess = masks_of(cells, keys), masks_of(found, keys)
        areas, scores = np.array([r["area"] for r in cells], float), np.array([r["score"] for r in found], float)
        crowd, ids = np.array([r["iscrowd"] for r in cells], bool), [str(r["id"]) for r in cells]
        columns: Document = {"crowd": crowd, "published_area": areas, "source_ids": ids}
        if all("bbox" in r for r in cells):
            columns["published_boxes"] = np.array([r["bbox"] for r in cells], float).reshape(-1, 4)
        gt_side = Side.from_rle(size=size, class_names=words, **truth, **columns)
        dt_side = Side.from_rle(size=size, class_names=words, **guess, scores=scores)
        made.append(Pair(str(image["id"]), size, gt_side, dt_side))
    return made


def masks_of(rows: list[Document], keys: list[int]) -> Document:
    counts = [r["segmentation"]["counts"].encode() for r in rows]
    return {"counts": counts, "class_codes": np.array([keys.index(r["category_id"]) for r in rows], np.int64)}


CASES = ("absent_category", "annotation_id_zero", "crowd_1cat", "dsb_real_1cat", "plain_1cat", "truncation_duplicates")
RUNS: dict[str, tuple[str, dict[str, Any], Mapping[str, tuple[float, float]], tuple[int, ...]]] = {
    "coco": ("ap_coco", {}, COCO_AREAS, (1, 10, 100)),
    "bbox_coco": ("ap_coco", {"shape": "bbox"}, COCO_AREAS, (1, 10, 100)),
    "livecell": ("ap_livecell", {}, LIVECELL_AREAS, (100, 500, 2000)),
}
# The official code never finds an annotation with id 0; LIVECell's code reads only category 1.
COCO_DIFFERS = {("annotation_id_zero", run) for run in RUNS} | {("absent_category", "livecell")}


@pytest.mark.filterwarnings("ignore:all detections have the same score")
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", CASES)
def test_coco_is_the_rule_on_full_masks_and_the_reference_unless_an_annotation_has_the_id_zero(
    vectors: Path, expected: dict[str, Any], case: str, run: str
) -> None:
    data = json.loads((vectors / "datasets" / f"coco_{case}.json").read_text())
    gt, dt = data["gt"], data["dt"]
    name, options, areas, limits = RUNS[run]
    if (case, run) == ("absent_category", "livecell"):  # a single class: all categories pooled
        gt, dt = only_one_class(gt), only_one_class({"annotations": dt})["annotations"]
    found = fields(name, coco_pairs(gt, dt), **options)
    rule = SlowCoco(gt, dt, options.get("shape", "segm")).summary(areas, limits)
    for key, value in rule.items():
        assert close(found[key], value, 1e-12), (key, found[key], value)
    numbers = expected[f"coco_{case}"][f"{run}_pycocotools"]
    official = {k: v for k, v in numbers.items() if k in rule}
    official |= {f"AR{n}": v for n, v in zip(numbers["maxDets"], numbers["AR_maxDets"], strict=True)}
    differs = [k for k, v in official.items() if not close(found[k], undefined(v))]
    assert bool(differs) == ((case, run) in COCO_DIFFERS), differs
    again = expected[f"coco_{case}"].get(f"same_data_ids_plus_1_{run}_pycocotools", {})
    for key in set(again) & set(rule):
        assert close(found[key], undefined(again[key])), key


def only_one_class(document: Document) -> Document:
    rows = [row | {"category_id": 1} for row in document["annotations"]]
    return {**document, "annotations": rows, "categories": [{"id": 1}]}


def undefined(value: Any) -> Any:
    """Convert pycocotools' -1 to NaN."""
    return [undefined(v) for v in value] if isinstance(value, list) else NAN if value == -1 else value


@pytest.mark.parametrize("case", ["plain_1cat", "crowd_1cat"])
def test_tide_touches_no_quirk_with_less_than_a_hundred_detections(
    vectors: Path, expected: dict[str, Any], case: str
) -> None:
    data = json.loads((vectors / "datasets" / f"coco_{case}.json").read_text())
    pairs = coco_pairs(data["gt"], data["dt"])
    assert max(len(p.pred) for p in pairs) <= 100
    numbers = expected[f"tide_{case}"]
    result = score_pairs(metric("tide"), pairs)
    errors = numbers["errors(dAP at pos_thresh 0.5)"]
    assert result.value == numbers["AP@0.5"]
    assert result.fields["dAP"] == errors["main"]["p"] | errors["special"]["p"]
    assert result.fields["counts"] == numbers["counts"]
    assert score_pairs(metric("tide"), pairs, pos_thresh=0.75).value == numbers["AP@0.75"]


@pytest.mark.filterwarnings("ignore:.*share their score")
@pytest.mark.parametrize("case", ["hpa_small", "hpa_absent_classes", "hpa_iou_tie"])
def test_hpa_has_no_quirk(vectors: Path, expected: dict[str, Any], case: str) -> None:
    data = json.loads((vectors / "datasets" / f"{case}.json").read_text())
    pairs = [hpa_pair(image, row, data["ground_truth"]) for image, row in data["submission_rows"].items()]
    for key, numbers in expected[case].items():
        absent = "ignore" if "absent_ignored" in key else "fp"
        result = score_pairs(metric("map_hpa2021"), pairs, threshold=float(key[3:6]), absent_class=absent)
        for name, number in numbers.items():
            word = name.rsplit("/", 1)[-1]
            found = result.value if "mAP" in word else result.fields["AP_per_class"].get(word, NAN)
            assert close(found, number), (key, name)


def hpa_pair(image: str, row: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> Pair:
    size, words = (row["ImageHeight"], row["ImageWidth"]), tuple(str(k) for k in range(19))
    mine = [c for c in cells if c["ImageID"] == image]
    tokens = row["PredictionString"].split()
    sides = []
    for masks, labels, columns in (
        ([c["Mask"] for c in mine], [c["LabelName"] for c in mine], {"crowd": [bool(c["IsGroupOf"]) for c in mine]}),
        (tokens[2::3], tokens[::3], {"scores": [float(v) for v in tokens[1::3]]}),
    ):
        counts = [zlib.decompress(base64.b64decode(m)) for m in masks]
        codes = np.array(labels, np.int64)
        arrays = {k: np.array(v) for k, v in columns.items()}
        sides.append(Side.from_rle(counts, size, class_codes=codes, class_names=words, **arrays))
    return Pair(image, size, sides[0], sides[1])
