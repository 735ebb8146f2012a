"""Notations shared by formats and data sets: how files spell cells, classes, polygons and image ids."""
