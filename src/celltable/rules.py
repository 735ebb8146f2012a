"""Rules of findings: every kind of defect has one name, one title and one usual severity, whoever reports it.

A module that reports defects declares each rule once, at its top: ``HOLE = rule("hole", "Hole in a mask", "warning")``.
Rules that readers, formats and checks share are declared here. A `Finding` with a rule that nobody declared is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from celltable.errors import RuleError
from celltable.words import hint

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of defect.

    Attributes
    ----------
    name
        Kebab-case; the column `rule` of findings.parquet.
    title
        A few words for tables and reports.
    severity
        Of its findings, unless a finding says otherwise.
    about
        What it means, why it matters and what mends it.
    """

    name: str
    title: str
    severity: Severity = "warning"
    about: str = ""


_known: dict[str, Rule] = {}
_emitters: dict[str, set[str]] = {}


def rule(name: str, title: str, severity: Severity = "warning", about: str = "", *, emitter: str = "") -> Rule:
    """Declare a rule, or declare it again with the same words from another module.

    Raises
    ------
    RuleError
        If the name already belongs to a rule with another title or severity.
    """
    made = Rule(name, title, severity, about)
    old = _known.setdefault(name, made)
    if (old.title, old.severity) != (title, severity):
        raise RuleError(f"rule {name} is declared twice: '{old.title}' ({old.severity}) and '{title}' ({severity}).")
    if emitter:
        _emitters.setdefault(name, set()).add(emitter)
    return old


def known(name: str) -> Rule:
    """The rule called `name`.

    Raises
    ------
    RuleError
        If no loaded module declares it.
    """
    try:
        return _known[name]
    except KeyError:
        raise RuleError(f"no rule is called '{name}'. {hint(name, _known)}") from None


def all_rules() -> tuple[Rule, ...]:
    """Every rule that loaded modules declare, by name."""
    return tuple(_known[name] for name in sorted(_known))


def emitters(name: str) -> tuple[str, ...]:
    """Who reports a rule, as far as loaded modules say."""
    return tuple(sorted(_emitters.get(name, ())))
