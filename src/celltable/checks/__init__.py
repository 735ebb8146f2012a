"""Checks, one per file: each module defines one frozen ``CHECK``.

The contract is `celltable.plugins.check`.
"""
