"""Repairs, one per file: each module holds one frozen ``REPAIR``.

The contract is `celltable.plugins.repair`.
"""
