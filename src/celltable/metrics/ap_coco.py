"""COCO average precision: area under the sampled precision envelope, averaged over ten IoU thresholds and classes."""

from __future__ import annotations

from dataclasses import replace

from celltable.scoring.coco.metrics import COCO_CARD, coco_metric

CARD = replace(
    COCO_CARD,
    title="COCO average precision",
    quantity="mean over IoU 0.50:0.05:0.95, 101 recalls and classes of the interpolated precision",
    formula=(
        "AP = mean over t, r, class of the highest precision at a recall of r or more; AP50, AP75; APs, APm, APl by "
        "area"
    ),
    strict=COCO_CARD.strict + "; AP is read at 100 detections, so it is -1 if max_dets does not list 100",
    namesakes="ap_livecell allows 2000 detections and has other areas; ap_dsb2018 and ap_stardist ignore scores",
)

METRIC = coco_metric("ap_coco", "AP", CARD)
