"""Every plug-in can be sent to another process, alone and as the step of a pipeline that runs it."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from celltable import plugins
from celltable.imagefile import open_release
from celltable.pipelines.ingest import Loader

EVERY = [(family, name) for family in plugins.FAMILIES for name in plugins.names(family)]


@pytest.mark.parametrize(("family", "name"), EVERY)
def test_a_plug_in_pickles(family: str, name: str) -> None:
    plugin = plugins.load(family, name)
    again = pickle.loads(pickle.dumps(plugin))
    assert type(again) is type(plugin)
    for field in fields(plugin):
        sent, own = getattr(again, field.name), getattr(plugin, field.name)
        assert sent == own or repr(sent) == repr(own), field.name  # a bound method is equal only to itself


@pytest.mark.parametrize("name", plugins.names("datasets"))
def test_a_reader_gives_the_same_samples_where_it_was_sent(name: str, tmp_path: Path) -> None:
    reader = plugins.load("datasets", name)
    with open_release(reader.example(tmp_path / "release", 0)) as release:
        scan = reader.scan(release, ())
        load = Loader(reader, release, (), scan, None)
        sent: Any = pickle.loads(pickle.dumps(load))
        assert sent.release is not release
        for item in scan.items:
            here, there = load(item), sent(pickle.loads(pickle.dumps(item)))
            assert (here.image, here.findings) == (there.image, there.findings)
            assert here.instances.to_arrow("i").equals(there.instances.to_arrow("i"))
            assert pickle.loads(pickle.dumps(there)).image == here.image
