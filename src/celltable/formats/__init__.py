"""Annotation formats, one per file: each module holds one frozen ``FORMAT``.

The contract is `celltable.plugins.format`.
"""
