"""The plug-ins of this package fulfil celltable's contracts."""

from __future__ import annotations

from petri.checks import CHECK
from petri.datasets import DATASET
from petri.formats import FORMAT
from petri.metrics import METRIC
from petri.models import MODEL
from petri.repairs import REPAIR

from celltable.testing import CheckTests, DatasetTests, FormatTests, MetricTests, ModelTests, RepairTests


class TestDishes(DatasetTests):
    plugin = DATASET


class TestPetriJson(FormatTests):
    plugin = FORMAT


class TestSquareCell(CheckTests):
    plugin = CHECK


class TestRoundCorners(RepairTests):
    plugin = REPAIR


class TestIoU(MetricTests):
    plugin = METRIC


class TestBrightPixels(ModelTests):
    plugin = MODEL
