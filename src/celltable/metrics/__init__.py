"""Metrics, one published protocol per file: each module holds one frozen ``METRIC``, found by its file name.

The contract of a metric and everything that protocols share is in `celltable.scoring`.
"""
