"""Every check, repair, metric and model of celltable fulfils the contract for third-party plug-ins."""

from __future__ import annotations

from celltable import plugins
from celltable.testing import CheckTests, MetricTests, ModelTests, RepairTests


class TestEveryCheck(CheckTests):
    names = plugins.names("checks")


class TestEveryRepair(RepairTests):
    names = plugins.names("repairs")


class TestEveryMetric(MetricTests):
    names = plugins.names("metrics")


class TestEveryModel(ModelTests):
    names = plugins.names("models")
