"""Notations that formats and data sets share: how a file spells cells, classes, polygons and image ids."""
