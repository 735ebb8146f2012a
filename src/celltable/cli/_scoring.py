"""Options shared by evaluate and compare."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        "-m",
        help="One or more metrics, separated by commas (see 'celltable metrics'); 'all' for all that apply.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Match the official code bit for bit, quirks included.")]
By = Annotated[
    list[str] | None, typer.Option("--by", help="Break down by a column, 'size', 'class' or 'density'; repeat.")
]
Where = Annotated[str | None, typer.Option("--where", help="SQL condition on the images: \"split = 'test'\".")]
Missing = Annotated[str, typer.Option("--missing", help="Images without predictions: error or empty.")]
Unknown = Annotated[str, typer.Option("--unknown", help="Predictions for unknown images: error or ignore.")]
Partial = Annotated[str, typer.Option("--partial", help="Partially annotated images: skip or score.")]
Option = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-O",
        metavar="[METRIC.]NAME=VALUE",
        help="An option of all metrics that have it (-O thresholds=0.5,0.75) or of one (-O ap_coco.max_dets=100); "
        "'celltable metrics NAME' lists a metric's options with their defaults and meanings. May be repeated.",
    ),
]
GtFormat = Annotated[str | None, typer.Option("--gt-format", help="Format of the ground truth; detected if not given.")]
PredFormat = Annotated[
    str | None, typer.Option("--pred-format", help="Format of the predictions; detected if not given.")
]
Kind = Annotated[str | None, typer.Option("--kind", help="Score only nuclei (nucleus) or only whole cells (cell).")]
Rounds = Annotated[int, typer.Option("--rounds", min=0, help="Bootstrap rounds for the intervals; 0 for no intervals.")]


def names(metrics: list[str] | None) -> str | list[str]:
    """Collect metric names from repeated and comma-separated options."""
    names = [m.strip() for text in metrics or ["ap_dsb2018"] for m in text.split(",") if m.strip()]
    return "all" if "all" in names else names


def checked(value: str, known: tuple[str, ...], option: str) -> Any:
    """Check an option that takes one of a few words."""
    from celltable.errors import CelltableError

    if value not in known:
        raise CelltableError(f"{option} is '{value}'; expected {' or '.join(known)}.")
    return value


def quiet() -> None:
    """Suppress Python's own warnings: the scores carry each as a note, which is printed with them."""
    import warnings

    warnings.filterwarnings("ignore", category=UserWarning)
