"""LIVECell average recall: the share of cells found with up to 2000 detections per image."""

from __future__ import annotations

from dataclasses import replace

from celltable.scoring.coco.metrics import LIVECELL_CARD, livecell_metric

CARD = replace(
    LIVECELL_CARD,
    title="LIVECell average recall",
    quantity="mean over IoU 0.50:0.05:0.95 of the recall that 2000 detections per image reach",
    formula="AR = mean over t of TP / cells; AR100, AR500 at smaller limits; ARs, ARm, ARl by area; per IoU",
    namesakes="ar_coco allows 100 detections; afnr_livecell is 1 - this",
)

METRIC = livecell_metric("ar_livecell", "AR", CARD)
