"""LIVECell average precision: COCO's, with up to 2000 detections per image and area ranges for cells."""

from __future__ import annotations

from dataclasses import replace

from celltable.scoring.coco.metrics import LIVECELL_CARD, livecell_metric

CARD = replace(
    LIVECELL_CARD,
    title="LIVECell average precision",
    quantity="mean over IoU 0.50:0.05:0.95 and 101 recalls of the interpolated precision",
    formula=(
        "AP = mean over t, r of the highest precision at a recall of r or more; AP50, AP75; APs, APm, APl by area; "
        "per IoU"
    ),
    namesakes=(
        "ap_coco allows 100 detections, so it cannot reach 1 on dense images, and its area ranges make nearly every "
        "cell small"
    ),
)

METRIC = livecell_metric("ap_livecell", "AP", CARD)
