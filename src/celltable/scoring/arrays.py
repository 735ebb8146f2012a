"""Make pairs from arrays in memory: label maps, lists of them, class layers; bad input ends in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MaskError, MetricError
from celltable.notation.pannuke import CLASS_NAMES

from .pair import Pair
from .side import Side


def checked_map(array: Any, where: str) -> NDArray[Any]:
    """Check that an array is a 2-D integer label map; whole-numbered floats are converted.

    Raises
    ------
    MaskError
        For another number of dimensions, a boolean or fractional map, or a negative label.
    """
    labels = np.asarray(array)
    if labels.ndim != 2:
        raise MaskError(f"{where}: found an array of shape {labels.shape}; expected a label map (rows, columns)")
    if labels.dtype == bool:
        raise MaskError(
            f"{where}: found a boolean mask; expected a label map with one number per cell. "
            "skimage.measure.label makes one from a mask whose cells do not touch"
        )
    if labels.dtype.kind == "f":
        labels = _whole(labels, where)
    if labels.dtype.kind not in "iu":
        raise MaskError(f"{where}: found type {labels.dtype}; expected integers")
    if labels.dtype.kind == "i" and labels.size and int(labels.min()) < 0:
        raise MaskError(f"{where}: found the label {int(labels.min())}; expected 0 for background and positive labels")
    return labels


def _whole(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    if not np.isfinite(labels).all():
        raise MaskError(f"{where}: found NaN or infinity in the map; expected whole numbers, one per cell")
    whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels):
        bad = labels[whole != labels].flat[0]
        raise MaskError(
            f"{where}: found the value {bad}; expected whole numbers, one per cell. Is this a probability map?"
        )
    return whole


def is_array(value: Any) -> bool:
    """Return whether a value is an array or a list of arrays, not a path or a store."""
    return hasattr(value, "__array__") or (
        isinstance(value, list | tuple) and all(hasattr(v, "__array__") for v in value)
    )


def as_maps(value: Any) -> list[Any]:
    """List the maps, one per image, of a 2-D map, a 3-D stack, a 4-D stack of class layers or a sequence of arrays."""
    if isinstance(value, np.ndarray) and (value.dtype != object or value.ndim > 1):
        return [value] if value.ndim == 2 else list(value)
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
    """Make pairs of label maps in memory.

    Parameters
    ----------
    gt, pred
        A label map (rows, columns), a list or stack of them (one per image), or a PanNuke stack (image, row, column,
        class).
    classes
        (of the ground truth, of the predictions): for each image, the class of each cell in ascending order of the
        labels, a mapping label → class, or a class map of the image's size. Classes are names or whole numbers.
    scores
        For each image, the confidence of each prediction in ascending order of the labels, a mapping, or an array
        indexed by label (one longer than the largest label).
    class_names
        Class names in order; by default those that occur, sorted. For a PanNuke stack, the names of its layers.
    image_ids, meta
        One id (by default "0", "1", …) and one mapping of columns per image.

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
    gt_maps, pred_maps = _lists(gt, pred)
    if len(gt_maps) != len(pred_maps):
        raise MetricError(
            f"{len(gt_maps)} ground-truth maps and {len(pred_maps)} predicted ones; expected one of each per image"
        )
    ids = [str(i) for i in (image_ids if image_ids is not None else range(len(gt_maps)))]
    if len(ids) != len(gt_maps) or len(set(ids)) != len(ids):
        raise MetricError(f"{len(gt_maps)} images and {len(set(ids))} different image ids; expected one id per image")
    gt_classes, pred_classes = _both_classes(classes, len(ids))
    confidences = None if scores is None else _each(scores, len(ids), "scores")
    arrays = [
        (
            _checked(g, f"image {i}, ground truth", gt_classes, k, None),
            _checked(p, f"image {i}, prediction", pred_classes, k, confidences),
        )
        for k, (i, g, p) in enumerate(zip(ids, gt_maps, pred_maps, strict=True))
    ]
    names = tuple(class_names) or _occurring(arrays)
    _check_names(arrays, names)
    return [
        _pair(i, _side(g, names), _side(p, names), {} if meta is None else meta[k])
        for k, (i, (g, p)) in enumerate(zip(ids, arrays, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class _Checked:
    """One side of an image: a label map or a stack of layers, and columns in ascending order of the labels."""

    array: NDArray[Any]
    ids: NDArray[np.int64] | None = None
    classes: list[Any] | None = None
    scores: NDArray[np.float64] | None = None


def _lists(gt: Any, pred: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(gt, Mapping) or isinstance(pred, Mapping):
        raise MetricError("found a mapping of images; expected lists of label maps with image_ids beside them")
    return as_maps(gt), as_maps(pred)


def _both_classes(classes: Any, n: int) -> tuple[list[Any] | None, list[Any] | None]:
    if classes is None:
        return None, None
    if not isinstance(classes, list | tuple) or len(classes) != 2 or any(isinstance(c, str) for c in classes):
        raise MetricError(
            "classes is not a pair; expected classes=(of the ground truth, of the predictions), each with the class of "
            "every cell of every image"
        )
    gt, pred = (None if c is None else _each(c, n, "classes") for c in classes)
    return gt, pred


def _each(values: Any, n: int, what: str) -> list[Any]:
    """List the values of each image; those of a single image need not be in a list."""
    if isinstance(values, str) or (not isinstance(values, Mapping) and np.ndim(_outer(values)) == 0):
        raise MetricError(f"{what} is {values!r}; expected one entry per cell, in a list for each image")
    if n == 1 and (isinstance(values, Mapping) or not len(values) or _is_flat(values)):
        return [values]
    if isinstance(values, Mapping) or (len(values) and _is_flat(values) and np.ndim(values) == 1):
        raise MetricError(f"{what} is one list of {len(values)} for {n} images; expected one list for each image")
    if len(values) != n:
        raise MetricError(f"{what} of {len(values)} images for {n} images; expected one entry per image")
    return list(values)


def _outer(values: Any) -> Any:
    """Replace a list by a flat one, because NumPy cannot make an array from lists of unequal lengths."""
    return [0] if isinstance(values, list | tuple) else values


def _is_flat(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.dtype != object and values.ndim <= 2 and (values.ndim == 1 or values.shape[0] != 1)
    return all(isinstance(v, str | int | float | np.generic) or v is None for v in values)


def _checked(array: Any, where: str, classes: list[Any] | None, k: int, scores: list[Any] | None) -> _Checked:
    """Check one side of image k and put its classes and scores in the order of the labels."""
    array = np.asarray(array)
    if array.ndim == 3:
        return _Checked(array)
    label_map = checked_map(array, where)
    own_classes = None if classes is None else classes[k]
    if own_classes is None and scores is None:
        return _Checked(label_map)
    ids = np.unique(label_map)
    ids = ids[ids > 0].astype(np.int64)
    by_cell = None if own_classes is None else _per_cell(own_classes, ids, label_map, where, "classes")
    if scores is None:
        return _Checked(label_map, ids, by_cell)
    values = _numbers(_per_cell(scores[k], ids, label_map, where, "scores"), where)
    if np.isnan(values).any():
        raise MetricError(
            f"{where}: {int(np.isnan(values).sum())} scores are NaN; expected a number for every prediction"
        )
    return _Checked(label_map, ids, by_cell, values)


def _numbers(values: list[Any], where: str) -> NDArray[np.float64]:
    try:
        return np.asarray([np.nan if v is None else v for v in values], np.float64)
    except (TypeError, ValueError) as exc:
        raise MetricError(f"{where}: found scores such as {values[0]!r}; expected a number for every cell") from exc


def _per_cell(values: Any, ids: NDArray[np.int64], label_map: NDArray[Any], where: str, what: str) -> list[Any]:
    """Expand values to one per label, in ascending order of the labels."""
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
        f"{where}: {len(array)} {what} for {len(ids)} cells; expected one per cell in ascending order of the labels, "
        "or a mapping"
    )


def _occurring(arrays: Sequence[tuple[_Checked, _Checked]]) -> tuple[str, ...]:
    """List the classes that occur, numbers first; the names of PanNuke's layers if a side has layers."""
    if any(np.ndim(side.array) == 3 for pair in arrays for side in pair):
        return CLASS_NAMES
    values = {v for pair in arrays for side in pair if side.classes is not None for v in side.classes}
    numbers = [v for v in values if not isinstance(v, str) and v is not None]
    return tuple(str(v) for v in sorted(numbers)) + tuple(sorted(v for v in values if isinstance(v, str)))


def _check_names(arrays: Sequence[tuple[_Checked, _Checked]], names: tuple[str, ...]) -> None:
    given = {v for pair in arrays for side in pair if side.classes is not None for v in side.classes}
    unknown = sorted({str(v) for v in given if v is not None} - set(names))
    if unknown:
        raise MetricError(
            f"found cells of class {', '.join(unknown[:5])}, which class_names lacks: {', '.join(names)}. Add it to "
            "class_names, or give such cells the class None."
        )


def _side(given: _Checked, names: tuple[str, ...]) -> Side:
    if given.array.ndim == 3:
        if given.array.shape[2] < len(names):
            raise MaskError(
                f"found {given.array.shape[2]} class layers; expected {len(names)} or more: {', '.join(names)}"
            )
        return Side.from_layers(given.array, names)
    columns: dict[str, Any] = {} if given.scores is None else {"scores": given.scores}
    if given.classes is not None:
        code = {name: k for k, name in enumerate(names)}
        columns["class_codes"] = np.asarray([code.get(str(v), -1) for v in given.classes], np.int64)
        columns["class_names"] = names
    elif names and given.ids is not None and not len(given.ids):
        columns["class_codes"] = np.zeros(0, np.int64)
        columns["class_names"] = names
    return Side.from_label_map(given.array, given_ids=given.ids, **columns)


def _pair(image_id: str, gt: Side, pred: Side, meta: Mapping[str, Any]) -> Pair:
    if gt.size != pred.size:
        raise MetricError(
            f"image {image_id}: the ground truth is {gt.size[0]}×{gt.size[1]} and the prediction "
            f"{pred.size[0]}×{pred.size[1]} pixels; expected the same size"
        )
    return Pair(image_id, gt.size, gt, pred, meta)
