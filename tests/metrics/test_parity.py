"""The shipped parity vectors hold on this installation, and notice when a protocol changes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from celltable import plugins
from celltable.scoring import Pair, panoptic
from celltable.scoring.pair_table import PairTable
from celltable.scoring.parity import Row, parity


def test_every_protocol_is_within_its_tolerance() -> None:
    result = parity()
    assert result.ok, str(result)
    assert "All within tolerance" in str(result)
    assert all(row.cases > 0 and row.values >= row.cases for row in result)


def test_every_metric_has_vectors() -> None:
    covered = {row.protocol for row in parity()}
    missing = sorted(set(plugins.names("metrics")) - covered)
    assert not missing, (
        f"celltable parity shows nothing of {', '.join(missing)}: add a few pixels with the numbers worked out by hand "
        "to metrics/vectors/NAME.json"
    )


def broken() -> dict[str, Row]:
    return {row.protocol: row for row in parity() if not row.ok}


def test_a_tie_counted_the_other_way_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PairTable, "over", lambda self, threshold: np.flatnonzero(self.iou >= threshold))
    found = broken()
    assert {"pq_hovernet"} <= set(found)
    assert "exactly 1/2" in found["pq_hovernet"].worst


def test_another_constant_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panoptic, "SQ_EPS", 2e-6)
    assert {"pq_hovernet", "pq_pannuke", "pq_cellvit"} <= set(broken())


def test_an_undefined_number_is_an_infinite_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pair, "seen", lambda self, mode: self)
    monkeypatch.setattr(PairTable, "foreground", (0, 0, 0))
    found = broken()
    assert found["iou_pixel"].largest_difference == math.inf
