"""The plug-ins of this package keep to celltable's contracts."""

from __future__ import annotations

from petri.checks import CHECK
from petri.datasets import DATASET
from petri.metrics import METRIC
from petri.models import MODEL
from petri.repairs import REPAIR

from celltable.testing import CheckTests, DatasetTests, MetricTests, ModelTests, RepairTests


class TestDishes(DatasetTests):
    plugin = DATASET


class TestSquareCell(CheckTests):
    plugin = CHECK


class TestRoundCorners(RepairTests):
    plugin = REPAIR


class TestIoU(MetricTests):
    plugin = METRIC


class TestBrightPixels(ModelTests):
    plugin = MODEL
