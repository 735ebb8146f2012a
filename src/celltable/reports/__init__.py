"""Sections of the report, one per file: each module defines one frozen ``SECTION``.

The contract is `celltable.plugins.section`.
"""
