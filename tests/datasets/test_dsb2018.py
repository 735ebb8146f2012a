"""The readers of the 2018 Data Science Bowl: published facts on the real release, and bad input."""

from __future__ import annotations

import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable.cells import Finding, Sample
from celltable.datasets.dsb2018 import DATASET
from celltable.errors import ArchiveError
from celltable.geometry import rle
from celltable.geometry.look import colour_name, look_at
from celltable.imagefile import open_release

from .releases import make_example, only, read_all, rules


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the example with its archives unpacked."""
    root = make_example("dsb2018", tmp_path_factory.mktemp("bowl"))
    for archive in sorted(root.glob("*.zip")):
        shutil.unpack_archive(archive, root / archive.stem)
        archive.unlink()
    return root


@pytest.fixture
def bowl(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the example that a test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / pristine.name))


def test_folder_and_archives_hold_train_test_and_final_images(bowl: Path) -> None:
    samples, _ = read_all("dsb2018", bowl)
    parts = Counter((s.image.metadata["part"], s.image.split) for s in samples.values())
    assert parts == {("stage1_train", "train"): 6, ("stage1_test", "test"): 2, ("stage2_test", "final-test"): 4}


def test_masks_and_rows_of_the_training_table_are_the_same_nuclei(bowl: Path) -> None:
    by_masks, _ = read_all("dsb2018", bowl, ("stage1_train",))
    for masks in (bowl / "stage1_train").glob("*/masks"):
        shutil.rmtree(masks)
    by_rows, findings = read_all("dsb2018", bowl, ("stage1_train",))
    assert not findings
    assert {k: sorted(s.instances.rle) for k, s in by_rows.items()} == {
        k: sorted(s.instances.rle) for k, s in by_masks.items()
    }


def test_ignored_images_are_kept_and_flagged_with_their_cells(bowl: Path) -> None:
    samples, _ = read_all("dsb2018", bowl, ("stage2_test",))
    ignored = [s for s in samples.values() if s.image.ignore]
    assert len(ignored) == 1
    assert all(ignored[0].instances.column("ignore"))
    assert [s.image.metadata["usage"] for s in ignored] == ["Ignored"]
    assert not any(any(s.instances.column("ignore")) for s in samples.values() if not s.image.ignore)


def test_pixel_types_of_the_final_images_are_kept(bowl: Path) -> None:
    samples, _ = read_all("dsb2018", bowl, ("stage2_test",))
    assert {(s.image.dtype, len(s.image.channels)) for s in samples.values()} == {
        ("uint16", 1), ("uint8", 3), ("uint8", 2), ("uint8", 1),
    }  # fmt: skip


def test_a_table_with_byte_order_mark_and_windows_line_ends_reads_the_same(bowl: Path) -> None:
    table = bowl / "stage1_solution.csv"
    before, _ = read_all("dsb2018", bowl, ("stage1_test",))
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    after, findings = read_all("dsb2018", bowl, ("stage1_test",))
    assert not findings
    assert [s.instances.rle for s in after.values()] == [s.instances.rle for s in before.values()]


def test_loose_image_folders_are_taken_for_the_part_that_their_masks_suggest(bowl: Path) -> None:
    loose = bowl.parent / "loose"
    shutil.copytree(bowl / "stage1_train", loose)
    samples, findings = read_all("dsb2018", loose)
    assert {s.image.metadata["part"] for s in samples.values()} == {"stage1_train"}
    assert rules(findings) == {"part-guessed": 1}


def _mask(bowl: Path) -> Path:
    return only(bowl / "stage1_train", "masks/*.png")


def _image(bowl: Path) -> Path:
    return only(bowl / "stage1_train", "images/*.png")


def _cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _rewrite(path: Path, how: Callable[[np.ndarray], np.ndarray], fmt: str = "PNG") -> None:
    from PIL import Image as Picture

    with Picture.open(path) as picture:
        pixels = np.array(picture)
    Picture.fromarray(how(pixels)).save(path, fmt)


def _crop(a: np.ndarray) -> np.ndarray:
    return a[:-3]


def _half(a: np.ndarray) -> np.ndarray:
    return a // 2


def _fade(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a[:9, :9, 3] = 7
    return a


def _same(a: np.ndarray) -> np.ndarray:
    return a


def _no_masks(bowl: Path) -> None:
    shutil.rmtree(_mask(bowl).parent)
    (bowl / "stage1_train_labels.csv").unlink()


def _no_image(bowl: Path) -> None:
    _image(bowl).unlink()


def _drop_row(bowl: Path) -> None:
    table = bowl / "stage1_train_labels.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")


def _twice(bowl: Path) -> None:
    shutil.copy(_image(bowl), _image(bowl).with_name("another.png"))


def _renamed(bowl: Path) -> None:
    folder = only(bowl / "stage1_train", "*/masks").parent
    (bowl / "stage1_train_labels.csv").unlink()
    folder.rename(folder.with_name("Fläche 7"))


BAD_FILES: dict[str, tuple[Callable[[Path], object], str, int]] = {
    # change to the release → rule that is reported, and number of nuclei lost (-1: all of an image)
    "a mask cut short": (lambda b: _cut(_mask(b)), "unreadable-mask", 1),
    "an empty mask file": (lambda b: _mask(b).write_bytes(b""), "unreadable-mask", 1),
    "a mask of another size": (lambda b: _rewrite(_mask(b), _crop), "size-mismatch", 1),
    "a mask of other values": (lambda b: _rewrite(_mask(b), _half), "mask-values", 0),
    "a mask that is a TIFF": (lambda b: _rewrite(_mask(b), _same, "TIFF"), "wrong-extension", 0),
    "an image cut short": (lambda b: _cut(_image(b)), "unreadable-image", 0),
    "an image that is a BMP": (lambda b: _rewrite(_image(b), lambda a: a[..., :3], "BMP"), "wrong-extension", 0),
    "an image whose alpha varies": (lambda b: _rewrite(_image(b), _fade), "alpha-varies", 0),
    "no image": (_no_image, "missing-image", 0),
    "two images": (_twice, "several-pictures", 0),
    "an image without masks or rows": (_no_masks, "missing-annotation", -1),
    "an odd image id": (_renamed, "unexpected-name", 0),
    "a table with a row less": (_drop_row, "csv-differs", 0),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_becomes_a_finding_and_the_rest_is_read(bowl: Path, case: str) -> None:
    spoil, rule, lost = BAD_FILES[case]
    before, _ = read_all("dsb2018", bowl, ("stage1_train",))
    spoil(bowl)
    samples, findings = read_all("dsb2018", bowl, ("stage1_train",))
    found = rules(findings)
    assert found[rule] == 1
    assert set(found) <= {rule, "csv-differs"}  # a lost mask also differs from its row
    assert len(samples) == 6
    n = [sum(len(s.instances) for s in group.values()) for group in (before, samples)]
    assert n[0] - n[1] == (lost if lost >= 0 else len(next(iter(before.values())).instances))


BAD_RUNS: dict[str, tuple[str, str]] = {
    "odd count": ("1 3 10", "rle-odd-count"),
    "zero start": ("0 3", "rle-not-positive"),
    "zero length": ("1 0", "rle-not-positive"),
    "negative": ("5 -2", "rle-not-positive"),
    "no number": ("1 x", "rle-not-a-number"),
    "unsorted": ("10 2 1 3", "rle-unsorted"),
    "overlapping": ("1 5 3 5", "rle-runs-overlap"),
    "out of the image": ("99999999 3", "rle-out-of-image"),
    "huge": ("1 99999999999999999999999", "rle-not-a-number"),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_bad_runs_become_a_finding_and_the_other_rows_are_read(bowl: Path, case: str) -> None:
    runs, rule = BAD_RUNS[case]
    before, _ = read_all("dsb2018", bowl, ("stage1_test",))
    image_id = next(iter(before))
    height, width = before[image_id].image.size
    with (bowl / "stage1_solution.csv").open("a") as table:
        table.write(f"{image_id},{runs},{height},{width},Public\n")
    after, findings = read_all("dsb2018", bowl, ("stage1_test",))
    assert rules(findings) == {rule: 1}
    assert findings[0].image_id == image_id
    assert {k: len(s.instances) for k, s in after.items()} == {k: len(s.instances) for k, s in before.items()}


def test_a_row_for_a_missing_image_keeps_its_cells_if_the_size_is_known(bowl: Path) -> None:
    with (bowl / "stage1_solution.csv").open("a") as table:
        table.write(f"{'e' * 64},1 3 10 5,20,30,Public\n")
    with (bowl / "stage1_train_labels.csv").open("a") as table:
        table.write(f"{'f' * 64},1 3\n")
    samples, findings = read_all("dsb2018", bowl)
    kept = samples["e" * 64]
    assert (kept.image.size, kept.instances.area.tolist(), kept.load_pixels) == ((20, 30), [8], None)
    assert "f" * 64 not in samples
    assert Counter((f.rule, f.image_id) for f in findings if f.severity == "error") == {
        ("missing-image", "e" * 64): 1,
        ("unknown-image", "f" * 64): 1,
    }


def test_runs_for_another_image_size_are_left_out_not_scrambled(bowl: Path) -> None:
    before, _ = read_all("dsb2018", bowl, ("stage1_test",))
    table = bowl / "stage1_solution.csv"
    image_id, sample = next(iter(before.items()))
    size = f",{sample.image.height},{sample.image.width},"
    lines = [x.replace(size, ",77,55,") if x.startswith(image_id) else x for x in table.read_text().splitlines()]
    table.write_text("\n".join(lines))
    after, findings = read_all("dsb2018", bowl, ("stage1_test",))
    assert rules(findings) == {"size-mismatch": 1}
    assert (len(after[image_id].instances), after[image_id].image.annotated) == (0, False)


def test_an_image_without_row_is_unlabelled_not_empty(bowl: Path) -> None:
    (bowl / "stage1_solution.csv").unlink()
    samples, _ = read_all("dsb2018", bowl, ("stage1_test",))
    assert [(s.image.annotated, len(s.instances)) for s in samples.values()] == [(False, 0)] * 2


def test_the_same_images_as_archive_and_as_folder_are_read_once(bowl: Path) -> None:
    source = bowl / "stage1_test"
    with zipfile.ZipFile(bowl / "stage1_test.zip", "w") as archive:
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(source))
    samples, findings = read_all("dsb2018", bowl, ("stage1_test",))
    assert len(samples) == 2
    assert rules(findings) == {"duplicate-copy": 2}


def test_a_truncated_archive_ends_the_command(tmp_path: Path) -> None:
    root = make_example("dsb2018", tmp_path)
    _cut(root / "stage1_train.zip", 0.7)
    with pytest.raises(ArchiveError):
        read_all("dsb2018", root)


def test_fixes_keep_overlapping_masks_odd_names_and_the_image_ids_of_the_original(tmp_path: Path) -> None:
    samples, findings = read_all("dsb2018_fixes", make_example("dsb2018_fixes", tmp_path / "f"))
    assert rules(findings) == {"unknown-version": 1}
    claimed = [sum(np.array(s.instances.masks()).astype(int), np.zeros(s.image.size, int)) for s in samples.values()]
    assert sum(int((c > 1).sum()) for c in claimed) == 9
    assert any("nucleus (copy) ä" in s.instances.column("source_id") for s in samples.values())
    assert all(len(i) == 64 for i in samples)


def test_fixes_from_an_archive_of_a_commit_name_it(tmp_path: Path) -> None:
    root = make_example("dsb2018_fixes", tmp_path / "f")
    commit = "0123456789abcdef0123456789abcdef01234567"
    named = root.rename(root.with_name(f"kaggle-dsbowl-2018-dataset-fixes-{commit}"))
    samples, findings = read_all("dsb2018_fixes", named)
    assert not findings
    assert {s.image.metadata["commit"] for s in samples.values()} == {commit}


COLOURS = {(177, 158, 207): "purple", (250, 250, 245): "white", (3, 3, 9): "black", (200, 60, 40): "red"}


@pytest.mark.parametrize(("rgb", "name"), [*COLOURS.items(), ((150, 100, 50), "brown")])
def test_colours_have_their_everyday_names(rgb: tuple[int, ...], name: str) -> None:
    assert colour_name([float(v) for v in rgb]) == name


def test_the_look_of_an_image_does_not_depend_on_depth_or_alpha() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 30, (200, 300)).astype(np.uint8)
    grey[50:90, 60:110] = 180
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    twelve = grey.astype(np.uint16) << 4
    assert look_at(rgba) == look_at(grey)
    assert look_at(twelve).modality == "fluorescence"


@pytest.fixture(scope="module")
def real(sample: Callable[[str], Path]) -> tuple[list[Sample], list[Finding]]:
    with open_release(sample("dsb2018/stage1_train.zip")) as release:
        scan = DATASET.scan(release, ())
        samples = [DATASET.load(release, scan.shared, item) for item in scan.items]
    return samples, [*scan.findings, *(f for s in samples for f in s.findings)]


@pytest.mark.real
def test_the_real_release_has_the_published_counts_and_no_reading_defect(
    real: tuple[list[Sample], list[Finding]],
) -> None:
    samples, findings = real
    assert len(samples) == DATASET.counts["stage1_train", "images"]
    areas = np.concatenate([s.instances.area for s in samples])
    assert len(areas) == DATASET.counts["stage1_train", "instances"]
    assert (int(areas.min()), int(np.median(areas)), int(areas.max())) == (21, 305, 11037)
    assert findings == []


@pytest.mark.real
def test_modalities_of_the_real_release_are_those_of_its_images(real: tuple[list[Sample], list[Finding]]) -> None:
    samples, _ = real
    assert Counter(s.image.modality for s in samples) == {"fluorescence": 546, "bright-field": 16, "histology": 108}
    assert {s.image.size for s in samples if s.image.modality == "bright-field"} == {(1024, 1024)}
    assert {s.image.size for s in samples if s.image.modality == "histology"} == {(256, 320)}


@pytest.mark.real
def test_the_known_record_of_the_coco_collection_has_its_class(real: tuple[list[Sample], list[Finding]]) -> None:
    known = next(s for s in real[0] if s.image.image_id.startswith("4ca5081854df7bbc"))
    assert known.image.image_class == "purple_purple_320_256_sparce"
    assert len(known.instances) == 37


@pytest.mark.real
def test_groups_of_the_real_release_are_of_one_kind_and_useful_for_splitting(
    real: tuple[list[Sample], list[Finding]],
) -> None:
    groups: dict[str, set[tuple[str | None, tuple[int, int]]]] = {}
    sizes: Counter[str] = Counter()
    for s in real[0]:
        group = s.image.leakage_group or ""
        groups.setdefault(group, set()).add((s.image.modality, s.image.size))
        sizes[group] += 1
    assert all(len(kinds) == 1 for kinds in groups.values())
    assert 20 <= len(groups) <= 80
    assert max(sizes.values()) < 670 // 5


@pytest.mark.real
def test_masks_of_the_real_release_equal_an_independent_decoder(sample: Callable[[str], Path]) -> None:
    import imagecodecs

    path = sample("dsb2018/stage1_train.zip")
    with open_release(path) as release, zipfile.ZipFile(path) as archive:
        scan = DATASET.scan(release, ())
        for item in scan.items[::97]:
            found = DATASET.load(release, scan.shared, item)
            expected = [rle.encode(imagecodecs.png_decode(archive.read(e.name)) > 0) for e in item.masks]
            assert list(found.instances.rle) == expected
