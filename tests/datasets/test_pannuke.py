"""PanNuke: ids, classes and defects of its arrays against brute force, and damaged folds."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable.errors import CelltableError, InputError
from celltable.notation.pannuke import CLASS_NAMES

from .releases import Case, cells_of, check_case, cut, make_example, read_all, rules

MASKS = "Fold 1/masks/fold1/masks.npy"
IMAGES = "Fold 1/images/fold1/images.npy"
TYPES = "Fold 1/images/fold1/types.npy"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example("pannuke", tmp_path_factory.mktemp("pannuke") / "PanNuke")


def _edit(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda root: np.save(root / name, change(np.load(root / name)))


def _set(value: float, *where: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[where] = value
        return array

    return change


CASES: dict[str, Case] = {
    "masks are missing": (lambda r: (r / MASKS).unlink(), "missing-annotation", 1, cells_of("fold1")),
    "images are missing": (lambda r: (r / IMAGES).unlink(), "missing-image", 1, cells_of("fold1")),
    "tissues are missing": (lambda r: (r / TYPES).unlink(), "missing-tissues", 1, 0),
    "a tissue too few": (_edit(TYPES, lambda a: a[:-1]), "missing-tissues", 1, 0),
    "an unknown tissue": (_edit(TYPES, lambda a: np.array(["Brain", *a[1:]])), "unknown-tissue", 1, 0),
    "a class number that is not a whole number": (_edit(MASKS, _set(0.5, 1, 40, 40, 5)), "mask-values", 1, 0),
    "a negative id": (_edit(MASKS, _set(-3, 1, 40, 40, 5)), "mask-values", 1, 0),
    "an id that is not a number": (_edit(MASKS, _set(np.nan, 1, 40, 40, 5)), "mask-values", 1, 0),
    "a patch of zeros": (_edit(MASKS, _set(0, 1)), "void-patch", 1, cells_of("fold1_0001")),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_bad_array_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("pannuke", pristine, tmp_path, CASES[case])


def _pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}, None, None], dtype=object), allow_pickle=True)


ENDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "masks of another size": (_edit(MASKS, lambda a: a[:, :-1]), "expected"),
    "masks of a patch less": (_edit(MASKS, lambda a: a[:-1]), "expected"),
    "masks without background": (_edit(MASKS, lambda a: a[..., :5]), "expected"),
    "images without colour": (_edit(IMAGES, lambda a: a[..., 0]), "expected"),
    "masks cut short": (lambda r: cut(r / MASKS), "cut short"),
    "pickled masks": (lambda r: _pickled(r / MASKS), "pickle|object"),
    "pickled tissues": (lambda r: _pickled(r / TYPES), "pickle|object"),
}


@pytest.mark.parametrize("case", ENDS)
def test_an_array_that_cannot_be_read_ends_the_command(case: str, pristine: Path, tmp_path: Path) -> None:
    spoil, words = ENDS[case]
    root = Path(shutil.copytree(pristine, tmp_path / "PanNuke"))
    spoil(root)
    with pytest.raises(CelltableError, match=words) as error:
        read_all("pannuke", root)
    assert isinstance(error.value, InputError)


def test_cells_are_the_distinct_ids_of_each_channel(pristine: Path) -> None:
    samples, _ = read_all("pannuke", pristine)
    for fold in (1, 2):
        masks = np.load(pristine / MASKS.replace("1", str(fold)))
        for row, planes in enumerate(masks):
            expected = {
                (CLASS_NAMES[c], f"{c}:{int(i)}"): int((planes[..., c] == i).sum())
                for c in range(5)
                for i in np.unique(planes[..., c])
                if i
            }
            cells = samples[f"fold{fold}_{row:04d}"].instances
            keys = zip(cells.column("class_name"), cells.column("source_id"), strict=True)
            assert dict(zip(keys, cells.area.tolist(), strict=True)) == expected


def test_ids_past_255_stay_apart(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / "PanNuke"))
    masks = np.zeros((3, 64, 64, 6))
    masks[0, :4, :4, 0], masks[0, 10:14, :4, 0], masks[0, 20:24, :4, 0] = 1, 257, 65537
    np.save(root / MASKS, masks)
    samples, _ = read_all("pannuke", root, ("fold1",))
    assert samples["fold1_0000"].instances.column("source_id") == ["0:1", "0:257", "0:65537"]


@pytest.mark.real
def test_the_real_slice_has_the_published_cells_and_tissues(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all("pannuke", sample("pannuke/fold_3_slice.zip"))
    assert [len(s.instances) for s in samples.values()] == [6, 14, 3, 2, 37, 19, 18, 16, 79]
    assert [s.image.tissue for s in samples.values()] == [
        "Breast", "Breast", "Esophagus", "Bile-duct", "Cervix", "Colon", "Colon", "Liver", "Testis",
    ]  # fmt: skip
    classes = Counter(c for s in samples.values() for c in s.instances.column("class_name"))
    assert [classes[c] for c in CLASS_NAMES] == [45, 89, 44, 0, 16]
    assert not set(rules(findings)) & {"cross-class-overlap", "void-pixels", "void-patch", "missing-annotation"}
    assert {s.image.leakage_group for s in samples.values()} == {"fold3"}
