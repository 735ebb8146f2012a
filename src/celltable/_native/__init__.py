"""The compiled core: small C++ modules for the hot loops of geometry, imagefile, formats and scoring."""
