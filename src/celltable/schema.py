"""The tables of a store: their columns, types and units, as versioned Arrow schemas.

One row of ``images`` is one field of view; one row of ``instances`` is one annotated or predicted cell. The field
metadata holds units under ``unit`` and meanings under ``about``.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

VERSION: Final = 2  # 1: findings and edits without generation, scores without runs

_UTF8 = pa.string()
_NAMES = pa.list_(pa.string())
PIXELS: Final = pa.list_(
    pa.struct(
        [
            pa.field("source", _UTF8),
            pa.field("member", _UTF8),
            pa.field("index", pa.int64()),
            pa.field("role", _UTF8),
            pa.field("channel", pa.int32()),
        ]
    )
)


def _field(name: str, kind: pa.DataType, about: str, *, unit: str = "", required: bool = False) -> pa.Field:
    text = {"about": about, **({"unit": unit} if unit else {})}
    return pa.field(name, kind, nullable=not required, metadata=text)


def _table(name: str, *fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"celltable.table": name, "celltable.version": str(VERSION)})


IMAGES: Final = _table(
    "images",
    _field("image_id", _UTF8, "unique within the store; rows are sorted by it", required=True),
    _field("dataset", _UTF8, "the data set the image was read from", required=True),
    _field(
        "pixels",
        PIXELS,
        "where the pixels are: source (a key of dataset.json), member, index in it, channel role, channel of the file",
    ),
    _field("height", pa.int32(), "rows", unit="px", required=True),
    _field("width", pa.int32(), "columns", unit="px", required=True),
    _field("channels", _NAMES, "channel names in order"),
    _field("dtype", _UTF8, "NumPy name of the published pixel type"),
    _field("modality", _UTF8, "fluorescence, bright-field, histology, phase-contrast, …"),
    _field("image_class", _UTF8, "image type as published or derived (the nuclei_class of COCO nuclei collections)"),
    _field("tissue", _UTF8, "tissue or organ"),
    _field("cell_type", _UTF8, "cell line or type"),
    _field("split", _UTF8, "train, val, test, … as published or made by split"),
    _field("leakage_group", _UTF8, "what must not straddle train and test: patient, well, slide, plate, fold"),
    _field("group_source", _UTF8, "published, or derived by celltable"),
    _field("labels", _NAMES, "image-level (weak) labels in published order"),
    _field("count", pa.float64(), "image-level count where only a count is published", unit="cells"),
    _field("magnification", pa.float32(), "objective magnification", unit="x"),
    _field("pixel_size_um", pa.float32(), "edge of a pixel", unit="um"),
    _field("annotated", pa.bool_(), "false: unlabelled, which is not the same as empty", required=True),
    _field("exhaustive", pa.bool_(), "false: partial annotation, absence is not background", required=True),
    _field("ignore", pa.bool_(), "true: kept but never scored nor trained on", required=True),
    _field("n_instances", pa.int32(), "rows of this image in instances", unit="cells", required=True),
    _field("metadata", pa.map_(pa.string(), pa.string()), "free metadata"),
)

INSTANCES: Final = _table(
    "instances",
    _field("image_id", _UTF8, "the image; rows are sorted by it, then by instance_id", required=True),
    _field("instance_id", pa.int32(), "1, 2, … within the image, in published order", required=True),
    _field("kind", _UTF8, "nucleus or cell", required=True),
    _field("parent", pa.int32(), "instance_id of the cell that a nucleus belongs to"),
    _field("class_name", _UTF8, "the class (the first, where there are several)"),
    _field("class_names", _NAMES, "all classes, only where a cell has several"),
    _field("class_scores", pa.list_(pa.float64()), "confidence of each of class_names"),
    _field("bbox_x", pa.int32(), "left edge of the mask's tight box", unit="px", required=True),
    _field("bbox_y", pa.int32(), "top edge of the mask's tight box", unit="px", required=True),
    _field("bbox_w", pa.int32(), "width of the mask's tight box", unit="px", required=True),
    _field("bbox_h", pa.int32(), "height of the mask's tight box", unit="px", required=True),
    _field("area", pa.int64(), "pixels of the mask", unit="px2", required=True),
    _field("rle", pa.binary(), "compressed COCO run lengths, column-major, of the full image", required=True),
    _field("polygon", pa.binary(), "the published polygon, compactly coded; null if none was published"),
    _field("published_area", pa.float64(), "area as the release states it", unit="px2"),
    _field("published_bbox", pa.list_(pa.float64()), "box as the release states it: x, y, width, height", unit="px"),
    _field("score", pa.float64(), "confidence of a prediction; null for ground truth"),
    _field("ignore", pa.bool_(), "true: kept but never scored nor trained on", required=True),
    _field("crowd", pa.bool_(), "true: a group of cells as one region (COCO iscrowd)", required=True),
    _field("truncated", pa.bool_(), "true: cut by the border of a tile", required=True),
    _field("annotator", _UTF8, "who made it: manual, automatic, a name, a model"),
    _field("source_id", _UTF8, "the release's own id: a mask file, an annotation id"),
)

FINDINGS: Final = _table(
    "findings",
    _field("image_id", _UTF8, "null for a finding about the whole release"),
    _field("instance_id", pa.int32(), "null for a finding about an image"),
    _field("rule", _UTF8, "name of the check, in kebab-case", required=True),
    _field("severity", _UTF8, "error, warning or note", required=True),
    _field("value", pa.float64(), "the measured value"),
    _field("message", _UTF8, "what was found, in a sentence", required=True),
    _field("generation", pa.int32(), "counter of the generation whose cells it is about; null: not of cells"),
    _field("stale", pa.int32(), "the generation whose edits changed what it is about; null while it holds"),
)

EDITS: Final = _table(
    "edits",
    _field("edit_id", pa.int32(), "1, 2, … in the order of application", required=True),
    _field("batch", pa.int32(), "edits of one repair command share a batch; undo takes the last", required=True),
    _field("image_id", _UTF8, "the image", required=True),
    _field("instance_id", pa.int32(), "the cell that was changed, removed or added", required=True),
    _field("action", _UTF8, "replace, remove or add", required=True),
    _field("repair", _UTF8, "name of the repair, in kebab-case", required=True),
    _field("rule", _UTF8, "the finding that it mends"),
    _field("reason", _UTF8, "why, in a sentence", required=True),
    _field("value", pa.float64(), "changed pixels", unit="px2"),
    _field("before", _UTF8, "the row before, as JSON; null when added"),
    _field("after", _UTF8, "the row after, as JSON; null when removed"),
    _field("generation", pa.int32(), "counter of the store's generation that applied it"),
)

SCORES: Final = _table(
    "scores",
    _field("metric", _UTF8, "quantity and authority, e.g. ap_dsb2018", required=True),
    _field("mode", _UTF8, "strict or corrected", required=True),
    _field("predictions", _UTF8, "name of the predictions that were scored"),
    _field("level", _UTF8, "pooled, image or group", required=True),
    _field("group_by", _UTF8, "the column of a breakdown"),
    _field("group_value", _UTF8, "its value"),
    _field("image_id", _UTF8, "the image, for level image"),
    _field("field", _UTF8, "name of the number in its reference; value is the headline", required=True),
    _field("value", pa.float64(), "the number"),
    _field("ci_low", pa.float64(), "lower end of the 95 % bootstrap interval over images"),
    _field("ci_high", pa.float64(), "upper end"),
    _field("run_id", _UTF8, "the evaluation, a row of runs; null where an earlier version wrote it"),
)

RUNS: Final = _table(
    "runs",
    _field("run_id", _UTF8, "digest of everything below that decides the numbers", required=True),
    _field("gt", _UTF8, "name of the ground truth", required=True),
    _field("gt_path", _UTF8, "where it was", required=True),
    _field("gt_digest", _UTF8, "content of its store, or SHA-256 of its files", required=True),
    _field("predictions", _UTF8, "name of the predictions", required=True),
    _field("predictions_path", _UTF8, "where they were", required=True),
    _field("predictions_digest", _UTF8, "content of their store, or SHA-256 of their files", required=True),
    _field("where", _UTF8, "SQL condition on the images of the ground truth; null: all"),
    _field("kind", _UTF8, "nucleus or cell, where only those were scored"),
    _field("mode", _UTF8, "strict or corrected", required=True),
    _field("options", _UTF8, "options of metrics, and of how sides were paired, as JSON", required=True),
    _field("rounds", pa.int32(), "rounds of the bootstrap", required=True),
    _field("seed", pa.int64(), "seed of the bootstrap", required=True),
    _field("celltable", _UTF8, "version of celltable, and with it of the metrics", required=True),
    _field("time", pa.timestamp("us", tz="UTC"), "when it was last run", required=True),
)

TABLES: Final = {
    "images": IMAGES,
    "instances": INSTANCES,
    "findings": FINDINGS,
    "edits": EDITS,
    "scores": SCORES,
    "runs": RUNS,
}
SEVERITIES: Final = ("error", "warning", "note")  # worst first


def empty(name: str) -> pa.Table:
    """An empty table of that name."""
    return TABLES[name].empty_table()
