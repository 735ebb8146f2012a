"""The images with the worst and the best scores, with contours of both sides."""

from __future__ import annotations

from html import escape

from celltable.drawing.page import key
from celltable.drawing.picture import PREDICTION, TRUTH, picture
from celltable.plugins.section import Material, Section

SHOWN = 6


def render(material: Material) -> str:
    """Show the worst and best images by the headline metric, with contours of annotation and prediction."""
    predicted = material.predicted
    if predicted is None or material.headline is None:
        return ""
    rows = [
        (r["value"], r["image_id"])
        for r in material.scores
        if r["metric"] == material.headline
        and r["level"] == "image"
        and r["field"] == "value"
        and r["value"] == r["value"]
    ]
    rows.sort()
    html = key([(TRUTH, "annotation"), (PREDICTION, "prediction")])
    for title, members in (("Worst", rows[:SHOWN]), ("Best", rows[::-1][:SHOWN])):
        figures = []
        for value, image_id in members:
            sample, prediction = material.sample(image_id), predicted(image_id)
            n = 0 if prediction is None else len(prediction.instances)
            text = f"<b>{value:.3f}</b> {escape(image_id[:40])}: {len(sample.instances):,} annotated, {n:,} predicted"
            layers = {TRUTH: sample.instances}
            if prediction is not None:
                layers[PREDICTION] = prediction.instances
            figures.append(picture(sample, layers, caption=text))
        html += f'<h3>{title} by {escape(material.headline)}</h3><div class="gallery">{"".join(figures)}</div>'
    return html


SECTION = Section("best_and_worst", "Best and worst images", 60, render)
