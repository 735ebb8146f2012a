"""Format numbers and tables as plain text, and convert values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def show(value: float) -> str:
    """Format a number for display: integers with separators, others with four decimals."""
    if isinstance(value, int):
        return f"{value:,}"
    return "undefined" if math.isnan(value) else f"{value:.4f}"


def with_unit(name: str, unit: str) -> str:
    """Add the unit of a number to its name, if it has one.

    >>> with_unit("AP", "percent"), with_unit("AP", "")
    ('AP (percent)', 'AP')
    """
    return f"{name} ({unit})" if unit else name


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> list[str]:
    """Align the cells of a plain-text table; return its lines."""
    widths = [max(len(r[k]) for r in (head, *rows)) for k in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(padded).rstrip()

    return [line(head), "  ".join("-" * w for w in widths), *map(line, rows)]


def in_blocks(head: Sequence[str], rows: Sequence[Sequence[str]], width: int = 120) -> list[str]:
    """Align a table of numbers; columns beyond `width` continue below, with the first column repeated."""
    wide = [max(len(r[k]) for r in (head, *rows)) for k in range(len(head))]
    lines: list[str] = []
    start = 1
    while start < len(head) or not lines:
        end, room = start + 1, width - wide[0] - 2 - (wide[start] if start < len(head) else 0)
        while end < len(head) and wide[end] + 2 <= room:
            room -= wide[end] + 2
            end += 1
        parts = [(r[0], *r[start:end]) for r in (head, *rows)]
        lines += [*([""] if lines else []), *table(parts[0], parts[1:], right=tuple(range(1, len(parts[0]))))]
        start = end
    return lines


def counted(n: int, reason: str) -> str:
    """Put a number before a reason, which becomes singular for 1.

    >>> counted(1, "images without cells"), counted(3, "no cell to be found")
    ('1 image without cells', '3 no cell to be found')
    """
    for many in ("images", "classes", "scores") if n == 1 else ():
        if f"{many} " in reason:
            return f"{n} {reason.replace(many, 'class' if many == 'classes' else many[:-1], 1)}"
    return f"{n:,} {reason}"


def plain(value: Any) -> Any:
    """Convert NumPy numbers, arrays and tuples to built-in types for JSON; NaN and infinity become None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return value
