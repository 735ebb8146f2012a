"""The compiled core: a few small C++ modules for the loops that must be fast, for geometry, imagefile, metrics."""
