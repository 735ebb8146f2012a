"""Splits that divide a leakage group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celltable.cells import Finding, Image, Sample
from celltable.checks._images import Place, place
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


def gather(sample: Sample) -> Place:
    """Return the image's place, including its split and leakage group."""
    return place(sample)


def find(features: Sequence[Place], dataset: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield one finding per image of a leakage group outside the split that has most of the group."""
    groups: dict[tuple[str, str], list[Place]] = {}
    for f in features:
        if f.split is not None and f.group is not None:
            groups.setdefault((f.dataset, f.group), []).append(f)
    for (_, group), members in sorted(groups.items()):
        splits = Counter(str(m.split) for m in members)
        if len(splits) < 2:
            continue
        home = min(splits, key=lambda s: (-splits[s], s))
        spread = ", ".join(f"{n} in {name}" for name, n in sorted(splits.items()))
        severe = any(name.startswith("test") for name in splits)
        for m in members:
            if m.split != home:
                text = f"split {m.split} divides the leakage group {group}: {spread}"
                yield Finding(
                    "split-leak", text, "error" if severe else "warning", m.image_id, None, float(len(members))
                )


def example() -> CheckExample:
    """Return three images of one patient, two in train and one in test."""
    splits = {"a": "train", "b": "train", "c": "test"}
    images = [Image(name, 1, 4, split=split, leakage_group="patient 1") for name, split in splits.items()]
    return CheckExample.of(*(drawn("11..", image=image) for image in images), at=[("c", None)])


CHECK = Check(
    rule="split-leak",
    title="Split that leaks",
    description=(
        "Images of one leakage group (patient, well, slide) in different splits: scores on one split are too good "
        "because of the other. An error if a test split is involved, else a warning. Value: images in the group."
    ),
    find=find,
    severity="error",
    scope="dataset",
    gather=gather,
    example=example,
)
