"""Rules of findings: each is declared once, by whoever reports it, and a defect has the same name in every command."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import celltable
from celltable import plugins, rules
from celltable.cells import Finding
from celltable.errors import RuleError

SOURCE = Path(celltable.__file__).parent
VERBS = ("ingest", "import", "check", "predict", "tile", "merge", "split")


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    plugins.all_rules()


def test_a_finding_with_an_unknown_rule_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(RuleError, match=r"'unreadble-image'.*unreadable-image"):
        Finding("unreadble-image", "text")


def test_a_finding_has_the_severity_of_its_rule_unless_it_says_otherwise() -> None:
    assert Finding("missing-image", "text").severity == "error"
    assert Finding("data-channel", "text").severity == "warning"
    assert Finding("missing-image", "text", "note").severity == "note"


def test_a_rule_cannot_be_declared_with_other_words_or_another_severity() -> None:
    for title, severity in (("Other words", "error"), ("Sizes that differ", "note")):
        with pytest.raises(RuleError, match="size-mismatch is declared twice"):
            rules.rule("size-mismatch", title, severity, emitter="elsewhere")  # type: ignore[arg-type]
    assert "elsewhere" not in rules.known("size-mismatch").emitters


def test_a_third_party_declares_a_rule_in_its_own_module() -> None:
    rules.rule("halo", "Halo", "note", "A bright rim around each cell.", emitter="check of a third party")
    assert Finding("halo", "text").severity == "note"
    assert rules.known("halo").emitters == ("check of a third party",)


def test_every_rule_says_what_it_means_and_who_reports_it() -> None:
    for one in built_in():
        assert one.title, one.name
        assert len(one.about) > 20, one.name
        assert one.emitters, one.name


def reported() -> Iterator[tuple[str, str, str]]:
    """Yield (package, module, rule) of every literal rule name that the source passes to a Finding."""
    for path in sorted(SOURCE.rglob("*.py")):
        package, _, module = path.relative_to(SOURCE).with_suffix("").as_posix().partition("/")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    yield package, module, str(name.value)


def built_in() -> list[rules.Rule]:
    """Return the rules of celltable itself; other tests declare their own."""
    names = {name for _, _, name in reported()} | set(plugins.names("checks"))
    return [one for one in rules.all_rules() if one.name in names]


PACKAGE_VERB = {"datasets": "ingest", "formats": "import", "checks": "check"}


def test_every_rule_that_the_source_reports_is_declared_with_the_verb_that_reports_it() -> None:
    found = list(reported())
    assert len(found) > 100
    for package, module, name in found:
        emitters = rules.known(name).emitters
        verb = PACKAGE_VERB.get(package, module.strip("_"))
        if verb == "ingest" and not module.startswith("_"):
            assert {"ingest", f"ingest {module}"} & set(emitters), (module, name)
        elif verb in VERBS:
            assert any(e.split()[0] == verb for e in emitters), (module, name)


def test_no_two_rules_are_the_same_words_in_another_order() -> None:
    same = {"invalid": "unreadable", "absent": "missing", "broken": "unreadable", "differs": "mismatch"}
    seen: dict[frozenset[str], str] = {}
    for one in built_in():
        words = frozenset(same.get(w, w).rstrip("s") for w in one.name.split("-"))
        assert words not in seen, f"{one.name} and {seen[words]}"
        seen[words] = one.name
