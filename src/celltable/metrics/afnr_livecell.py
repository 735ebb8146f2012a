"""LIVECell average false-negative rate: the share of missed cells, averaged over ten IoU thresholds."""

from __future__ import annotations

from dataclasses import replace

from celltable.scoring.coco.metrics import LIVECELL_CARD, livecell_metric

CARD = replace(
    LIVECELL_CARD,
    title="LIVECell average false-negative rate",
    quantity="mean over IoU 0.50:0.05:0.95 of FN / (TP + FN)",
    formula=(
        "AFNR = 1 - AR at 2000 detections; the repository does not compute it, and this is the definition of the "
        "paper's users"
    ),
    empty="images without cells only add false positives; no cells at all: undefined; no detections: 1",
    strict=LIVECELL_CARD.strict + "; the AFNR of an undefined recall is 1 - (-1) = 2",
    namesakes="ar_livecell is 1 - this",
)

METRIC = livecell_metric("afnr_livecell", "AFNR", CARD)
