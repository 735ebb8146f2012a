"""``celltable import`` says what it read and what it could not find."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from celltable import plugins
from celltable.cli import build
from celltable.pipelines.convert import export
from celltable.pipelines.ingest import ingest


def test_images_without_pixels_are_counted_aloud(tmp_path: Path) -> None:
    commands = build(["import", "export"])
    store = ingest("tnbc", plugins.load("datasets", "tnbc").example(tmp_path / "r", 0), tmp_path / "a.celltable")
    export(store, "coco", tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    arguments = ["import", "coco", str(tmp_path / "a.json")]
    alone = CliRunner().invoke(commands, [*arguments, str(tmp_path / "b")])
    assert (
        f"3 images and {len(document['annotations'])} cells of a.json (coco), 0 findings on the way\n" in alone.output
    )
    assert "3 images without pixels; --images STORE" in alone.output
    beside = CliRunner().invoke(commands, [*arguments, str(tmp_path / "c"), "--images", str(store.path)])
    assert beside.exit_code == 0, beside.output
    assert "without pixels" not in beside.output
