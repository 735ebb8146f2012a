"""Arrays in, pairs out: label maps, lists of them, class layers, with checks that say what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MaskError, MetricError, NotFoundError

from .pair import Pair
from .side import Side

PANNUKE = (
    "Neoplastic",
    "Inflammatory",
    "Connective",
    "Dead",
    "Epithelial",
)  # channels 0-4 of masks.npy; 5 is background
Missing = Literal["error", "empty"]
Unknown = Literal["error", "ignore"]


def checked_map(array: Any, where: str) -> NDArray[Any]:
    """A 2-D integer label map, or an error that says what was found.

    Whole-numbered float maps are taken as integers.

    Raises
    ------
    MaskError
        For another number of dimensions, a boolean or fractional map, or a negative label.
    """
    found = np.asarray(array)
    if found.ndim != 2:
        raise MaskError(f"{where}: found an array of shape {found.shape}; expected a label map (rows, columns)")
    if found.dtype == bool:
        raise MaskError(
            f"{where}: found a boolean mask; expected a label map with one number a cell. "
            "skimage.measure.label makes one from a mask whose cells do not touch"
        )
    if found.dtype.kind == "f":
        if not np.isfinite(found).all():
            raise MaskError(f"{where}: found NaN or infinity in the map; expected whole numbers, one a cell")
        whole = found.astype(np.int64)
        if not np.array_equal(whole, found):
            bad = found[whole != found].flat[0]
            raise MaskError(
                f"{where}: found the value {bad}; expected whole numbers, one a cell. Is this a probability map?"
            )
        found = whole
    if found.dtype.kind not in "iu":
        raise MaskError(f"{where}: found type {found.dtype}; expected integers")
    if found.dtype.kind == "i" and found.size and int(found.min()) < 0:
        raise MaskError(f"{where}: found the label {int(found.min())}; expected 0 for background and positive labels")
    return found


def as_maps(value: Any) -> list[Any]:
    """One entry an image: a single 2-D map, a 3-D stack, a 4-D stack of class layers, or a sequence of arrays."""
    if isinstance(value, np.ndarray) and (value.dtype != object or value.ndim > 1):
        return [value] if value.ndim == 2 else list(value)
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value)


def pairs_from_arrays(
    gt: Any,
    pred: Any,
    *,
    classes: tuple[Any, Any] | None = None,
    scores: Any = None,
    class_names: Sequence[str] = (),
    image_ids: Sequence[str] | None = None,
    meta: Sequence[Mapping[str, Any]] | None = None,
) -> list[Pair]:
    """Pairs of label maps in memory.

    Parameters
    ----------
    gt, pred
        A label map (rows, columns), a list or stack of them (one an image), or a PanNuke stack (image, row, column,
        class).
    classes
        (of the ground truth, of the predictions): for each image the class of each cell in ascending order of its
        label, a mapping label → class, or a class map of the image's size. Classes are names or whole numbers.
    scores
        For each image the confidence of each prediction in ascending order of its label, a mapping, or an array indexed
        by label (one longer than the largest label).
    class_names
        Class names in their order; by default those that occur, sorted. Layer names of a PanNuke stack.
    image_ids, meta
        One id (by default "0", "1", …) and one mapping of columns an image.

    Raises
    ------
    MaskError
        If an array is not a label map.
    MetricError
        If the numbers of images, the sizes, or the number of classes and scores do not agree.

    >>> gt = np.array([[1, 1, 0, 2]]); pred = np.array([[1, 1, 0, 0]])
    >>> pairs_from_arrays(gt, pred)[0].table.iou
    array([1.])
    """
    gt_maps, pred_maps = _lists(gt, pred, classes, scores)
    if len(gt_maps) != len(pred_maps):
        raise MetricError(
            f"{len(gt_maps)} ground-truth maps and {len(pred_maps)} predicted ones; expected one each an image"
        )
    ids = [str(i) for i in (image_ids if image_ids is not None else range(len(gt_maps)))]
    if len(ids) != len(gt_maps) or len(set(ids)) != len(ids):
        raise MetricError(f"{len(gt_maps)} images and {len(set(ids))} different image ids; expected one id an image")
    gt_classes, pred_classes = _both_classes(classes, len(ids))
    confidences = None if scores is None else _each(scores, len(ids), "scores")
    sides = [
        (
            _side(g, f"image {i}, ground truth", gt_classes, k, None),
            _side(p, f"image {i}, prediction", pred_classes, k, confidences),
        )
        for k, (i, g, p) in enumerate(zip(ids, gt_maps, pred_maps, strict=True))
    ]
    words = tuple(class_names) or _words(sides)
    _check_words(sides, words)
    return [
        _pair(i, _named(g, words), _named(p, words), {} if meta is None else meta[k])
        for k, (i, (g, p)) in enumerate(zip(ids, sides, strict=True))
    ]


_Raw = tuple[Any, NDArray[Any] | None, Any, dict[str, Any]]  # map or layers, ids, class of each cell, further columns


def _lists(gt: Any, pred: Any, classes: Any, scores: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(gt, Mapping) or isinstance(pred, Mapping):
        raise MetricError("found a mapping of images; expected lists of label maps with image_ids beside them")
    return as_maps(gt), as_maps(pred)


def _both_classes(classes: Any, n: int) -> tuple[list[Any] | None, list[Any] | None]:
    if classes is None:
        return None, None
    if not isinstance(classes, list | tuple) or len(classes) != 2 or any(isinstance(c, str) for c in classes):
        raise MetricError(
            "classes is no pair; expected classes=(of the ground truth, of the predictions), each with the class of "
            "every cell of every image"
        )
    gt, pred = (None if c is None else _each(c, n, "classes") for c in classes)
    return gt, pred


def _each(values: Any, n: int, what: str) -> list[Any]:
    """One entry an image; of a single image its values may be given as they are."""
    if isinstance(values, str) or (not isinstance(values, Mapping) and np.ndim(_outer(values)) == 0):
        raise MetricError(f"{what} is {values!r}; expected one entry a cell, in a list for each image")
    if n == 1 and (isinstance(values, Mapping) or not len(values) or _is_flat(values)):
        return [values]
    if isinstance(values, Mapping) or (len(values) and _is_flat(values) and np.ndim(values) == 1):
        raise MetricError(f"{what} is one list of {len(values)} for {n} images; expected one list for each image")
    if len(values) != n:
        raise MetricError(f"{what} of {len(values)} images for {n} images; expected one entry an image")
    return list(values)


def _outer(values: Any) -> Any:
    """What `values` is on the outside: a list of unequal lists makes no array."""
    return [0] if isinstance(values, list | tuple) else values


def _is_flat(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.dtype != object and values.ndim <= 2 and (values.ndim == 1 or values.shape[0] != 1)
    return all(isinstance(v, str | int | float | np.generic) or v is None for v in values)


def _side(array: Any, where: str, classes: list[Any] | None, k: int, scores: list[Any] | None) -> _Raw:
    array = np.asarray(array)
    columns: dict[str, Any] = {}
    if array.ndim == 3:
        return array, None, None, columns
    label_map = checked_map(array, where)
    if (classes is None or classes[k] is None) and scores is None:
        return label_map, None, None, columns
    ids = np.unique(label_map)
    ids = ids[ids > 0].astype(np.int64)
    of_class = (
        None if classes is None or classes[k] is None else _per_cell(classes[k], ids, label_map, where, "classes")
    )
    if scores is not None:
        values = _numbers(_per_cell(scores[k], ids, label_map, where, "scores"), where)
        if np.isnan(values).any():
            raise MetricError(
                f"{where}: {int(np.isnan(values).sum())} scores are NaN; expected a number for every prediction"
            )
        columns["scores"] = values
    return label_map, ids, of_class, columns


def _numbers(values: list[Any], where: str) -> NDArray[np.float64]:
    try:
        return np.asarray([np.nan if v is None else v for v in values], np.float64)
    except (TypeError, ValueError) as exc:
        raise MetricError(f"{where}: found scores such as {values[0]!r}; expected a number for every cell") from exc


def _per_cell(values: Any, ids: NDArray[np.int64], label_map: NDArray[Any], where: str, what: str) -> list[Any]:
    """One value a label, ascending."""
    if isinstance(values, Mapping):
        missing = [i for i in ids.tolist() if i not in values]
        if missing:
            raise MetricError(f"{where}: no {what} for labels {missing[:5]}; expected one for every label of the map")
        return [values[i] for i in ids.tolist()]
    array = values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)
    if array.ndim == 2 and array.shape == label_map.shape:
        flat, index = label_map.ravel(), np.unique(label_map.ravel(), return_index=True)
        first = dict(zip(index[0].tolist(), index[1].tolist(), strict=True))
        return [array.ravel()[first[i]] for i in ids.tolist()] if flat.size else []
    if len(array) == len(ids):
        return list(array.tolist())
    if len(ids) and len(array) == int(ids[-1]) + 1:
        return [array[i] for i in ids.tolist()]
    raise MetricError(
        f"{where}: {len(array)} {what} for {len(ids)} cells; expected one a cell in ascending order of the labels, or "
        "a mapping"
    )


def _words(sides: Sequence[tuple[_Raw, _Raw]]) -> tuple[str, ...]:
    found = {v for pair in sides for side in pair if side[2] is not None for v in side[2]}
    if any(np.ndim(side[0]) == 3 for pair in sides for side in pair):
        return PANNUKE
    numbers = [v for v in found if not isinstance(v, str) and v is not None]
    return tuple(str(v) for v in sorted(numbers)) + tuple(sorted(v for v in found if isinstance(v, str)))


def _check_words(sides: Sequence[tuple[_Raw, _Raw]], words: tuple[str, ...]) -> None:
    found = {str(v) for pair in sides for side in pair if side[2] is not None for v in side[2] if v is not None}
    strange = sorted(found - set(words))
    if strange:
        raise MetricError(
            f"found cells of class {', '.join(strange[:5])}, which class_names lacks: {', '.join(words)}. Add it "
            "to the class_names, or give such cells the class None."
        )


def _named(raw: _Raw, words: tuple[str, ...]) -> Side:
    array, ids, of_class, columns = raw
    if np.ndim(array) == 3:
        if array.shape[2] < len(words):
            raise MaskError(f"found {array.shape[2]} class layers; expected {len(words)} or more: {', '.join(words)}")
        return Side.from_layers(array, words)
    if of_class is not None:
        code = {w: k for k, w in enumerate(words)}
        columns["class_codes"] = np.asarray([code.get(str(v), -1) for v in of_class], np.int64)
        columns["class_names"] = words
    elif not words:
        return Side.from_label_map(array, given_ids=ids, **columns)
    elif ids is not None and not len(ids):
        columns["class_codes"] = np.zeros(0, np.int64)
        columns["class_names"] = words
    return Side.from_label_map(array, given_ids=ids, **columns)


def _pair(image_id: str, gt: Side, pred: Side, meta: Mapping[str, Any]) -> Pair:
    if gt.size != pred.size:
        raise MetricError(
            f"image {image_id}: the ground truth is {gt.size[0]}×{gt.size[1]} and the prediction "
            f"{pred.size[0]}×{pred.size[1]} pixels; expected the same size"
        )
    return Pair(image_id, gt.size, gt, pred, meta)


def join_images(
    gt_ids: Iterable[str], pred_ids: Iterable[str], *, missing: Missing = "error", unknown: Unknown = "error"
) -> tuple[list[str], list[str]]:
    """The images to score, and what to tell the reader about those that only one side has.

    Parameters
    ----------
    missing
        An image without predictions: "error", or "empty" (scored as if nothing was found there).
    unknown
        Predictions for an image that the ground truth does not have: "error" or "ignore".

    Raises
    ------
    NotFoundError
        If images are missing or unknown and that is an error.

    >>> join_images(["a", "b"], ["a"], missing="empty")
    (['a', 'b'], ['1 of 2 images has no prediction and is scored as empty: b.'])
    """
    truth, found = list(dict.fromkeys(gt_ids)), set(pred_ids)
    absent = [i for i in truth if i not in found]
    extra = sorted(found - set(truth))
    if not set(truth) & found and truth and found:
        raise NotFoundError(
            f"no image is on both sides: the ground truth has {_some(truth)}, the predictions {_some(sorted(found))}. "
            "Are the image ids spelt alike?"
        )
    if absent and missing == "error":
        raise NotFoundError(
            f"{len(absent)} of {len(truth)} images have no prediction: {_some(absent)}. Predict them, or say that a "
            "missing image means an empty prediction (missing='empty')."
        )
    if extra and unknown == "error":
        raise NotFoundError(
            f"there are predictions for {len(extra)} images that the ground truth does not have: {_some(extra)}. "
            "Remove them, or ignore them (unknown='ignore')."
        )
    notes = []
    if absent:
        verb = "has no prediction and is" if len(absent) == 1 else "have no prediction and are"
        notes.append(f"{len(absent)} of {len(truth)} images {verb} scored as empty: {_some(absent)}.")
    if extra:
        notes.append(f"Predictions for {len(extra)} images without ground truth were ignored: {_some(extra)}.")
    return truth, notes


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


def label_map_pairs(items: Iterable[tuple[str, Any, Any]]) -> Iterator[Pair]:
    """Pairs from (image id, ground-truth map, predicted map), one at a time, for data that do not fit into memory."""
    for image_id, gt, pred in items:
        sides = (checked_map(gt, f"image {image_id}, ground truth"), checked_map(pred, f"image {image_id}, prediction"))
        yield _pair(image_id, Side.from_label_map(sides[0]), Side.from_label_map(sides[1]), {})
