"""The contract of a data set, tested on the tiny release that its plug-in writes.

The release is read from a folder, from archives, under paths with spaces, one level too high or too low, part by part,
with damaged files, and without a network; each reading is compared with the first.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import shutil
import socket
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celltable import plugins
from celltable.cells import Finding, Instances, Sample, images_table
from celltable.errors import CelltableError, InputError
from celltable.geometry.masks import Masks
from celltable.imagefile import Release, open_release, read_pixels
from celltable.imagefile.container import is_archive, stem
from celltable.pipelines.ingest import ingest
from celltable.plugins.dataset import STOPS, Dataset, Scan

from .base import PluginTests

LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db")  # left behind by operating systems
TEXTS = (".csv", ".tsv", ".txt", ".json", ".xml")


@dataclass(frozen=True)
class Example:
    """A data set, its example on disk, and the result of reading it."""

    dataset: Dataset
    path: Path
    release: Release
    scan: Scan
    samples: list[Sample]

    @property
    def findings(self) -> list[Finding]:
        """Collect the findings of the release and of each image."""
        return [*self.scan.findings, *(f for s in self.samples for f in s.findings)]


def read(dataset: Dataset, release: Release, parts: Sequence[str] = ()) -> tuple[Scan, list[Sample]]:
    """Scan a release and load all its images."""
    scan = dataset.scan(release, tuple(parts))
    return scan, [dataset.load(release, scan.shared, item) for item in scan.items]


def rules_of(dataset: Dataset, path: Path) -> Counter[str]:
    """Count the findings of reading a path, by rule."""
    with open_release(path) as release:
        scan, samples = read(dataset, release)
    return Counter(f.rule for f in [*scan.findings, *(f for s in samples for f in s.findings)])


def fingerprint(sample: Sample) -> tuple[Any, ...]:
    """Return everything about a sample except the location of its pixels and the wording of its findings."""
    image = replace(sample.image, pixels=())
    cells = sample.instances.to_arrow(image.image_id).to_pylist()
    return image.row(len(sample.instances)), _digest_of_pixels(sample), cells, gist(sample.findings)


def content(sample: Sample) -> tuple[Any, ...]:
    """Return the pixels and cells of a sample, whatever its id."""
    cells = sample.instances
    masks = [bytes(counts) for counts in cells.rle]
    return _digest_of_pixels(sample), tuple(zip(masks, cells.column("class_name"), cells.column("kind"), strict=True))


def _digest_of_pixels(sample: Sample) -> tuple[Any, ...]:
    pixels = sample.pixels() if sample.load_pixels is not None else np.zeros(0)
    return pixels.shape, pixels.dtype.str, hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def gist(findings: Sequence[Finding]) -> list[tuple[Any, ...]]:
    """Sort findings, without their messages."""
    return sorted((f.rule, f.severity, f.image_id or "", f.instance_id or 0, f.value or 0.0) for f in findings)


def digest(path: Path) -> dict[str, str]:
    """Compute the SHA-256 of each file of a release."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    base = path.parent if path.is_file() else path
    return {str(p.relative_to(base)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def unpacked(source: Path, target: Path) -> Path:
    """Copy the release below `target` under its own name, with every archive unpacked into a folder of its name."""
    if source.is_file():
        shutil.unpack_archive(source, target / stem(source.name))
        return target / stem(source.name)
    target = target / source.name
    shutil.copytree(source, target)
    for archive in [p for p in sorted(target.rglob("*")) if p.is_file() and is_archive(p.name)]:
        shutil.unpack_archive(archive, archive.with_name(stem(archive.name)))
        archive.unlink()
    return target


def one_level_too_high(source: Path, folder: Path) -> Path:
    """Return the folder that holds the release."""
    return unpacked(source, folder / "downloads").parent


def doubled_folder(source: Path, folder: Path) -> Path:
    """Put the release in a folder of the same name, as some archive tools unpack it."""
    root = unpacked(source, folder / "inner")
    (folder / "inner").rename(folder / root.name)
    return folder / root.name


def one_level_too_low(source: Path, folder: Path) -> Path:
    """Return the only folder inside the release."""
    root = unpacked(source, folder)
    inside = [p for p in root.iterdir() if p.name not in LITTER]
    if len(inside) != 1 or not inside[0].is_dir():
        pytest.skip("no single folder below the top one holds the whole release")
    return inside[0]


def zipped_with_its_folder(source: Path, folder: Path) -> Path:
    """Make a zip whose members begin with the name of the release."""
    root = unpacked(source, folder)
    return zipped(root, root.parent, folder / "out" / f"{root.name}.zip")


def zipped_without_its_folder(source: Path, folder: Path) -> Path:
    """Make a zip without a top folder."""
    root = unpacked(source, folder)
    return zipped(root, root, folder / "out" / f"{root.name}.zip")


def path_with_spaces(source: Path, folder: Path) -> Path:
    """Put the release under a path with spaces, brackets and non-ASCII letters."""
    return unpacked(source, folder / "Bilder für Zellen, 細胞 (1)").parent


def zipped(root: Path, base: Path, out: Path) -> Path:
    """Write a zip of all files below `root`, with names relative to `base`."""
    out.parent.mkdir(exist_ok=True)
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
    path_with_spaces,
)


def first_match(folder: Path, pattern: str) -> Path:
    """Return the first file in name order that matches a pattern."""
    return sorted(p for p in folder.rglob(pattern) if "__MACOSX" not in p.parts)[0]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).integers(0, 256, path.stat().st_size, dtype=np.uint8).tobytes())


def _shrink(path: Path) -> None:
    """Cut three rows of pixels off an image file or array."""
    if path.suffix == ".npy":
        np.save(path, np.load(path)[:, :-3])
        return
    pixels = np.ascontiguousarray(read_pixels(path.read_bytes(), path.name)[:-3])
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        tifffile.imwrite(path, pixels, metadata=None)
    else:
        from PIL import Image

        Image.fromarray(pixels).save(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncate,
    "noise": _noise,
    "smaller": _shrink,
}


class _Trap:
    """An object that fails the test if it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


class DatasetTests(PluginTests):
    """The contract of a data set: what its plug-in states, and how its reader reads the example."""

    family = "datasets"

    @pytest.fixture(scope="class")
    @classmethod
    def example(cls, plugin: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
        """The example of the data set, opened and read."""
        path = plugin.example(tmp_path_factory.mktemp(plugin.name), 0)
        with open_release(path) as release:
            yield Example(plugin, path, release, *read(plugin, release))

    @pytest.fixture(autouse=True)
    def _no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("a reader or example opened a network connection")

        monkeypatch.setattr(socket.socket, "connect", refuse)

    def test_it_says_what_it_is(self, plugin: Dataset) -> None:
        """Title, description, licence, citation, source, leakage group and layout are stated."""
        for text in (
            plugin.title,
            plugin.description,
            plugin.licence,
            plugin.citation,
            plugin.source,
            plugin.group,
            plugin.layout,
        ):
            assert text.strip()
        assert plugin.source.startswith(("https://", "http://"))
        assert plugin.modality
        assert set(plugin.target) <= {"nucleus", "cell"}
        assert plugin.files if plugin.access == "free" else plugin.how_to_get
        assert all(f.url.startswith("http") and f.name and len(f.sha256 or "0" * 64) == 64 for f in plugin.files)

    def test_its_metrics_exist(self, plugin: Dataset) -> None:
        """Each protocol is the name of a metric."""
        assert set(plugin.protocols) <= set(plugins.names("metrics"))

    def test_published_counts_are_positive_numbers_of_images_or_instances(self, plugin: Dataset) -> None:
        """Only images and instances are counted."""
        for (_, what), n in plugin.counts.items():
            assert what in ("images", "instances")
            assert n > 0

    def test_the_example_has_images_and_cells(self, example: Example) -> None:
        """The example has cells, or counts or labels of images if the release does not have cells."""
        assert example.samples
        counted = [s for s in example.samples if s.image.count is not None or s.image.labels]
        assert sum(len(s.instances) for s in example.samples) or counted

    def test_reading_the_example_reports_exactly_the_known_defects(self, example: Example) -> None:
        """The example reports exactly the rules that the plug-in declares."""
        assert {f.rule for f in example.findings} == set(example.dataset.expected_findings)

    def test_findings_are_complete(self, example: Example) -> None:
        """Each finding has a message, and refers to an image and cell that were read."""
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
        """The order of images depends only on their names."""
        ids = [s.image.image_id for s in example.samples]
        assert ids == sorted(set(ids))

    def test_records_agree_with_the_pixels(self, example: Example) -> None:
        """Size, type and channels are right for each image that can be read completely."""
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
            assert s.image.pixels
            for where in s.image.pixels:
                example.release.entry(where.source, where.member)

    def test_masks_are_valid_and_measured_right(self, example: Example) -> None:
        """Areas and boxes are those of the masks; ids are positive and unique per image."""
        for s in example.samples:
            cells = s.instances
            assert cells.size == s.image.size
            if not len(cells):
                continue
            again = Masks.of(list(cells.rle), cells.size)  # refuses run lengths that do not fit the image
            np.testing.assert_array_equal(cells.area, again.areas)
            np.testing.assert_array_equal(cells.bbox, again.boxes)
            assert min(cells.ids.tolist()) >= 1
            assert len(set(cells.ids.tolist())) == len(cells)

    def test_parents_are_cells_of_the_same_image(self, example: Example) -> None:
        """Only nuclei have parents, and these are cells."""
        for s in example.samples:
            kinds = dict(zip(s.instances.ids.tolist(), s.instances.column("kind"), strict=True))
            for own, parent in zip(s.instances.ids.tolist(), s.instances.column("parent"), strict=True):
                assert parent is None or (kinds[own] == "nucleus" and kinds[parent] == "cell")

    def test_kinds_are_those_announced(self, example: Example) -> None:
        """There are nuclei, cells or both, according to `target`."""
        kinds = {k for s in example.samples for k in s.instances.column("kind")}
        assert kinds <= set(example.dataset.target)

    def test_images_that_are_not_annotated_have_no_cells(self, example: Example) -> None:
        """An unannotated image differs from one without cells."""
        assert all(not len(s.instances) for s in example.samples if not s.image.annotated)

    def test_leakage_groups_say_where_they_come_from(self, example: Example) -> None:
        """Leakage groups are published with the release, or derived."""
        for s in example.samples:
            if s.image.leakage_group is not None:
                assert s.image.group_source in ("published", "derived")

    def test_rows_fit_the_schemas(self, example: Example) -> None:
        """Images and cells survive a round trip through Arrow."""
        images_table((s.image, len(s.instances)) for s in example.samples)
        for s in example.samples:
            batch = s.instances.to_arrow(s.image.image_id)
            back = Instances.from_arrow(batch, s.image.size)
            assert back.to_arrow(s.image.image_id).equals(batch)

    def test_items_are_independent_and_can_be_sent(self, example: Example) -> None:
        """Pickled items loaded in the opposite order give the same samples."""
        load = example.dataset.load
        items = list(pickle.loads(pickle.dumps(list(example.scan.items))))
        again = [load(example.release, example.scan.shared, item) for item in reversed(items)]
        assert [fingerprint(s) for s in reversed(again)] == [fingerprint(s) for s in example.samples]

    def test_each_part_is_read_alone(self, example: Example) -> None:
        """A part gives only its own images, and the parts together give the whole."""
        dataset = example.dataset
        if not dataset.parts:
            return
        read_alone = {part: Counter(map(content, _of_part(example, part))) for part in dataset.parts}
        own = {part: contents for part, contents in read_alone.items() if contents}
        whole = Counter(map(content, example.samples))
        assert len(own) >= min(2, len(dataset.parts)), "the example needs images of at least two parts"
        if dataset.alternative_parts:
            assert all(contents.total() == whole.total() for contents in own.values()), "a part lacks images"
            assert len({frozenset(contents) for contents in own.values()}) == len(own), "two parts are the same"
            return
        default = dataset.default_parts or dataset.parts
        together = sum((own.get(part, Counter()) for part in default), Counter())
        assert together == whole, "the parts together are not the whole"
        for part in own.keys() - set(default):
            assert own[part] < whole, f"{part} is not a subset of the whole"

    def test_nothing_is_written_into_the_release(self, example: Example) -> None:
        """Reading does not change any byte."""
        before = digest(example.path)
        read(example.dataset, example.release)
        assert digest(example.path) == before

    def test_examples_depend_on_the_seed_alone(self, example: Example, tmp_path: Path) -> None:
        """The same seed gives the same bytes, another seed gives others."""
        made = [digest(example.dataset.example(tmp_path / name, seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
        assert made[0] == made[1] == digest(example.path)
        assert made[0] != made[2]

    def test_another_release_is_not_mistaken_for_it(self, plugin: Dataset, tmp_path: Path) -> None:
        """A folder of something else does not give images."""
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("nothing of the kind")
        with open_release(tmp_path) as release:
            assert not plugin.scan(release, ()).items

    @pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
    def test_however_it_is_packed_the_samples_are_the_same(
        self, example: Example, layout: Callable[[Path, Path], Path], tmp_path: Path
    ) -> None:
        """Folders and archives are read with the top folder, without it, or with one too many."""
        with open_release(layout(example.path, tmp_path)) as release:
            scan, samples = read(example.dataset, release)
            again, expected = ({s.image.image_id: fingerprint(s) for s in some} for some in (samples, example.samples))
        assert again == expected
        assert gist(scan.findings) == gist(example.scan.findings)

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_damaged_file_is_reported_as_declared(self, plugin: Dataset, damage: str, tmp_path: Path) -> None:
        """The finding has the declared rule and other images are kept, or reading stops and names the file."""
        assert len(plugin.damages) >= 2, "declare the rules for damage to an image and to an annotation file"
        for k, file in enumerate(plugin.damages):
            rule = file.rules().get(damage)
            if rule is None:
                continue
            root = unpacked(plugin.example(tmp_path / f"release {k} für 細胞", 0), tmp_path / str(k))
            before = rules_of(plugin, root)
            victim = first_match(root, file.file)
            DAMAGE[damage](victim)
            if rule == STOPS:
                with pytest.raises(CelltableError) as error:
                    rules_of(plugin, root)
                assert victim.stem in str(error.value)
                assert len(str(error.value)) < 400
                continue
            after = rules_of(plugin, root)
            assert after[rule] > before[rule], f"{damage} {victim.name}: no finding {rule}, but {after - before}"

    def test_every_damage_is_declared_for_some_file(self, plugin: Dataset) -> None:
        """A plug-in must cover each kind of damage, except a smaller image, for some file."""
        declared = {damage for file in plugin.damages for damage in file.rules()}
        assert declared >= set(DAMAGE) - {"smaller"}

    def test_a_path_without_the_release_ends_with_what_was_expected(self, plugin: Dataset, tmp_path: Path) -> None:
        """Missing, empty and foreign folders are refused, and no store is left behind."""
        with pytest.raises(CelltableError, match="does not exist; expected a release"):
            ingest(plugin.name, tmp_path / "nöwhere at all", tmp_path / "a.celltable")
        (tmp_path / "empty").mkdir()
        with pytest.raises(CelltableError, match="is an empty folder; expected"):
            ingest(plugin.name, tmp_path / "empty", tmp_path / "a.celltable")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("nothing of the kind")
        expected = rf"(?s){plugin.name}.*expected .*found notes\.txt.*celltable datasets {plugin.name}"
        with pytest.raises(CelltableError, match=expected):
            ingest(plugin.name, tmp_path / "other", tmp_path / "a.celltable")
        assert not (tmp_path / "a.celltable").exists()

    def test_a_damaged_archive_ends_the_command(self, plugin: Dataset, tmp_path: Path) -> None:
        """A truncated, empty or random archive gives one sentence with its name and what to do."""
        root = unpacked(plugin.example(tmp_path / "example", 0), tmp_path / "copy")
        archive = zipped(root, root, tmp_path / "release ä.zip")
        whole = archive.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-9], b"", b"noise" * 99):
            archive.write_bytes(damaged)
            with pytest.raises(CelltableError, match=r"release ä\.zip.*(cut short|download)"):
                rules_of(plugin, archive)

    def test_byte_order_marks_and_windows_line_ends_change_nothing(self, plugin: Dataset, tmp_path: Path) -> None:
        """Text files may have been saved again by another program."""
        root = unpacked(plugin.example(tmp_path / "example", 0), tmp_path / "copy")
        texts = [p for p in root.rglob("*") if p.suffix in TEXTS]
        if not texts:
            pytest.skip("the release has no text files")
        with open_release(root) as release:
            before = [fingerprint(s) for s in read(plugin, release)[1]]
        for path in texts:
            plain = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
            path.write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
        with open_release(root) as release:
            assert [fingerprint(s) for s in read(plugin, release)[1]] == before

    def test_pickled_arrays_are_refused_and_never_loaded(self, plugin: Dataset, tmp_path: Path) -> None:
        """Pickled arrays, which could run code, are never loaded."""
        root = unpacked(plugin.example(tmp_path / "example", 0), tmp_path / "copy")
        arrays = sorted(p.relative_to(root) for p in root.rglob("*.npy"))
        if not arrays:
            pytest.skip("the release has no arrays")
        for k, array in enumerate(arrays):
            copy = Path(shutil.copytree(root, tmp_path / f"trap {k}"))
            np.save(copy / array, np.array([_Trap()], dtype=object), allow_pickle=True)
            with pytest.raises(InputError, match="pickled"):
                rules_of(plugin, copy)


def _of_part(example: Example, part: str) -> list[Sample]:
    """Read the images of one part; none if the example lacks it, which the reader may refuse by name."""
    try:
        return read(example.dataset, example.release, (part,))[1]
    except CelltableError as exc:
        if part not in str(exc):
            raise
        return []
