"""What every registered data set promises, tried on its own generated example: existing is enough to be held to it."""

from __future__ import annotations

import hashlib
import pickle
import re
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celltable import plugins
from celltable.cells import Finding, Instances, Sample, images_table
from celltable.geometry.masks import Masks
from celltable.imagefile import Release, open_release
from celltable.imagefile.container import is_archive, stem
from celltable.plugins.dataset import Dataset, Scan


@dataclass(frozen=True)
class Example:
    """A data set, its example on disk, and what reading it gives."""

    dataset: Dataset
    path: Path
    release: Release
    scan: Scan
    samples: list[Sample]

    @property
    def findings(self) -> list[Finding]:
        return [*self.scan.findings, *(f for s in self.samples for f in s.findings)]


def read(dataset: Dataset, release: Release, parts: tuple[str, ...] = ()) -> tuple[Scan, list[Sample]]:
    scan = dataset.scan(release, parts)
    return scan, [dataset.load(release, scan.shared, item) for item in scan.items]


@pytest.fixture(scope="module", params=plugins.names("datasets"))
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    dataset = plugins.load("datasets", request.param)
    path = dataset.example(tmp_path_factory.mktemp(dataset.name), 0)
    with open_release(path) as release:
        scan, samples = read(dataset, release)
        yield Example(dataset, path, release, scan, samples)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a reader or example opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def fingerprint(sample: Sample) -> tuple[Any, ...]:
    """Everything about a sample but where its pixels lie and how its findings are worded."""
    image = replace(sample.image, pixels=())
    pixels = sample.pixels() if sample.load_pixels is not None else np.zeros(0)
    cells = sample.instances.to_arrow(image.image_id).to_pylist()
    return (
        image.row(len(sample.instances)),
        (pixels.shape, pixels.dtype.str, hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()),
        cells,
        gist(sample.findings),
    )


def gist(findings: tuple[Finding, ...]) -> list[tuple[Any, ...]]:
    rows = [(f.rule, f.severity, f.image_id or "", f.instance_id or 0, f.value or 0.0) for f in findings]
    return sorted(rows)


def digest(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    base = path.parent if path.is_file() else path
    return {str(p.relative_to(base)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class TestEveryDataset:
    def test_says_what_it_is(self, example: Example) -> None:
        d = example.dataset
        for text in (d.title, d.description, d.licence, d.citation, d.source, d.group, d.layout):
            assert text.strip()
        assert d.source.startswith("https://") or d.source.startswith("http://")
        assert d.modality
        assert set(d.target) <= {"nucleus", "cell"}
        assert d.files if d.access == "free" else d.how_to_get
        assert all(f.url.startswith("http") and f.name and len(f.sha256 or "0" * 64) == 64 for f in d.files)

    def test_names_metrics_that_exist(self, example: Example) -> None:
        assert set(example.dataset.protocols) <= set(plugins.names("metrics"))

    def test_counts_are_of_images_or_instances_and_positive(self, example: Example) -> None:
        for (_, what), n in example.dataset.counts.items():
            assert what in ("images", "instances")
            assert n > 0

    def test_the_example_has_images_and_cells(self, example: Example) -> None:
        assert example.samples
        counted = [s for s in example.samples if s.image.count is not None or s.image.labels]
        assert sum(len(s.instances) for s in example.samples) or counted

    def test_known_defects_come_out_as_findings(self, example: Example) -> None:
        assert set(example.dataset.expected_findings) <= {f.rule for f in example.findings}

    def test_findings_are_well_formed(self, example: Example) -> None:
        cells = {s.image.image_id: set(s.instances.ids.tolist()) for s in example.samples}
        for f in example.findings:
            assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", f.rule)
            assert f.severity in ("error", "warning", "note")
            assert len(f.message) > 10
            if f.instance_id is not None:
                assert f.instance_id in cells[f.image_id or ""]
        for s in example.samples:
            assert {f.image_id for f in s.findings} <= {s.image.image_id, None}

    def test_image_ids_are_unique_and_ascend(self, example: Example) -> None:
        ids = [s.image.image_id for s in example.samples]
        assert ids == sorted(set(ids))

    def test_records_agree_with_the_pixels(self, example: Example) -> None:
        for s in example.samples:
            if s.load_pixels is None:
                assert not s.image.pixels
                continue
            if {f.rule for f in s.findings} & {"unreadable-image", "size-mismatch", "missing-channel"}:
                continue
            pixels = s.pixels()
            assert pixels.shape[:2] == s.image.size
            assert pixels.dtype.name == s.image.dtype
            assert len(s.image.channels) == (1 if pixels.ndim == 2 else pixels.shape[2])
            again = [example.release.entry(p.source, p.member) for p in s.image.pixels]
            assert len(again) == len(s.image.pixels)

    def test_masks_are_valid_and_measured_right(self, example: Example) -> None:
        for s in example.samples:
            cells = s.instances
            assert cells.size == s.image.size
            if not len(cells):
                continue
            again = Masks.of(list(cells.rle), cells.size)
            np.testing.assert_array_equal(cells.area, again.areas)
            np.testing.assert_array_equal(cells.bbox, again.boxes)
            assert min(cells.ids.tolist()) >= 1
            assert len(set(cells.ids.tolist())) == len(cells)

    def test_parents_are_cells_of_the_same_image(self, example: Example) -> None:
        for s in example.samples:
            kinds = dict(zip(s.instances.ids.tolist(), s.instances.column("kind"), strict=True))
            for own, parent in zip(s.instances.ids.tolist(), s.instances.column("parent"), strict=True):
                assert parent is None or (kinds[own] == "nucleus" and kinds[parent] == "cell")

    def test_kinds_are_those_announced(self, example: Example) -> None:
        kinds = {k for s in example.samples for k in s.instances.column("kind")}
        assert kinds <= set(example.dataset.target)

    def test_unlabelled_images_have_no_cells(self, example: Example) -> None:
        assert all(not len(s.instances) for s in example.samples if not s.image.annotated)

    def test_groups_say_where_they_come_from(self, example: Example) -> None:
        for s in example.samples:
            if s.image.leakage_group is not None:
                assert s.image.group_source in ("published", "derived")

    def test_rows_fit_the_schemas(self, example: Example) -> None:
        images_table((s.image, len(s.instances)) for s in example.samples)
        for s in example.samples:
            batch = s.instances.to_arrow(s.image.image_id)
            back = Instances.from_arrow(batch, s.image.size)
            assert back.to_arrow(s.image.image_id).equals(batch)

    def test_items_are_independent_and_can_be_sent(self, example: Example) -> None:
        load = example.dataset.load
        items = list(pickle.loads(pickle.dumps(list(example.scan.items))))
        again = [load(example.release, example.scan.shared, item) for item in reversed(items)]
        assert [fingerprint(s) for s in reversed(again)] == [fingerprint(s) for s in example.samples]

    def test_parts_can_be_read_alone(self, example: Example) -> None:
        own = {s.image.metadata.get("part") for s in example.samples}
        for part in (p for p in example.dataset.parts if p in own):
            _, samples = read(example.dataset, example.release, (part,))
            assert samples
            assert {s.image.metadata.get("part") for s in samples} == {part}

    def test_nothing_is_written_into_the_release(self, example: Example) -> None:
        before = digest(example.path)
        read(example.dataset, example.release)
        assert digest(example.path) == before

    def test_examples_depend_on_the_seed_alone(self, example: Example, tmp_path: Path) -> None:
        made = [digest(example.dataset.example(tmp_path / name, seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
        assert made[0] == made[1] == digest(example.path)
        assert made[0] != made[2]

    def test_another_release_is_not_mistaken_for_it(self, example: Example, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("nothing of the kind")
        with open_release(tmp_path) as release:
            assert not example.dataset.scan(release, ()).items


def _copied(source: Path, target: Path) -> Path:
    """The release below `target`, under its own name, every archive unpacked into a folder of its name."""
    if source.is_file():
        target = target / stem(source.name)
        shutil.unpack_archive(source, target)
        return target
    target = target / source.name
    shutil.copytree(source, target)
    for archive in [p for p in sorted(target.rglob("*")) if p.is_file() and is_archive(p.name)]:
        shutil.unpack_archive(archive, archive.with_name(stem(archive.name)))
        archive.unlink()
    return target


def unpacked(source: Path, tmp: Path) -> Path:
    return _copied(source, tmp)


def one_level_too_high(source: Path, tmp: Path) -> Path:
    return _copied(source, tmp / "downloads").parent


def doubled_folder(source: Path, tmp: Path) -> Path:
    root = _copied(source, tmp / "inner")
    (tmp / "inner").rename(tmp / root.name)
    return tmp / root.name


def one_level_too_low(source: Path, tmp: Path) -> Path:
    root = _copied(source, tmp)
    inside = [p for p in root.iterdir() if p.name not in ("__MACOSX", ".DS_Store", "Thumbs.db")]
    if len(inside) != 1 or not inside[0].is_dir():
        pytest.skip("there is nothing below the top folder that holds all of it")
    return inside[0]


def zipped_with_its_folder(source: Path, tmp: Path) -> Path:
    root = _copied(source, tmp)
    return _zip(root, root.parent, tmp / "out" / f"{root.name}.zip")


def zipped_without_its_folder(source: Path, tmp: Path) -> Path:
    root = _copied(source, tmp)
    return _zip(root, root, tmp / "out" / f"{root.name}.zip")


def strange_path(source: Path, tmp: Path) -> Path:
    return _copied(source, tmp / "Bilder für Zellen, 細胞 (1)").parent


def _zip(root: Path, base: Path, out: Path) -> Path:
    out.parent.mkdir()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(base).as_posix())
    return out


LAYOUTS = (
    unpacked,
    one_level_too_high,
    doubled_folder,
    one_level_too_low,
    zipped_with_its_folder,
    zipped_without_its_folder,
    strange_path,
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_however_it_is_packed_the_samples_are_the_same(
    example: Example, layout: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    path = layout(example.path, tmp_path)
    with open_release(path) as release:
        scan, samples = read(example.dataset, release)
        found, expected = ({s.image.image_id: fingerprint(s) for s in group} for group in (samples, example.samples))
    assert sorted(found) == sorted(expected)
    for image_id, one in expected.items():
        assert found[image_id] == one
    assert gist(tuple(scan.findings)) == gist(tuple(example.scan.findings))
