"""Every format of celltable fulfils the contract for third-party formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from celltable import plugins
from celltable.cells import Image, Sample
from celltable.errors import PluginError
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek
from celltable.testing import FormatTests
from celltable.testing.corpus import corpus
from celltable.testing.formats import leaves_alone


class TestEveryFormat(FormatTests):
    names = plugins.names("formats")


COCO: Format = plugins.load("formats", "coco")


def forgetful(samples: Iterable[Sample], out: Path, *, overwrite: bool = False) -> ConversionReport:
    """Write COCO without the first cell of each image and do not report it."""
    assert COCO.write is not None
    kept = (replace(s, instances=s.instances.take(s.instances.ids > 1)) for s in samples)
    return COCO.write(kept, out, overwrite=overwrite)


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    assert COCO.read is not None
    yield from COCO.read(path, images)


def greedy(peek: Peek) -> Recognition | None:
    return Recognition(Strength.SIGNATURE, "it being there")


def test_a_format_that_silently_drops_cells_fails(tmp_path: Path) -> None:
    form = Format("lossy", "Lossy", "A file.", COCO.keeps, read, forgetful, greedy, extensions=(".json",))
    with pytest.raises(AssertionError, match="is gone with its cells|cells are missing|COVERED|hidden"):
        FormatTests().test_what_comes_back_differs_by_exactly_the_stated_loss(form, tmp_path)


def test_a_format_that_recognises_every_path_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = Format("greedy", "Greedy", "A file.", COCO.keeps, read, None, greedy)
    every = plugins.load_all("formats") | {"greedy": form}
    monkeypatch.setattr(plugins, "load_all", lambda family: every)
    label_png = every["label-png"]
    assert label_png.write is not None
    label_png.write(iter(corpus()[:1]), tmp_path / "maps")
    with pytest.raises(AssertionError, match="greedy takes the output of label-png"):
        leaves_alone(form, "label-png", tmp_path / "maps")


def test_contradictions_within_a_format_are_named_where_it_is_made() -> None:
    with pytest.raises(PluginError, match=r"the format x has only one of read\(\) and recognise\(\)"):
        Format("x", "X", "A file.", frozenset(), read=read)
    with pytest.raises(PluginError, match="the format x keeps hole; expected some of overlap, holes"):
        Format("x", "X", "A file.", frozenset({"hole"}))
    with pytest.raises(PluginError, match="declares the option size"):
        Format("x", "X", "A file.", frozenset(), write=forgetful, write_options=(Option("size", 1, "edge"),))
