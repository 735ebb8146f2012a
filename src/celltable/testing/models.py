"""The contract of models: cells with scores at the image's size, reproducible, whatever the pixels are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from celltable.cells import Image, Instances, Pixels, Sample
from celltable.pipelines.predict import predict
from celltable.plugins.example import discs
from celltable.plugins.model import Model
from celltable.plugins.options import shown
from celltable.store import StoreWriter, open_store

from .base import PluginTests

SIZE = (64, 80)
PLACES = [(16, 16, 8), (16, 56, 9), (46, 24, 10), (44, 60, 7)]


def _grey() -> NDArray[np.uint8]:
    bright = np.any(discs(*PLACES, size=SIZE), axis=0)
    noise = np.random.default_rng(0).integers(0, 12, SIZE)
    return np.asarray(20 + 120 * bright + noise, np.uint8)


PICTURES: dict[str, Callable[[], NDArray[Any]]] = {
    "grey": _grey,
    "16 bit": lambda: _grey().astype(np.uint16) * 200,
    "colour": lambda: np.dstack([_grey(), _grey() // 2, _grey() // 3]),
    "one value": lambda: np.full(SIZE, 7, np.uint8),
    "one row": lambda: _grey()[:1],
    "one pixel": lambda: _grey()[:1, :1],
}


class ModelTests(PluginTests):
    """Tests of a model on generated pictures of bright discs, and on empty pictures."""

    family = "models"

    def test_it_says_what_it_is(self, plugin: Model) -> None:
        """Title and description are not empty."""
        assert plugin.title.strip()
        assert plugin.description.strip()

    @pytest.mark.parametrize("picture", PICTURES)
    def test_cells_are_valid_scored_and_the_same_twice(self, plugin: Model, picture: str) -> None:
        """Masks fit the image, scores are numbers from 0 to 1, and the pixels are not changed."""
        pixels = PICTURES[picture]()
        before = pixels.copy()
        height, width = pixels.shape[:2]
        first, second = (plugin.predict(pixels, Image("a", height, width), **_defaults(plugin)) for _ in range(2))
        assert isinstance(first, Instances)
        assert first.size == (height, width)
        first.rle.check()
        scores = first.column("score")
        assert all(score is not None and 0 <= score <= 1 for score in scores)
        assert first.to_arrow("a").equals(second.to_arrow("a"))
        np.testing.assert_array_equal(pixels, before)

    def test_the_verb_writes_its_cells_into_a_store(self, plugin: Model, tmp_path: Path) -> None:
        """``celltable predict`` with every option given as text writes what the function returns."""
        Pillow.fromarray(_grey()).save(tmp_path / "a.png")
        image = Image("a", *SIZE, pixels=(Pixels("here:", "a.png"),))
        with StoreWriter(tmp_path / "images.celltable", {}) as writer:
            writer.append(Sample(image, Instances.empty(SIZE)))
            sources = {"here:": {"path": str(tmp_path), "relative": ".", "size": 0, "sha256": ""}}
            writer.finish({"name": "images", "title": "Images", "licence": "CC0", "sources": sources})
        options = {o.name: shown(o.default) for o in plugin.options if o.default is not None}
        out = tmp_path / "predictions.celltable"
        predict(tmp_path / "images.celltable", out, model=plugin.name, options=options, workers=2)
        expected = plugin.predict(_grey(), image, **_defaults(plugin))
        written = open_store(out)["a"].instances
        assert list(written.rle) == list(expected.rle)
        np.testing.assert_allclose(np.asarray(written.column("score")), np.asarray(expected.column("score")), rtol=1e-6)


def _defaults(model: Model) -> dict[str, Any]:
    return {option.name: option.default for option in model.options}
