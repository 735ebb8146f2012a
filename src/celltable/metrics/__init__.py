"""Metrics, one published protocol per file: each module holds one frozen ``METRIC`` and is found by its file name.

The contract of a metric is `celltable.plugins.metric`; what protocols share is in `celltable.scoring`.
"""
