"""Models that outline and label cells, one per file; prediction never needs torch.

A module here holds one frozen ``MODEL``: a function from pixels to instances, without training for the classical floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from celltable.cells import Image, Instances


@dataclass(frozen=True, slots=True)
class Model:
    """A segmentation model.

    Attributes
    ----------
    name, title, description
        The plug-in's name (kebab-case), its title, and what it does, with its source.
    predict
        ``predict(pixels, image, **options) -> Instances`` with a score for each cell; `pixels` is (row, column) or
        (row, column, channel) as published.
    options
        Option name → default.
    """

    name: str
    title: str
    description: str
    predict: Callable[..., Instances]
    options: Mapping[str, float | str] = field(default_factory=dict)


Predict = Callable[[NDArray[Any], Image], Instances]
