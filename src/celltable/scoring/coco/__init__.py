"""COCO's evaluation: matching, accumulation, resampling, and scores straight from JSON files."""
