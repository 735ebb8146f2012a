"""Every built-in data set fulfils the contract, and the contract notices a reader that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from celltable import plugins
from celltable.cells import Finding, Sample
from celltable.imagefile import Release, open_release
from celltable.plugins.dataset import Dataset, Scan
from celltable.testing import DatasetTests
from celltable.testing.datasets import Example, read

DATASETS: dict[str, Dataset] = plugins.load_all("datasets")
WITH_PARTS = [name for name, dataset in DATASETS.items() if len(dataset.parts) > 1]


class TestEveryDataset(DatasetTests):
    names = plugins.names("datasets")


@contextmanager
def example_of(dataset: Dataset, folder: Path) -> Iterator[Example]:
    path = dataset.example(folder, 0)
    with open_release(path) as release:
        scan, samples = read(dataset, release)
        yield Example(dataset, path, release, scan, samples)


def test_most_data_sets_have_parts() -> None:
    assert len(WITH_PARTS) >= 10


@pytest.mark.parametrize("name", WITH_PARTS)
def test_a_reader_that_ignores_parts_breaks_the_contract(name: str, tmp_path: Path) -> None:
    dataset = DATASETS[name]

    def everything(release: Release, parts: tuple[str, ...]) -> Scan:
        return dataset.scan(release, ())

    with (
        example_of(replace(dataset, scan=everything), tmp_path) as example,
        pytest.raises(AssertionError, match="are not the whole|are the same"),
    ):
        DatasetTests().test_each_part_is_read_alone(example)


@pytest.mark.parametrize("name", WITH_PARTS)
def test_a_reader_that_loses_an_image_of_a_part_breaks_the_contract(name: str, tmp_path: Path) -> None:
    dataset = DATASETS[name]

    def short(release: Release, parts: tuple[str, ...]) -> Scan:
        scan = dataset.scan(release, parts)
        return replace(scan, items=scan.items[1:]) if parts else scan

    with example_of(replace(dataset, scan=short), tmp_path) as example, pytest.raises(AssertionError):
        DatasetTests().test_each_part_is_read_alone(example)


def test_a_defect_that_is_reported_but_not_declared_breaks_the_contract(tmp_path: Path) -> None:
    dataset = DATASETS["tnbc"]  # declares none

    def worried(release: Release, shared: Any, item: Any) -> Sample:
        sample = dataset.load(release, shared, item)
        return replace(sample, findings=(Finding("mask-values", "a value of 7"),))

    with example_of(replace(dataset, load=worried), tmp_path) as example, pytest.raises(AssertionError):
        DatasetTests().test_reading_the_example_reports_exactly_the_known_defects(example)


def test_a_reader_that_reports_no_damage_breaks_the_contract(tmp_path: Path) -> None:
    dataset = DATASETS["tnbc"]

    def silent(release: Release, shared: Any, item: Any) -> Sample:
        return replace(dataset.load(release, shared, item), findings=())

    with pytest.raises(AssertionError, match="no finding unreadable-image"):
        DatasetTests().test_a_damaged_file_is_reported_as_declared(replace(dataset, load=silent), "empty", tmp_path)
