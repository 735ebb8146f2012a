"""``celltable metrics``: list the metrics, or print the protocol card and options of one of them."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._output import Json, emit_json, option_table, say, table

if TYPE_CHECKING:
    from celltable.plugins.metric import Metric


def metrics(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Describe this metric in full.")] = None,
    json: Json = False,
) -> None:
    """List the metrics, or print the protocol card and options of one of them.

    Example: celltable metrics ap_coco
    """
    from celltable import plugins

    if name is not None:
        metric: Metric = plugins.load("metrics", name)
        emit_json(row(metric)) if json else _one(metric)
        return
    every = list(plugins.load_all("metrics").values())
    if json:
        emit_json([row(m) for m in every])
        return
    say(
        table(
            [(m.name, m.card.title, _needs(m), ", ".join(m.defaults)) for m in every],
            ("name", "what", "needs", "options"),
        )
    )
    say("\nDetails of one: celltable metrics NAME. Score: celltable evaluate GT PRED --metrics NAME")


def row(metric: Metric) -> dict[str, Any]:
    """Describe a metric in plain values: what it needs, its options with defaults and meanings, and its card."""
    return {
        "name": metric.name,
        "needs": sorted(metric.needs),
        "better": metric.better,
        "options": {option.name: option.to_dict() for option in metric.options},
        "card": metric.card.to_dict(),
    }


def _needs(metric: Metric) -> str:
    return ", ".join(sorted(metric.needs))


def _one(metric: Metric) -> None:
    say(f"{metric.card.title}  ({metric.name})\n")
    facts = {"needs": _needs(metric) or "two label maps", "better": metric.better} | metric.card.to_dict()
    for key, value in facts.items():
        if key != "title":
            say(fill(f"{key + ':':<12} {value}", 110, subsequent_indent=" " * 13))
    if not metric.options:
        say("\noptions: none")
        return
    say("\noptions (celltable evaluate -O NAME=VALUE; ct.evaluate(options={NAME: VALUE})):")
    say(option_table({metric.name: metric.options}))
