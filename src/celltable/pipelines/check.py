"""Look for defects: run checks over a store on any number of workers and write findings.parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from celltable import plugins, work
from celltable.cells import Finding, Sample, findings_table
from celltable.errors import InputError, NotFoundError
from celltable.plugins.check import Check
from celltable.plugins.options import settle_each
from celltable.schema import SEVERITIES
from celltable.store import Store, newest, with_columns

# Readers report these rules too; this prefix marks the rows of an earlier check, which are replaced.
NOT_LOADED: Final = "the pixels could not be loaded: "
_OF_LOADING: Final = ("unreadable-image", "size-mismatch")


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a `check` run.

    `rules` are the rules that were run and `findings` their rows, worst first; `skipped` maps each rule that was not
    run to the reason; `images` is the number of images checked.
    """

    findings: pa.Table
    rules: tuple[str, ...]
    skipped: Mapping[str, str]
    images: int

    @property
    def counts(self) -> list[tuple[str, str, int, int]]:
        """Count (rule, severity, findings, images) per rule and severity, worst and most frequent first."""
        rules, severities = self.findings.column("rule").to_pylist(), self.findings.column("severity").to_pylist()
        images: dict[tuple[str, str], set[str | None]] = {}
        for rule, severity, image in zip(rules, severities, self.findings.column("image_id").to_pylist(), strict=True):
            images.setdefault((rule, severity), set()).add(image)
        n = Counter(zip(rules, severities, strict=True))
        order = sorted(n, key=lambda k: (SEVERITIES.index(k[1]), -n[k], k[0]))
        return [(rule, severity, n[rule, severity], len(images[rule, severity] - {None})) for rule, severity in order]


def check(
    store: Store | str | Path,
    *,
    rules: Sequence[str] = (),
    pixels: bool = True,
    options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    how: work.How = "threads",
    scheduler: str | None = None,
    progress: bool = False,
    write: bool = True,
) -> Checked:
    """Run checks and write their findings into the store, next to those of its reader.

    Parameters
    ----------
    store
        A store or its path.
    rules
        Names of checks; all if empty.
    pixels
        Whether to run the checks that need to load the images.
    options
        Options that differ from their defaults: option → value if only one of the checks has it, otherwise
        "check.option" → value, or check → {option: value}.
    workers, how, scheduler
        Number of workers (None: one per core) and where they run, see `celltable.work.Runner`; the findings are the
        same, byte for byte.
    progress
        Draw a progress bar on a terminal.
    write
        Replace earlier findings of the same rules in findings.parquet; other findings stay.

    Raises
    ------
    UnknownPluginError
        If no check has that name.
    OptionError
        If an option is unknown, or its value out of range.
    """
    runner = work.Runner(workers, how, scheduler)
    ds = newest(store)
    chosen = [plugins.load("checks", name) for name in (dict.fromkeys(rules) or plugins.names("checks"))]
    ran = [c for c in chosen if pixels or not c.needs_pixels]
    skipped = {c.rule: "it needs pixels" for c in chosen if c.needs_pixels and not pixels}
    thresholds = settle_each(chosen, options, "check")
    label = "checking" if progress else None
    results = list(runner.map(_Look(ds, tuple(ran), thresholds), list(ds), progress=label))
    of_cells = [finding for part, _ in results for finding in part]
    found: list[Finding] = []
    for i, item in enumerate(c for c in ran if c.scope == "dataset"):
        features = [gathered[i] for _, gathered in results if not isinstance(gathered[i], _Missing)]
        found.extend(item.find(features, ds.info, **thresholds[item.rule]))
    table = _sorted(pa.concat_tables([_made_on(ds, of_cells), findings_table(found)]))
    if write:
        _write(ds, table, {c.rule for c in ran}, loaded=any(c.needs_pixels for c in ran))
    return Checked(_worst_first(table), tuple(c.rule for c in ran), skipped, len(ds))


class _Missing:
    """Marks that nothing could be gathered from an image because its pixels cannot be read."""


Result = tuple[list[Finding], list[Any]]


@dataclass(frozen=True, slots=True)
class _Look:
    """Runs checks on one image: returns its findings, and what each whole-dataset check gathers from it."""

    store: Store
    checks: tuple[Check, ...]
    options: Mapping[str, Mapping[str, Any]]

    def __call__(self, image_id: str) -> Result:
        sample, trouble = _readable(self.store[image_id].sample, any(c.needs_pixels for c in self.checks))
        usable = [c for c in self.checks if not (c.needs_pixels and trouble)]
        findings = [] if trouble is None else [trouble]
        for c in usable:
            if c.scope == "image":
                findings.extend(c.find(sample, **self.options[c.rule]))
        whole = [c for c in self.checks if c.scope == "dataset"]
        return findings, [c.gather(sample) if c in usable and c.gather else _Missing() for c in whole]


def _readable(sample: Sample, loads: bool) -> tuple[Sample, Finding | None]:
    """Load the sample's pixels once for all checks, or return a finding that says why they cannot be loaded."""
    if not loads:
        return sample, None
    try:
        pixels = sample.pixels()
    except (InputError, NotFoundError) as exc:
        return sample, Finding("unreadable-image", f"{NOT_LOADED}{exc}", "error", sample.image.image_id)
    if pixels.shape[:2] != sample.image.size:
        (height, width), image = pixels.shape[:2], sample.image
        text = f"{NOT_LOADED}the image file has {height} × {width} px, its masks are for {image.height} × {image.width}"
        return sample, Finding("size-mismatch", text, "error", sample.image.image_id)
    return replace(sample, load_pixels=lambda: pixels), None


def _made_on(ds: Store, found: Sequence[Finding]) -> pa.Table:
    """Stamp findings on cells of single images with the store generation they apply to."""
    number = ds.description.cells
    generation = [None if f.message.startswith(NOT_LOADED) else number for f in found]
    return with_columns(findings_table(found), {"generation": generation})


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in ("image_id", "instance_id", "rule", "message")])


def _worst_first(table: pa.Table) -> pa.Table:
    rank = [SEVERITIES.index(s) for s in table.column("severity").to_pylist()]
    order = sorted(range(len(rank)), key=rank.__getitem__)
    return table.take(pa.array(order, pa.int64()))


def _write(ds: Store, table: pa.Table, rules: set[str], loaded: bool) -> None:
    import pyarrow.compute as pc

    def renewed(old: pa.Table) -> pa.Table:
        replaced = pc.is_in(old.column("rule"), pa.array(sorted(rules), pa.string()))
        if loaded:
            own = pc.is_in(old.column("rule"), pa.array(_OF_LOADING, pa.string()))
            replaced = pc.or_(replaced, pc.and_(own, pc.starts_with(old.column("message"), NOT_LOADED)))
        return _sorted(pa.concat_tables([old.filter(pc.invert(replaced)), table]))

    ds.update({"findings": renewed})
