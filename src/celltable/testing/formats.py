"""The contract of a format: it recognises its own files, and a round trip loses exactly what the report says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image as Pillow

from celltable import plugins
from celltable.cells import Image, Sample
from celltable.errors import CelltableError, InputError
from celltable.plugins import losses
from celltable.plugins.format import Format, detect, recognitions
from celltable.plugins.peek import Peek

from .base import PluginTests
from .corpus import corpus
from .roundtrip import difference, unreadable_without_sizes

ODD = frozenset(  # losses that may occur even if the format keeps the feature
    {
        *(losses.NOT_DRAWN, losses.GIVEN_CLASS, losses.GIVEN_SCORE, losses.GIVEN_PIXELS, losses.IDS, losses.CLASSES),
        *(losses.EMPTY_IMAGES, losses.UNLABELLED, losses.PARTIAL),
    }
)


def samples_for(form: Format) -> list[Sample]:
    """Adapt the corpus to a format: its own classes, and images of one size if it needs that."""
    size = (48, 48) if form.limits.one_size else None
    return corpus(size, form.limits.classes[:2]) if len(form.limits.classes) > 1 else corpus(size)


def output(form: Format, folder: Path, name: str = "out") -> Path:
    """Return the path that the format writes to."""
    return folder / (name + "".join(form.extensions[:1]))


class FormatTests(PluginTests):
    """Contract tests of a format; inherit them and set `plugin` (or `names`)."""

    family: ClassVar[str] = "formats"

    def test_what_comes_back_differs_by_exactly_the_stated_loss(self, plugin: Format, tmp_path: Path) -> None:
        """Everything a cell annotation can be is written and read; the report lists exactly the differences."""
        before, write, read = samples_for(plugin), _writer(plugin), plugin.read
        out = output(plugin, tmp_path)
        report = write(iter(before), out)
        if read is None:
            pytest.skip(f"{plugin.name} is written only")
        known: Mapping[str, Image] = {}
        expected: Counter[str] = Counter()
        if losses.SIZE in report.items:
            known = {s.image.image_id: Image(s.image.image_id, *s.image.size) for s in before}
            expected[losses.SIZE] = unreadable_without_sizes(plugin, out, before)
        after = list(read(out, known))
        assert [f for s in after for f in s.findings if f.severity == "error"] == []
        expected += difference(plugin, before, after, report)
        assert dict(report.items) == dict(+expected)

    def test_only_features_that_are_not_kept_are_lost(self, plugin: Format, tmp_path: Path) -> None:
        """Features listed in `keeps` do not appear among the losses."""
        report = _writer(plugin)(iter(samples_for(plugin)), output(plugin, tmp_path))
        lost = {text.split(":")[0].replace(" ", "-") for text in set(report.items) - ODD}
        assert not lost & (plugin.keeps - {"image-size"})

    def test_the_same_samples_give_the_same_bytes(self, plugin: Format, tmp_path: Path) -> None:
        """Files do not depend on dates, random numbers or the order of a set."""
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
            _writer(plugin)(iter(samples_for(plugin)), output(plugin, tmp_path / folder))
        assert contents(tmp_path / "one") == contents(tmp_path / "two")

    def test_a_failure_half_way_leaves_nothing_behind(self, plugin: Format, tmp_path: Path) -> None:
        """Output is written atomically."""

        def failing() -> Iterator[Sample]:
            yield from samples_for(plugin)[:2]
            raise InputError("the reader stopped")

        with pytest.raises(InputError, match="the reader stopped"):
            _writer(plugin)(failing(), output(plugin, tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_what_exists_is_replaced_only_when_asked(self, plugin: Format, tmp_path: Path) -> None:
        """Existing output is replaced only with ``overwrite``, and otherwise left unchanged."""
        samples, out = samples_for(plugin)[:2], output(plugin, tmp_path)
        _writer(plugin)(iter(samples), out)
        before = contents(tmp_path)
        with pytest.raises(CelltableError, match="exists"):
            _writer(plugin)(iter(samples), out)
        assert contents(tmp_path) == before
        _writer(plugin)(iter(samples), out, overwrite=True)
        assert contents(tmp_path) == before

    def test_it_recognises_what_it_writes(self, plugin: Format, tmp_path: Path) -> None:
        """Of all formats, this one is the most specific for its own output."""
        out = output(plugin, tmp_path)
        _writer(plugin)(iter(samples_for(plugin)), out)
        if plugin.recognise is None:
            pytest.skip(f"{plugin.name} is written only")
        found = detect(out)
        assert found.name == plugin.name
        with Peek(out) as peek:
            assert recognitions(peek)[plugin.name].reason

    def test_it_leaves_the_files_of_other_formats_to_them(
        self, plugin: Format, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Neither pictures nor the output of any other format are taken for this one."""
        if plugin.recognise is None:
            pytest.skip(f"{plugin.name} is written only")
        for name, path in outputs(tmp_path_factory.getbasetemp() / "of-every-format").items():
            leaves_alone(plugin, name, path)


def leaves_alone(form: Format, name: str, path: Path) -> None:
    """Assert that a format does not take what the format `name` wrote, and that it is recognised as `name` if read."""
    with Peek(path) as peek:
        answers = recognitions(peek)
    best = max((answer.strength for answer in answers.values()), default=None)
    taken = {n for n, answer in answers.items() if answer.strength == best}
    assert form.name == name or form.name not in taken, f"{form.name} takes the output of {name}"
    readable = name in plugins.names("formats") and plugins.load("formats", name).recognise is not None
    assert taken == ({name} if readable else set())


def outputs(folder: Path) -> dict[str, Path]:
    """Write a few samples in every format that can be written, and a folder of pictures, once."""
    forms = {n: f for n, f in plugins.load_all("formats").items() if f.write is not None}
    found = {n: output(f, folder, n) for n, f in forms.items()} | {"pictures": folder / "pictures"}
    if folder.exists():
        return found
    found["pictures"].mkdir(parents=True)
    for k, sample in enumerate(corpus()[:3]):
        Pillow.fromarray(np.ascontiguousarray(sample.pixels()[..., 0])).save(found["pictures"] / f"grey{k}.png")
        Pillow.fromarray(sample.pixels()).save(found["pictures"] / f"colour{k}.tif")
    for name, form in forms.items():
        form.write(iter(samples_for(form)[:4]), found[name])
    return found


def _writer(form: Format) -> Any:
    if form.write is None:
        pytest.skip(f"{form.name} is read only")
    return form.write


def contents(folder: Path) -> dict[str, bytes]:
    """List all files under a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
