"""One celltable plug-in of each family."""
