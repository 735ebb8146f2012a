"""The contract of a model that segments and labels cells, one per file; prediction never needs torch.

A module of `celltable.models` holds one frozen ``MODEL``: a function from pixels to instances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from celltable.cells import Image, Instances

from .contract import check_name, check_options
from .options import Option


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
        Every keyword of `predict`.
    """

    name: str
    title: str
    description: str
    predict: Callable[..., Instances]
    options: tuple[Option, ...] = ()

    def __post_init__(self) -> None:
        owner = f"the model {self.name}"
        check_name(owner, self.name)
        check_options(owner, self.options, {"predict": self.predict}, given=2)


Predict = Callable[[NDArray[Any], Image], Instances]
