"""``python -m celltable`` is the command line."""

from celltable.cli import main

main()
