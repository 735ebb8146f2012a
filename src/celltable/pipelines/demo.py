"""Run the whole workflow offline on generated releases, from ingest to report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from celltable import plugins
from celltable.errors import CelltableError
from celltable.plugins.dataset import Dataset
from celltable.store import Store

MAIN: Final = "dsb2018"  # the release that goes through every step
MARKER: Final = "made-by-celltable-demo"


def demo(
    folder: str | Path = "demo", *, seed: int = 0, overwrite: bool = False, say: Callable[[str], None] = print
) -> Path:
    """Run the whole workflow on generated releases in a folder and return the path of the report.

    Each release is synthetic microscopy with known ground truth, in exactly the layout of the real one and with its
    known defects. `say` is called with the output lines of each step.
    """
    root = Path(folder)
    _clear(root, overwrite)
    started = time.perf_counter()
    say("Generated releases, each in its publisher's layout, into one table:")
    stores = {}
    for name, reader in plugins.load_all("datasets").items():
        stores[name] = _ingested(reader, root, seed, say)
    report = _chain(stores[MAIN], list(stores.values()), root, seed, say)
    say(f"\nDone in {time.perf_counter() - started:.0f} s. Open {report} in a browser; the stores are in {root}/.")
    return report


def _clear(root: Path, overwrite: bool) -> None:
    if root.exists() and any(root.iterdir()):
        if not (root / MARKER).exists():
            raise CelltableError(f"{root} was not made by the demo, so it was left untouched. Choose another folder.")
        if not overwrite:
            raise CelltableError(f"{root} holds an earlier demo. Choose another, or use --overwrite to replace it.")
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).write_text("This folder may be deleted.\n", encoding="utf-8")


def _ingested(reader: Dataset, root: Path, seed: int, say: Callable[[str], None]) -> Store:
    from .ingest import ingest

    release = reader.example(root / "releases" / reader.name, seed)
    store = ingest(reader.name, release, root / f"{reader.name}.celltable")
    cells = store.columns("area").num_rows
    say(
        f"  {reader.name:18} {len(store):4} images {cells:6,} cells {len(store.findings):4} findings   {reader.licence}"
    )
    return store


def _chain(main: Store, stores: list[Store], root: Path, seed: int, say: Callable[[str], None]) -> Path:
    from .check import check
    from .convert import export
    from .evaluate import evaluate
    from .predict import predict
    from .repair import repair
    from .report import report
    from .split import split

    checked = check(main)
    say(f"\ncelltable check {main.path}: {checked.findings.num_rows} findings")
    made = repair(main.path)
    say(f"celltable repair {main.path}: {made.edits.num_rows} edits, which can be undone")
    card = split(main.path, test=0.25, seed=seed)
    say(f"celltable split {main.path} --test 0.25: {card.images}, certificate {'clean' if card.clean else 'NOT CLEAN'}")
    pred = predict(main.path, root / "pred.celltable", model="otsu-watershed")
    say(f"celltable predict {main.path} --model otsu-watershed: {pred.columns('area').num_rows:,} cells")
    scores = evaluate(main.path, pred, metrics=["ap_dsb2018", "aji_kumar2017", "pq_hovernet"], write=True)
    say("celltable evaluate … --metrics ap_dsb2018 aji_kumar2017 pq_hovernet:")
    say("\n".join("  " + line for line in str(scores).splitlines()))
    for to, out in (("coco", "dsb.json"), ("dsb-csv", "dsb.csv"), ("label-tiff", "dsb_labels")):
        loss = export(main.path, to, root / out)
        say(f"celltable export --to {to}: {root / out}, lost: {'; '.join(str(loss).splitlines())}")
    others = [s for s in stores if s.name != main.name]
    return report(main.path, root / "report.html", predictions=pred.path, others=others)
