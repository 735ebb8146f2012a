"""Repairs, one per file: each module defines one frozen ``REPAIR``.

The contract is `celltable.plugins.repair`.
"""
