"""Sections of the report, one per file: each module holds one frozen ``SECTION``.

The contract is `celltable.plugins.section`.
"""
