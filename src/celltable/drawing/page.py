"""The HTML page around the sections: style, tables, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light;--ink:#1c2430;--soft:#5d6878;--line:#dfe4ea;--paper:#fff;--wash:#f5f7f9;--accent:#2a6fb0}
*{box-sizing:border-box}body{margin:0;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
color:var(--ink);
background:var(--wash)}main{max-width:1180px;margin:0 auto;padding:0 24px 60px}header{background:#17324d;color:#fff;
padding:26px 0;margin-bottom:22px}header div{max-width:1180px;margin:0 auto;padding:0 24px}h1{margin:0;font-size:25px}
header p{margin:5px 0 0;color:#c9d6e4}nav{margin:0 0 18px}
nav a{margin-right:16px;color:var(--accent);text-decoration:none}
section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:16px 22px 20px;margin:0 0 18px}
h2{font-size:18px;margin:0 0 10px}h3{font-size:15px;margin:16px 0 6px}p.note{color:var(--soft);margin:4px 0 10px}
table{border-collapse:collapse;margin:6px 0;font-size:14px}th,td{padding:3px 14px 3px 0;text-align:left;
vertical-align:top;
border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;
font-variant-numeric:tabular-nums}
.plots{display:flex;flex-wrap:wrap;align-items:flex-start;gap:14px 26px}svg.plot{width:460px;max-width:100%;
font:11px system-ui,sans-serif;fill:var(--ink)}svg.plot .t{font-size:13px;font-weight:600}svg.plot .u{fill:var(--soft)}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:14px}figure{margin:0}
figure>svg{width:100%;height:auto;max-height:300px;display:block;background:#000;border-radius:4px}
figcaption{font-size:12.5px;color:var(--soft);margin-top:4px;overflow-wrap:anywhere}
.tiles{display:flex;flex-wrap:wrap;gap:12px}
.tile{background:var(--wash);border-radius:6px;padding:8px 16px;min-width:120px}.tile b{display:block;font-size:21px}
.tile span{color:var(--soft);font-size:13px}.key i{display:inline-block;width:22px;height:3px;margin:0 5px 3px 14px}
.error{color:#b0413e}.warning{color:#a8670f}code{background:var(--wash);padding:1px 4px;border-radius:3px}
@media print{section{break-inside:avoid}}
"""


def page(title: str, subtitle: str, sections: Iterable[tuple[str, str, str]]) -> str:
    """Make an HTML page from (anchor, title, html) sections."""
    made = list(sections)
    links = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in made)
    body = "".join(f'<section id="{anchor}"><h2>{escape(name)}</h2>{html}</section>' for anchor, name, html in made)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<header><div><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></div></header>"
        f"<main><nav>{links}</nav>{body}</main></body></html>\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Make an HTML table; numbers are right-aligned."""
    body = [list(r) for r in rows]
    if not body:
        return ""
    numeric = [all(isinstance(r[i], int | float) or r[i] is None for r in body) for i in range(len(header))]
    head = "".join(f'<th class="{"n" if n else ""}">{escape(h)}</th>' for h, n in zip(header, numeric, strict=True))
    lines = "".join(
        "<tr>"
        + "".join(f'<td class="{"n" if n else ""}">{number(v)}</td>' for v, n in zip(r, numeric, strict=True))
        + "</tr>"
        for r in body
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def number(value: Any) -> str:
    """Format and escape a value for display: thousands separated, floats short."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))


def tile(value: Any, label: str) -> str:
    """Make a tile: a large number with its name."""
    return f'<div class="tile"><b>{number(value)}</b><span>{escape(label)}</span></div>'


def key(entries: Sequence[tuple[str, str]]) -> str:
    """Make a legend from (colour, meaning)."""
    return '<p class="key">' + "".join(f'<i style="background:{c}"></i>{escape(t)}' for c, t in entries) + "</p>"
