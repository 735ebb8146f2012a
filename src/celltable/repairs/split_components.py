"""Turn every part of a cell into a separate cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Edit, Sample
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import next_id, replace_mask, several_parts, split

MIN_PX = 10  # as in the check speck: smaller parts are strays, not cells


def propose(sample: Sample, *, connectivity: int = 4, min_px: float = MIN_PX) -> Iterator[Edit]:
    """Replace each cell with several parts by its parts; drop parts below `min_px`, but never the largest."""
    cells = sample.instances
    new = next_id(cells)
    for i, parts in several_parts(cells, connectivity):
        largest = max(parts, key=lambda part: part.area)
        kept = [part.mask for part in parts if part is largest or part.area >= min_px]
        if len(kept) == 1:
            n = len(parts) - 1
            reason = f"dropped {n} stray part{'s' if n > 1 else ''} of less than {min_px:g} px"
            yield replace_mask("split-components", "several-components", sample, i, kept[0], reason)
            continue
        yield from split("split-components", "several-components", sample, i, kept, new, f"it had {len(parts)} parts")
        new += len(kept)


def example() -> RepairExample:
    """Return a cell whose two parts of 12 px become cells 3 and 4; the stray pixel is dropped."""
    before = """
        1111...1111.222
        1111.1.1111.222
        1111...1111.222
    """
    after = """
        3333...4444.222
        3333...4444.222
        3333...4444.222
    """
    return RepairExample(drawn(before), drawn(after, instance_id=np.asarray([3, 4, 2], np.int32)))


REPAIR = Repair(
    name="split-components",
    title="Split into parts",
    description=(
        "If a cell has several parts, each becomes a cell with the same class; parts that are too small are dropped."
    ),
    mends=("several-components",),
    propose=propose,
    order=50,
    options=(
        Option("connectivity", 4, "whether pixels connect by edges (4) or also by corners (8)", choices=(4, 8)),
        Option("min_px", MIN_PX, "area below which a part is dropped", type=float, low=0, unit="px²"),
    ),
    clears=("several-components",),
    example=example,
)
