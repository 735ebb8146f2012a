"""Checks, one kind of defect per file: each module holds one frozen ``CHECK``.

The contract is `celltable.plugins.check`.
"""
