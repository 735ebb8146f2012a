"""The examples of the documentation do what they say: every python block with prompts is run, page by page."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("README.md")]


def examples(text: str) -> str:
    """The blocks of a page that have prompts, one after another."""
    return "\n".join(block for block in BLOCK.findall(text) if ">>>" in block)


WITH_EXAMPLES = [p for p in PAGES if examples(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_examples_of_a_page_give_what_they_print(page: Path) -> None:
    text = examples(page.read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    found: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=found.append).failed
    assert not failed, "".join(found)


def test_a_wrong_example_is_found() -> None:
    test = doctest.DocTestParser().get_doctest(examples("```python\n>>> 1 + 1\n3\n```"), {}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
