"""Label-map metrics against the scripts they replace, on one machine in one run; prints ratios.

    python benchmarks/bench_metrics_label_maps.py            # stardist is measured where it is installed
    python benchmarks/bench_metrics_label_maps.py --quick

The HoVer-Net and PanNuke loops are transcribed below with their algorithm unchanged: one full-frame mask per instance,
one full-frame product per pair.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from celltable import plugins
from celltable.cells import Instances, Rows
from celltable.scoring import Pair, Side
from celltable.scoring.engine import evaluate_pairs

Map = NDArray[np.int32]
LABEL_MAP_METRICS = (
    "ap_dsb2018",
    "ap_stardist",
    "ap_cellpose",
    "aji_cellpose",
    "aji_kumar2017",
    "aji_plus",
    "dice_pixel",
    "dice_ensemble",
    "iou_pixel",
    "pq_hovernet",
    "pq_pannuke",
    "pq_cellvit",
    "pq_conic",
    "pq_monusac",
    "seg_ctc",
    "det_ctc",
    "errors_caicedo",
    "boundary_f_cellpose",
    "mae",
    "mape",
    "bias",
)


def cells(rng: np.random.Generator, height: int, width: int, n: int) -> tuple[Map, Map]:
    """Draw n discs on a jittered grid, and a prediction in which most are moved by up to two pixels."""
    rows = max(1, round((n * height / width) ** 0.5))
    columns = max(1, -(-n // rows))
    ry, rx = height / rows, width / columns
    radius = 0.42 * min(ry, rx)
    gt, pred = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
    for k in range(n):
        cy, cx = (k // columns + 0.5) * ry, (k % columns + 0.5) * rx
        for side, move in ((gt, 0.0), (pred, 2.0 if rng.random() < 0.9 else radius)):
            y, x = (c + rng.uniform(-move, move) for c in (cy, cx))
            y0, x0 = max(int(y - radius), 0), max(int(x - radius), 0)
            part = side[y0 : int(y + radius) + 2, x0 : int(x + radius) + 2]
            yy, xx = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
            part[(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = k + 1
    return gt, pred


def pair(gt: NDArray[Any], pred: NDArray[Any], name: str = "0") -> Pair:
    return Pair(name, (gt.shape[0], gt.shape[1]), Side.from_label_map(gt), Side.from_label_map(pred))


def median(run: Callable[[], Any], rounds: int = 5) -> float:
    """Return the median CPU seconds of some rounds (a shared machine disturbs them less than wall time)."""
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def line(what: str, ours: float, theirs: float | None, peer: str, target: str) -> None:
    ratio = "" if theirs is None else f"{theirs / ours:8.0f}x"
    there = "not installed" if theirs is None else f"{1e3 * theirs:10.2f} ms"
    print(f"{what:<52} {1e3 * ours:9.3f} ms  {peer:<26} {there:>14} {ratio:>9}  (target {target})")


# --- the scripts, transcribed ---------------------------------------------------------------------------------------


def remap_label(label_map: Map) -> Map:
    ids = [i for i in np.unique(label_map) if i]
    out = np.zeros(label_map.shape, np.int32)
    for k, i in enumerate(ids):
        out[label_map == i] = k + 1
    return out


def masks_of(label_map: Map) -> list[Any]:
    return [None, *(np.array(label_map == i, np.uint8) for i in np.unique(label_map)[1:])]


def pairwise(true: Map, pred: Map) -> tuple[NDArray[Any], NDArray[Any], list[Any], list[Any]]:
    """Compute intersections and unions of all overlapping pairs, with one full-frame product each."""
    true_masks, pred_masks = masks_of(true), masks_of(pred)
    inter = np.zeros((len(true_masks) - 1, len(pred_masks) - 1))
    union = np.zeros_like(inter)
    for i in range(1, len(true_masks)):
        for j in np.unique(pred[true_masks[i] > 0]):
            if j:
                total = (true_masks[i] + pred_masks[j]).sum()
                inter[i - 1, j - 1] = (true_masks[i] * pred_masks[j]).sum()
                union[i - 1, j - 1] = total - inter[i - 1, j - 1]
    return inter, union, true_masks, pred_masks


def hovernet_pq(true: Map, pred: Map) -> float:
    inter, union, true_masks, pred_masks = pairwise(true, pred)
    iou = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    kept = iou[iou > 0.5]
    tp, fn, fp = len(kept), len(true_masks) - 1 - len(kept), len(pred_masks) - 1 - len(kept)
    return float(tp / (tp + 0.5 * fp + 0.5 * fn) * (kept.sum() / (tp + 1e-6)))


def hovernet_aji(true: Map, pred: Map, plus: bool) -> float:
    inter, union, true_masks, pred_masks = pairwise(true, pred)
    iou = inter / (union + 1e-6)
    if plus:
        rows, columns = linear_sum_assignment(-iou)
    else:
        rows, columns = np.arange(len(iou)), np.argmax(iou, axis=1)
    kept = iou[rows, columns] > 0
    rows, columns = rows[kept], columns[kept]
    below = union[rows, columns].sum()
    below += sum(true_masks[i + 1].sum() for i in range(len(true_masks) - 1) if i not in set(rows))
    below += sum(pred_masks[j + 1].sum() for j in range(len(pred_masks) - 1) if j not in set(columns))
    return float(inter[rows, columns].sum() / below)


def hovernet_dice2(true: Map, pred: Map) -> float:
    inter, union, _, _ = pairwise(true, pred)
    return float(2 * inter.sum() / (inter + union).sum())


def hovernet_scripts(gt: Map, pred: Map) -> tuple[float, ...]:
    """Compute what compute_stats computes for one image."""
    true, found = remap_label(gt), remap_label(pred)
    both = (true > 0).astype(int) + (found > 0)
    dice1 = 2.0 * (both == 2).sum() / both.sum()
    aji, aji_plus = hovernet_aji(true, found, False), hovernet_aji(true, found, True)
    return dice1, hovernet_pq(true, found), aji, aji_plus, hovernet_dice2(true, found)


def binarize(stack: NDArray[Any]) -> Map:
    out, count = np.zeros(stack.shape[:2]), 1
    for channel in range(5):
        for value in np.unique(stack[..., channel])[1:]:
            mask = stack[..., channel] == value
            out *= 1 - mask
            out += count * mask
            count += 1
    return out.astype(np.int32)


def pannuke_loop(true: NDArray[Any], pred: NDArray[Any]) -> list[list[float]]:
    """Loop over patches as in run.py."""
    rows = []
    for t, p in zip(true, pred, strict=True):
        whole = binarize(t)
        row = [hovernet_pq(whole, binarize(p)) if whole.any() else np.nan]
        for channel in range(5):
            one, other = remap_label(t[..., channel].astype("int32")), remap_label(p[..., channel].astype("int32"))
            row.append(hovernet_pq(one, other) if one.any() else np.nan)
        rows.append(row)
    return rows


# --- data -----------------------------------------------------------------------------------------------------------


def patches(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Generate PanNuke-like patches: 256 x 256, six channels, float64, about 24 nuclei in up to five classes."""
    true, pred = np.zeros((n, 256, 256, 6)), np.zeros((n, 256, 256, 6))
    for k in range(n):
        gt, found = cells(rng, 256, 256, int(rng.integers(0, 49)))
        kind = rng.integers(0, 5, int(gt.max(initial=0)) + 1)
        for side, label_map in ((true, gt), (pred, found)):
            y, x = np.nonzero(label_map)
            side[k, y, x, kind[label_map[y, x]]] = label_map[y, x]
        true[k, ..., 5], pred[k, ..., 5] = gt == 0, found == 0
    return true, pred


def all_label_map_metrics(quick: bool) -> None:
    rng = np.random.default_rng(0)
    images = [cells(rng, 520, 704, 300) for _ in range(4 if quick else 50)]

    def ours(names: Sequence[str] = LABEL_MAP_METRICS) -> Any:
        pairs = [pair(g, p, str(k)) for k, (g, p) in enumerate(images)]
        return evaluate_pairs(pairs, names, rounds=0)

    ours()
    each = median(ours) / len(images)
    theirs = median(lambda: hovernet_scripts(*images[0]), 1)
    dice, pq, aji, aji_plus, dice2 = hovernet_scripts(*images[0])
    found = evaluate_pairs([pair(*images[0])], LABEL_MAP_METRICS, rounds=0, mode="strict")
    assert set(found) == set(LABEL_MAP_METRICS)  # all of them applied
    same = {"dice_pixel": dice, "pq_hovernet": pq, "aji_kumar2017": aji, "aji_plus": aji_plus, "dice_ensemble": dice2}
    for name, expected_value in same.items():
        assert abs(found[name].value - expected_value) < 1e-12, name
    peer = "HoVer-Net scripts (5)"
    line(f"{len(LABEL_MAP_METRICS)} label-map metrics, 520x704, 300 cells", each, theirs, peer, "2 ms, 100x")
    five = median(lambda: ours(tuple(same))) / len(images)
    line("the same five metrics, 520x704, 300 cells", five, theirs, peer, "100x")
    centres = median(lambda: ours(("f_hovernet", "f_cellvit"))) / len(images)
    line("centroid pairing (dense by its rule), 300 cells", centres, None, "", "-")


def matching(quick: bool) -> None:
    rng = np.random.default_rng(1)
    gt, pred = cells(rng, 1024, 1024, 500)
    metric = plugins.load("metrics", "ap_stardist")
    options = {**metric.defaults, "thresholds": (0.5,)}
    ours = median(lambda: metric.count(pair(gt, pred), "strict", **options), 9)
    theirs = None
    if importlib.util.find_spec("stardist"):
        from stardist.matching import matching as stardist_matching

        expected = stardist_matching(gt, pred)
        assert metric.count(pair(gt, pred), "strict", **options)["tp"][0] == expected.tp
        theirs = median(lambda: stardist_matching(gt, pred), 9)
    line("matching alone, 1024x1024, 500 cells", ours, theirs, "stardist matching()", "25x")


def dataset(quick: bool) -> None:
    rng = np.random.default_rng(2)
    n = 60 if quick else 670
    images = [cells(rng, 256, 256 if k % 2 else 320, int(rng.integers(5, 90))) for k in range(n)]

    def ours() -> Any:
        pairs = (pair(g, p, str(k)) for k, (g, p) in enumerate(images))
        return evaluate_pairs(pairs, ["ap_dsb2018"], rounds=0)

    theirs = None
    if importlib.util.find_spec("stardist"):
        from stardist.matching import matching_dataset

        gts, preds = [g for g, _ in images], [p for _, p in images]
        thresholds = tuple(np.arange(0.5, 1, 0.05).tolist())
        theirs = median(lambda: matching_dataset(gts, preds, thresholds, show_progress=False), 1)
    line(f"ap_dsb2018, {n} images, ten thresholds", median(ours, 3), theirs, "stardist matching_dataset", "10x")


def pannuke(quick: bool) -> None:
    rng = np.random.default_rng(3)
    n, whole = (40, 40) if quick else (200, 2656)
    true, pred = patches(rng, n)
    names = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")
    repeat = -(-whole // n)

    def ours(t: NDArray[Any] = true, p: NDArray[Any] = pred) -> Any:
        tissue = {"tissue": "x"}
        pairs = (
            Pair(str(r * n + k), (256, 256), Side.from_layers(t[k], names), Side.from_layers(p[k], names), tissue)
            for r in range(repeat)
            for k in range(n)
        )
        return evaluate_pairs(pairs, ["pq_pannuke"], mode="strict", rounds=0)

    some = slice(0, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pannuke_loop(true[some], pred[some])
        theirs = median(lambda: pannuke_loop(true[some], pred[some]), 1) / 20 * (repeat * n)
    few = evaluate_pairs(
        (Pair(str(k), (256, 256), *(Side.from_layers(s[k], names) for s in (true, pred))) for k in range(20)),
        ["pq_pannuke"],
        rounds=0,
    )
    assert abs(few["pq_pannuke"].fields["Average bPQ"] - np.nanmean([r[0] for r in expected])) < 1e-12
    peer = "PanNuke-metrics loop"
    line(f"PanNuke fold, {repeat * n} patches, float64 as published", median(ours, 1), theirs, peer, "100x")
    small = true.astype(np.uint16), pred.astype(np.uint16)
    line(f"PanNuke fold, {repeat * n} patches, uint16", median(lambda: ours(*small), 1), theirs, peer, "100x")
    tables = [[as_rows(side[k], names) for k in range(n)] for side in (true, pred)]
    groups = [pa.concat_tables(side).combine_chunks() for side in tables]
    ends = [np.cumsum([0, *(t.num_rows for t in side)]).tolist() for side in tables]

    def stored() -> Any:
        tissue = {"tissue": "x"}
        for _ in range(repeat):  # the way a store is read: row groups become columns, images are slices of them
            sides = [Rows(group) for group in groups]
            for k in range(n):
                cells = (Instances.of_rows(s, e[k], e[k + 1], (256, 256)) for s, e in zip(sides, ends, strict=True))
                gt, dt = (Side.from_instances(c, names, all_coded=True) for c in cells)
                yield Pair(str(k), (256, 256), gt, dt, tissue)

    def of_store() -> Any:
        pairs = (replace(pair, image_id=str(k)) for k, pair in enumerate(stored()))
        return evaluate_pairs(pairs, ["pq_pannuke"], mode="strict", rounds=0)

    assert of_store()["pq_pannuke"].fields == ours()["pq_pannuke"].fields
    line(f"PanNuke fold, {repeat * n} patches, rows of a store", median(of_store, 1), theirs, peer, "100x")


def as_rows(stack: NDArray[np.float64], names: Sequence[str]) -> Any:
    """Convert the patch to rows of a store's instances table, as ingest does."""
    side = Side.from_layers(stack, names)
    classes = [] if side.class_codes is None else [names[c] for c in side.class_codes.tolist()]
    return Instances(side.masks, class_name=classes).to_arrow("x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller loads")
    quick = parser.parse_args().quick
    for run in (all_label_map_metrics, matching, dataset, pannuke):
        run(quick)


if __name__ == "__main__":
    main()
