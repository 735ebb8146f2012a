"""The compiled core: a few small C++ modules for the loops that must be fast; import them through celltable.geometry and celltable.imagefile."""
