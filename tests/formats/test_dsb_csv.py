"""The rules of the Data Science Bowl CSV, each broken once, and real masks written and read again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError, NotFoundError
from celltable.formats import dsb_csv

SIZE = {"a": Image("a", 5, 4)}  # 20 pixels in four columns of five


def csv_of(folder: Path, *rows: str, header: str = "ImageId,EncodedPixels") -> Path:
    path = folder / "x.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_the_published_example_decodes_to_pixels_1_to_3_and_10_to_14_down_the_columns(tmp_path: Path) -> None:
    (found,) = dsb_csv.read(csv_of(tmp_path, "a,1 3 10 5"), SIZE)
    expected = np.zeros(20, bool)
    expected[[0, 1, 2, 9, 10, 11, 12, 13]] = True
    assert np.array_equal(found.instances.masks()[0], expected.reshape((5, 4), order="F"))


@pytest.mark.parametrize(
    ("runs", "rule"),
    [
        ("1 3 10", "rle-odd-count"),
        ("1 x", "rle-not-a-number"),
        ("1 2.5", "rle-not-a-number"),
        ("1 99999999999999999999", "rle-not-a-number"),
        ("0 3", "rle-not-positive"),
        ("3 0", "rle-not-positive"),
        ("-1 3", "rle-not-positive"),
        ("10 5 1 3", "rle-unsorted"),
        ("1 3 1 3", "rle-runs-overlap"),
        ("1 3 3 2", "rle-runs-overlap"),
        ("18 4", "rle-out-of-image"),
        ("21 1", "rle-out-of-image"),
        ("2 9223372036854775807", "rle-out-of-image"),
    ],
)
def test_a_row_that_breaks_a_rule_is_a_finding_and_the_others_are_read(tmp_path: Path, runs: str, rule: str) -> None:
    (found,) = dsb_csv.read(csv_of(tmp_path, f"a,{runs}", "a,1 2"), SIZE)
    assert [f.rule for f in found.findings] == [rule]
    assert found.findings[0].image_id == "a"
    assert "line 2" in found.findings[0].message
    assert found.instances.area.tolist() == [2]


def test_runs_up_to_the_last_pixel_are_valid(tmp_path: Path) -> None:
    (found,) = dsb_csv.read(csv_of(tmp_path, "a,1 20"), SIZE)
    assert (found.findings, found.instances.area.tolist()) == ((), [20])


def test_an_image_with_an_empty_row_has_no_cells_and_no_finding(tmp_path: Path) -> None:
    (found,) = dsb_csv.read(csv_of(tmp_path, "a,"), SIZE)
    assert (len(found.instances), found.findings) == (0, ())


def test_a_byte_order_mark_and_other_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "bytes with spaces ä.csv"
    path.write_bytes(b"\xef\xbb\xbfImageId,EncodedPixels\r\na,1 3\r\na,5 2\r\n")
    (found,) = dsb_csv.read(path, SIZE)
    assert found.instances.area.tolist() == [3, 2]


def test_rows_of_one_image_need_not_be_adjacent(tmp_path: Path) -> None:
    known = {**SIZE, "b": Image("b", 5, 4)}
    found = list(dsb_csv.read(csv_of(tmp_path, "a,1 1", "b,2 2", "a,5 3"), known))
    assert {s.image.image_id: s.instances.area.tolist() for s in found} == {"a": [1, 3], "b": [2]}


def test_an_id_without_an_image_is_a_finding(tmp_path: Path) -> None:
    found = list(dsb_csv.read(csv_of(tmp_path, "a,1 1", "ghost,1 1"), SIZE))
    assert [f.rule for s in found for f in s.findings] == ["unknown-image"]


def test_without_any_size_one_sentence_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Height and Width columns"):
        list(dsb_csv.read(csv_of(tmp_path, "a,1 1")))


def test_a_file_of_another_kind_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected ImageId, EncodedPixels"):
        list(dsb_csv.read(csv_of(tmp_path, "1,2", header="x,y"), SIZE))
    with pytest.raises(NotFoundError, match="does not exist"):
        list(dsb_csv.read(tmp_path / "missing.csv", SIZE))
    (tmp_path / "binary.csv").write_bytes(b"ImageId,EncodedPixels\n\xff\xfe,\x80\n")
    with pytest.raises(InputError, match="not UTF-8"):
        list(dsb_csv.read(tmp_path / "binary.csv", SIZE))


HEADER = "ImageId,EncodedPixels,Height,Width,Usage"


def test_ignored_images_of_a_solution_are_kept_and_flagged(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "a,1 3,5,4,Private", "b,1 1,5,4,Ignored", header=HEADER)
    a, b = dsb_csv.read(path)
    assert (a.image.ignore, b.image.ignore) == (False, True)
    assert b.instances.column("ignore") == [True]
    out = tmp_path / "again.csv"
    dsb_csv.write([a, b], out, table="solution")
    assert out.read_text() == path.read_text()


def test_contradictory_sizes_in_a_solution_are_reported(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "a,1 3,5,4,Public", "a,4 1,6,4,Public", header=HEADER)
    (found,) = dsb_csv.read(path)
    assert [f.rule for f in found.findings] == ["size-mismatch"]
    path = csv_of(tmp_path, "a,1 3,7,4,Public", header=HEADER)
    (found,) = dsb_csv.read(path, SIZE)
    assert [f.rule for f in found.findings] == ["size-mismatch"]


@pytest.mark.parametrize(("policy", "areas"), [("first-wins", [4, 2]), ("last-wins", [2, 4])])
def test_a_submission_has_no_shared_pixel_and_the_policy_decides(tmp_path: Path, policy: str, areas: list[int]) -> None:
    masks = [np.array([[1, 1, 1, 1, 0, 0]], bool), np.array([[0, 0, 1, 1, 1, 1]], bool)]
    sample = Sample(Image("a", 1, 6), Instances.from_masks(masks, (1, 6)))
    loss = dsb_csv.write([sample], tmp_path / "s.csv", table="submission", policy=policy)
    (back,) = dsb_csv.read(tmp_path / "s.csv", {"a": sample.image})
    assert back.instances.area.tolist() == areas
    assert np.sum(back.instances.masks(), axis=0).max() == 1
    assert loss.items["overlap: pixels assigned to another cell"] == 2


@pytest.mark.real
def test_real_masks_come_back_from_the_labels_csv(sample: Callable[[str], Path], tmp_path: Path) -> None:
    from PIL import Image as Pillow

    def samples() -> Iterator[Sample]:
        with zipfile.ZipFile(sample("dsb2018/stage1_train.zip")) as archive:
            names = sorted(n for n in archive.namelist() if "/masks/" in n and n.endswith(".png"))
            ids = sorted({n.split("/")[-3] for n in names})[:5]
            for image_id in ids:
                masks = [
                    np.asarray(Pillow.open(io.BytesIO(archive.read(n)))) > 0 for n in names if f"{image_id}/masks" in n
                ]
                yield Sample(Image(image_id, *masks[0].shape), Instances.from_masks(masks, masks[0].shape))

    dsb_csv.write(samples(), tmp_path / "labels.csv")
    before = {s.image.image_id: s for s in samples()}
    known = {i: s.image for i, s in before.items()}
    after = list(dsb_csv.read(tmp_path / "labels.csv", known))
    assert len(after) == 5
    for found in after:
        assert list(found.instances.rle) == list(before[found.image.image_id].instances.rle)
