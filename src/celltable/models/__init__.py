"""Models, one per file: each module holds one frozen ``MODEL``.

The contract is `celltable.plugins.model`.
"""
