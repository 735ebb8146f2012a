"""LIVECell's counts: which values are counts, how names are matched, and damaged files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from celltable.datasets.livecell_counts import parse_count
from celltable.errors import ArchiveError, InputError

from .releases import cut, make_example, read_all, rules

COUNTS = "A172_counts.json"
FIRST = "A172_Phase_B2_1_00d00h00m_1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_example("livecell_counts", tmp_path)


COUNTED: list[Any] = [("12", 12.0), (12, 12.0), (12.5, 12.5), (" 7 ", 7.0), ("0", 0.0), ("1e3", 1000.0)]
NOT_COUNTED: list[Any] = ["NaN", "inf", "-3", -3, "twelve", "", None, True, [], {}, float("nan")]


@pytest.mark.parametrize(("value", "count"), [*COUNTED, *((v, None) for v in NOT_COUNTED)])
def test_what_is_a_count(value: Any, count: float | None) -> None:
    assert parse_count(value) == count


@pytest.mark.parametrize("value", ["NaN", "many", None, -1, "inf"])
def test_a_count_that_is_not_a_number_is_a_finding_and_its_pair_is_left_out(value: Any, root: Path) -> None:
    before, findings_before = read_all("livecell_counts", root)
    counts = json.loads((root / COUNTS).read_text())
    (root / COUNTS).write_text(json.dumps({**counts, f"{FIRST}.tif": value}))
    after, findings = read_all("livecell_counts", root)
    assert set(before) - set(after) == {FIRST}
    assert rules(findings) - rules(findings_before) == {"invalid-count": 1}


def test_counts_come_with_the_image_and_without_cells(root: Path) -> None:
    samples, findings = read_all("livecell_counts", root)
    assert {i: s.image.count for i, s in samples.items()} == {
        f"{line}_Phase_B{k + 2}_1_00d0{k}h00m_1": 6.0 + k for line in ("A172", "A549") for k in (0, 1)
    }
    assert not any(len(s.instances) or s.image.annotated for s in samples.values())
    assert samples[FIRST].image.leakage_group == "A172 B2"
    assert {f.image_id for f in findings if f.rule == "wrong-extension"} == {
        f"{line}_Phase_B3_1_00d01h00m_1" for line in ("A172", "A549")
    }


def test_fluorescence_images_are_never_taken_for_label_free_ones(root: Path) -> None:
    samples, _ = read_all("livecell_counts", root)
    assert all("fluor" not in p.source.lower() for s in samples.values() for p in s.image.pixels)


def test_an_archive_that_is_missing_leaves_findings(root: Path) -> None:
    (root / "A549.zip").unlink()
    samples, findings = read_all("livecell_counts", root)
    assert {i[:4] for i in samples} == {"A172"}
    assert rules(findings)["unknown-image"] == 1 + 3


def test_a_byte_order_mark_does_not_matter(root: Path) -> None:
    before, _ = read_all("livecell_counts", root)
    (root / COUNTS).write_bytes(b"\xef\xbb\xbf" + (root / COUNTS).read_bytes().replace(b",", b",\r\n"))
    assert list(read_all("livecell_counts", root)[0]) == list(before)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\udcff"])
def test_counts_that_are_no_object_end_the_command(text: str, root: Path) -> None:
    (root / COUNTS).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=COUNTS):
        read_all("livecell_counts", root)


def test_a_truncated_archive_ends_the_command(root: Path) -> None:
    cut(root / "A172.zip")
    with pytest.raises(ArchiveError, match=r"A172\.zip"):
        read_all("livecell_counts", root)


def test_a_damaged_image_is_a_finding(root: Path) -> None:
    shutil.unpack_archive(root / "A172.zip", root / "A172")
    (root / "A172.zip").unlink()
    cut(next((root / "A172").rglob(f"{FIRST}.tif")))
    samples, findings = read_all("livecell_counts", root)
    assert rules(findings)["unreadable-image"] == 1
    assert samples[FIRST].image.count == 6.0
