"""Published samples are exported and read back in every format; they differ exactly by the reported loss."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable import plugins
from celltable.cells import Image, Sample
from celltable.imagefile import open_release
from celltable.plugins import losses as kinds
from celltable.plugins.format import Format
from celltable.testing.roundtrip import difference, unreadable_without_sizes
from celltable.tiling import Tile, cut

WRITABLE = [n for n in plugins.names("formats") if plugins.load("formats", n).write is not None]
Find = Callable[[str], Path]


@dataclasses.dataclass(frozen=True)
class Release:
    """A published sample, which of its images are taken, the edge of the window cut out of each (0: all of it)."""

    path: str
    which: slice
    window: int = 0


RELEASES = {
    "dsb2018": Release("dsb2018/stage1_train.zip", slice(0, 60, 5), window=140),
    "bbbc039": Release("bbbc039/bbbc039.zip", slice(0, 1)),
    "isbi2009": Release("isbi2009/2009_ISBI_2DNuclei_code_data.zip", slice(1, 3), window=400),
    "kumar": Release("kumar/nucleisegmentationbenchmark.zip", slice(1, 2), window=220),
    "tnbc": Release("tnbc/TNBC_NucleiSegmentation.zip", slice(0, 3), window=220),
    "livecell": Release("livecell/LIVECell_dataset_2021", slice(0, 45, 8), window=200),
    "pannuke": Release("pannuke/fold_3_slice.zip", slice(0, 4)),
    "pannuke_imagemask": Release("pannuke_imagemask/PanNuke-ImageMask-Dataset-V2-mini_test.zip", slice(1, 2)),
    "hpa_single_cell": Release("hpa", slice(0, 2), window=900),
}

# Everything, in minutes instead of seconds: CELLTABLE_WHOLE_SAMPLES=1 pytest tests/formats/test_real_samples.py
if os.environ.get("CELLTABLE_WHOLE_SAMPLES"):
    RELEASES = {name: dataclasses.replace(r, which=slice(None), window=0) for name, r in RELEASES.items()}


@pytest.fixture(scope="module")
def published(sample: Find) -> Callable[[str], list[Sample]]:
    """The chosen images of a release, read once."""
    read: dict[str, list[Sample]] = {}

    def of(name: str) -> list[Sample]:
        if name not in read:
            read[name] = list(_read(name, sample(RELEASES[name].path)))
        return read[name]

    return of


def _read(name: str, path: Path) -> list[Sample]:
    chosen, dataset = RELEASES[name], plugins.load("datasets", name)
    with open_release(path) as release:
        found = dataset.scan(release, ())
        samples = [dataset.load(release, found.shared, item) for item in found.items[chosen.which]]
        return [_window(s, chosen.window) for s in samples]


def _window(whole: Sample, edge: int) -> Sample:
    pixels = whole.pixels()
    if not edge:
        return dataclasses.replace(whole, findings=(), load_pixels=lambda: pixels)
    tile = Tile(0, 0, min(edge, whole.image.height), min(edge, whole.image.width))
    part = np.ascontiguousarray(pixels[: tile.height, : tile.width])
    image = dataclasses.replace(whole.image, height=tile.height, width=tile.width)
    return Sample(image, cut(whole.instances, tile), load_pixels=lambda: part)


@pytest.mark.real
@pytest.mark.parametrize("form", WRITABLE)
@pytest.mark.parametrize("name", RELEASES)
def test_a_published_sample_comes_back_with_the_stated_loss(
    name: str, form: str, published: Callable[[str], list[Sample]], tmp_path: Path
) -> None:
    plugin: Format = plugins.load("formats", form)
    before = published(name)
    assert sum(len(s.instances) for s in before) > 5
    if plugin.limits.one_size:
        before = [s for s in before if s.image.size == before[0].image.size]
    out = tmp_path / ("out" + "".join(plugin.extensions[:1]))
    assert plugin.write is not None
    loss = plugin.write(iter(before), out)
    if plugin.read is None:
        pytest.skip(f"{form} is written only")
    known: dict[str, Image] = {}
    expected: Counter[str] = Counter()
    if kinds.SIZE in loss.items:
        known = {s.image.image_id: Image(s.image.image_id, *s.image.size) for s in before}
        expected[kinds.SIZE] = unreadable_without_sizes(plugin, out, before)
    after = list(plugin.read(out, known))
    assert [f for s in after for f in s.findings if f.severity == "error"] == []
    expected += difference(plugin, before, after, loss)
    assert dict(loss.items) == dict(+expected)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "form"),
    [*((n, "livecell") for n in RELEASES), *((n, "nuclei-coco") for n in ("dsb2018", "kumar", "tnbc"))],
)
def test_what_is_written_only_is_read_by_the_reader_of_that_release(
    name: str, form: str, published: Callable[[str], list[Sample]], tmp_path: Path
) -> None:
    before = [dataclasses.replace(s, image=dataclasses.replace(s.image, dataset=name)) for s in published(name)]
    form_of: Format = plugins.load("formats", form)
    assert form_of.read is None
    assert form_of.write is not None
    loss = form_of.write(iter(before), tmp_path / "out")
    dataset = plugins.load("datasets", form.replace("-", "_"))
    with open_release(tmp_path / "out") as release:
        found = dataset.scan(release, ())
        after = [dataset.load(release, found.shared, item) for item in found.items]
    assert [f for s in after for f in s.findings if f.severity == "error"] == []
    assert len(before) - len(after) == sum(n for what, n in loss.items.items() if what.startswith("unlabelled images"))
    old, new = (Counter((s.image.size, mask) for s in made for mask in s.instances.rle) for made in (before, after))
    assert old.total() == new.total() == loss.written["cells"]
    assert (old - new).total() == loss.items[kinds.HOLES] + loss.items[kinds.PARTS]
