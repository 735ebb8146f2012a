"""Published releases, one per file: each module holds one frozen ``DATASET``.

The contract is `celltable.plugins.dataset`.
"""
