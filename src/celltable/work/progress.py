"""Show a progress bar while iterating."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

R = TypeVar("R")

SHOW_AFTER_S: Final = 2.0  # a bar for shorter work would only flicker


def track(items: Iterable[R], label: str, total: int | None = None) -> Iterator[R]:
    """Yield the items unchanged; on a terminal, draw a bar with rate and time left after two seconds."""
    if not sys.stderr.isatty():
        yield from items
        return
    started, done, bar = time.monotonic(), 0, None
    try:
        for item in items:
            yield item
            done += 1
            if bar is None and time.monotonic() - started > SHOW_AFTER_S:
                bar = _bar()
                task = bar.add_task(label, total=total)
                bar.start()
            if bar is not None:
                bar.update(task, completed=done)
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Rate(TextColumn):
        def render(self, task: Any) -> Any:
            from rich.text import Text

            return Text(f"{task.speed or 0:,.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
