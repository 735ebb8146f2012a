"""The parameters of COCO's (COCOeval.params) and LIVECell's evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from celltable.errors import NotFoundError

Floats = NDArray[np.float64]
Shape = Literal["segm", "bbox"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """The parameters in COCOeval.params.

    Attributes
    ----------
    thresholds
        IoU from which a detection is a hit. ``linspace(.5, .95, 10)`` as in the reference: [8] is 0.8999999999999999.
    areas
        Area ranges in px² by name, both bounds inclusive.
    max_dets
        Limits on detections per image and category, ascending; matching is done once, with the last.
    shape
        "segm" for masks, "bbox" for boxes.
    use_classes
        False treats all classes as one.
    box_areas
        Whether strict mode uses the box area of results with a box (loadRes), if masks are compared.
    """

    thresholds: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
    areas: tuple[tuple[str, float, float], ...] = (
        ("all", 0.0, 1e10),
        ("small", 0.0, 32.0**2),
        ("medium", 32.0**2, 96.0**2),
        ("large", 96.0**2, 1e10),
    )
    max_dets: tuple[int, ...] = (1, 10, 100)
    recalls: tuple[float, ...] = tuple(np.linspace(0.0, 1.0, 101).tolist())
    shape: Shape = "segm"
    use_classes: bool = True
    box_areas: bool = True

    @property
    def area_ranges(self) -> Floats:
        """The area ranges, float64 (A, 2)."""
        return np.array([(low, high) for _, low, high in self.areas], np.float64)


COCO = Protocol()
LIVECELL = Protocol(
    areas=(("all", 0.0, 1e10), ("small", 0.0, 18.0**2), ("medium", 18.0**2, 31.0**2), ("large", 31.0**2, 1e10)),
    max_dets=(100, 500, 2000),
    use_classes=False,
    box_areas=False,
)  # LIVECell, code/coco_evaluation: useCats = 0, catIds = [1]; boxes of results are dropped before loadRes


def protocol_of(shape: Shape, max_dets: Sequence[int], use_classes: bool) -> Protocol:
    """Return COCO's parameters with the options of a metric."""
    return Protocol(shape=shape, max_dets=tuple(sorted(max_dets)), use_classes=use_classes)


PROTOCOLS: Final[Mapping[str, Protocol]] = {"coco": COCO, "livecell": LIVECELL}


def protocol_named(name: str | Protocol) -> Protocol:
    """Look up the parameters called `name`; parameters are returned as they are.

    Raises
    ------
    NotFoundError
        If there are none with that name.
    """
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise NotFoundError(f"No COCO protocol is called '{name}'; expected one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
