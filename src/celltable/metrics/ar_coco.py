"""COCO average recall: the share of cells found, averaged over ten IoU thresholds and classes."""

from __future__ import annotations

from dataclasses import replace

from celltable.scoring.coco.metrics import COCO_CARD, coco_metric

CARD = replace(
    COCO_CARD,
    title="COCO average recall",
    quantity="mean over IoU 0.50:0.05:0.95 and classes of the recall that all allowed detections reach",
    formula=(
        "AR = mean over t, class of TP / cells at the largest limit on detections; AR1, AR10 at the smaller ones; "
        "ARs, ARm, ARl by area"
    ),
    namesakes="ar_livecell allows 2000 detections and has other areas",
)

METRIC = coco_metric("ar_coco", "AR", CARD)
