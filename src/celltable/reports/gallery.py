"""One picture of each kind of image, with its annotation."""

from __future__ import annotations

from html import escape

from . import Material, Section
from ._html import key
from ._picture import TRUTH, picture

MOST = 12
_KINDS = ("modality", "tissue", "cell_type", "image_class")


def render(material: Material) -> str:
    """The image of median cell count of each modality (tissue, cell type), with contours."""
    kinds: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    by = _grouping(material)
    columns = [material.images.column(c).to_pylist() for c in by]
    ids, counts = (material.images.column(c).to_pylist() for c in ("image_id", "n_instances"))
    for row, (image_id, n) in enumerate(zip(ids, counts, strict=True)):
        kinds.setdefault(tuple(str(c[row]) for c in columns), []).append((n, image_id))
    figures = []
    for name, members in sorted(kinds.items(), key=lambda item: -len(item[1]))[:MOST]:
        n, image_id = sorted(members)[len(members) // 2]
        sample = material.sample(image_id)
        caption = (
            f"<b>{escape(' · '.join(name))}</b>, {len(members):,} images; here {escape(image_id[:40])}, {n:,} cells"
        )
        figures.append(picture(sample, {TRUTH: sample.instances}, caption=caption))
    return key([(TRUTH, "annotation")]) + f'<div class="gallery">{"".join(figures)}</div>'


def _grouping(material: Material) -> list[str]:
    summary = material.summaries[0]
    for name in _KINDS[1:3]:
        if len(summary[name]) > 1:
            return [name]
    kinds = ["modality"]
    if len(summary["modality"]) < 4 and 1 < len(summary["image_class"]) <= 40:
        kinds.append("image_class")
    return kinds


SECTION = Section("gallery", "What it looks like", 30, render)
