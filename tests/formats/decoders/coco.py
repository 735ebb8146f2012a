"""Decode what the format coco writes by its own rules."""

from __future__ import annotations

from pathlib import Path

from pycocotools.coco import COCO

from celltable.cells import Sample

from . import Masks


def decode(out: Path, samples: list[Sample]) -> Masks:
    api = COCO(str(out))
    names = {c["id"]: c["name"] for c in api.loadCats(api.getCatIds())}
    masks: Masks = {}
    for image in api.loadImgs(api.getImgIds()):
        found = api.loadAnns(api.getAnnIds(imgIds=image["id"], iscrowd=None))
        s = next(s for s in samples if s.image.image_id == Path(image["file_name"]).stem)
        assert [names[a["category_id"]] for a in found] == s.instances.column("class_name")
        assert [a["area"] for a in found] == s.instances.area.tolist()
        masks[s.image.image_id] = [api.annToMask(a).astype(bool) for a in found]
    return masks
