"""Repairs, one per file: a Sample in, edits out; the release is never modified and every edit can be undone.

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
    """A way to mend annotations.

    Attributes
    ----------
    name, title, description
        Name in kebab-case, a few words, and what it does to which cells.
    mends
        The rules (checks) it mends.
    propose
        ``propose(sample, **options)`` yields Edits. A cell may be touched by one edit only; a split removes the cell
        and adds its parts under new instance ids.
    default
        Whether ``celltable repair`` applies it when no rules are named: only repairs that cannot lose a true cell.
    options
        Every keyword of `propose`: thresholds and policies.
    needs_pixels
        Whether the image must be loaded.
    order
        Its place among several repairs, low first: what removes or merges whole cells (10), what changes their shape
        (20 to 60), what their shapes do to each other (70), and what drops leftovers (80).
    clears
        Of `mends`, the rules of which the check finds nothing afterwards, whatever the cells were.
    example
        ``example() -> RepairExample``: the cells of an image before and after; the contract tests ask for one.
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
            raise PluginError(f"{owner} clears {', '.join(self.clears)}; expected rules that it mends.")
