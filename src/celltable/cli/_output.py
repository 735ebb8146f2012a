"""Output shared by all verbs (aligned tables, JSON, plain numbers) and the options that several of them take."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from celltable.plugins import Option

OptionalStore = Annotated[Path | None, typer.Argument(metavar="STORE", help="A celltable folder.")]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="A celltable folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text.")]
Workers = Annotated[
    int | None, typer.Option("--workers", "-w", min=1, help="Number of threads or processes; one per core by default.")
]
How = Annotated[
    Literal["threads", "processes", "dask"],
    typer.Option("--how", help="Run on threads, processes or a Dask cluster (a local one without --scheduler)."),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, for example tcp://host:8786."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace whatever is at the output path.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed for every random choice.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-O", metavar="NAME=VALUE", help="An option of the plug-in; may be repeated."),
]
PluginOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-O",
        metavar="[PLUG-IN.]NAME=VALUE",
        help="An option of the plug-in to run; --list shows all. Put the plug-in's name before it if several plug-ins "
        "have the option. May be repeated.",
    ),
]


def say(text: str) -> None:
    """Print a line of text for people."""
    print(text)


def note(text: str) -> None:
    """Print a remark to standard error, so that the output stays clean."""
    print(text, file=sys.stderr)


def emit_json(data: Any) -> None:
    """Print JSON; NaN and infinities become null, which every JSON reader accepts."""
    print(json.dumps(_plain(data), indent=1, ensure_ascii=False, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def table(rows: Iterable[Sequence[Any]], header: Sequence[str] = (), *, indent: int = 0, numbers: bool = False) -> str:
    """Format rows as aligned columns, numbers to the right; with `numbers`, all columns but the first count as numbers.

    >>> print(table([("hole", 425), ("overlap", 0)], ("rule", "cells")))
    rule     cells
    hole       425
    overlap      0
    """
    body = [list(row) for row in rows]
    lines = [list(header), *body] if header else body
    if not lines:
        return ""
    texts = [[cell(v) for v in line] for line in lines]
    widths = [max(len(line[i]) for line in texts) for i in range(len(texts[0]))]
    right = [
        (numbers and i > 0) or (bool(body) and all(isinstance(r[i], int | float) or r[i] is None for r in body))
        for i in range(len(widths))
    ]
    pad = " " * indent
    return "\n".join(
        pad + "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in texts
    )


def cell(value: Any) -> str:
    """Format a value for people: thousands separated, floats short, empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def named_store(store: Path | None, example: str) -> Path:
    """Return the store that a verb needs unless it only lists plug-ins.

    Raises
    ------
    InputError
        If none was given.
    """
    from celltable.errors import InputError

    if store is None:
        raise InputError(f"expected a STORE, for example: {example}")
    return store


def words_of(text: str | None) -> list[str]:
    """Split a comma-separated option into words.

    >>> words_of("hole, speck"), words_of(None)
    (['hole', 'speck'], [])
    """
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def keywords(option: list[str] | None, function: Callable[..., Any]) -> dict[str, str]:
    """Parse ``-O`` texts into extra keyword arguments for a function, refusing names that it already uses.

    Raises
    ------
    OptionError
        If a text has the name of one of the function's own arguments.
    """
    import inspect

    from celltable.errors import OptionError
    from celltable.plugins.options import split_texts

    texts = split_texts(option or ())
    own = [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    for name in texts:
        if name in own:
            raise OptionError(f"'{name}' is not an option of the format but of the command itself; see its --help.")
    return texts


def option_table(options: Mapping[str, Sequence[Option]], *, noun: str = "") -> str:
    """Tabulate the options of plug-ins: default, accepted values, meaning; with `noun`, a column for the plug-in.

    >>> from celltable.plugins import Option
    >>> print(option_table({"hole": [Option("serious_px", 10, "area that makes it a warning", low=0)]}, noun="check"))
      check  option      default  takes                      meaning
      hole   serious_px  10       a whole number of 0 or more  area that makes it a warning
    """
    rows = [
        [*([name] if noun else []), option.name, option.usual, option.expected, option.about]
        for name, declared in options.items()
        for option in declared
    ]
    return table(rows, ([noun] if noun else []) + ["option", "default", "takes", "meaning"], indent=2)


def count(n: int, noun: str) -> str:
    """Format a number with its noun.

    >>> count(1, "finding"), count(1200, "finding")
    ('1 finding', '1,200 findings')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
