"""The contract of a repair, one per file: it takes a Sample and proposes edits, which can be undone.

A module of `celltable.repairs` holds one frozen ``REPAIR`` whose name is the file's, in kebab-case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from celltable.cells import Edit
from celltable.errors import PluginError

from .contract import check_name, check_options
from .example import RepairExample
from .options import Option


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair of annotations.

    Attributes
    ----------
    name, title, description
        Name in kebab-case; a title of a few words; what it does to which cells.
    mends
        The rules (checks) that it fixes.
    propose
        ``propose(sample, **options)`` yields Edits, at most one per cell; a split removes the cell and adds its parts
        under new instance ids.
    default
        Whether ``celltable repair`` applies it by default; only for repairs that cannot lose a true cell.
    options
        Every keyword of `propose`: thresholds and policies.
    needs_pixels
        Whether the image must be loaded.
    order
        Position among several repairs, low first: removing or merging whole cells (10), changing their shapes (20 to
        60), resolving conflicts between shapes (70), and dropping leftovers (80).
    clears
        Those rules of `mends` for which the check finds nothing afterwards, whatever the cells were.
    example
        ``example() -> RepairExample``: the cells of an image before and after; the contract tests require one.
    """

    name: str
    title: str
    description: str
    mends: tuple[str, ...]
    propose: Callable[..., Iterable[Edit]]
    default: bool = False
    options: tuple[Option, ...] = ()
    needs_pixels: bool = False
    order: int = 100
    clears: tuple[str, ...] = ()
    example: Callable[[], RepairExample] | None = None

    def __post_init__(self) -> None:
        owner = f"the repair {self.name}"
        check_name(owner, self.name)
        check_options(owner, self.options, {"propose": self.propose}, given=1)
        if not self.mends:
            raise PluginError(f"{owner} mends nothing; expected the rule of at least one check.")
        if not set(self.clears) <= set(self.mends):
            raise PluginError(f"{owner} clears {', '.join(self.clears)}; expected rules among those it mends.")
