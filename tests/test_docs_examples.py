"""The examples of the documentation do what they say: every python block with prompts is run, page by page."""

from __future__ import annotations

import doctest
import importlib.machinery
import importlib.util
import re
from pathlib import Path

import pytest

import celltable
from celltable import plugins

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("README.md")]


def examples(text: str) -> str:
    """Return the blocks of a page that have prompts, in order."""
    return "\n".join(block for block in BLOCK.findall(text) if ">>>" in block)


WITH_EXAMPLES = [p for p in PAGES if examples(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_examples_of_a_page_give_what_they_print(page: Path) -> None:
    text = examples(page.read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    found: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=found.append).failed
    assert not failed, "".join(found)


METRICS = ROOT / "docs" / "metrics"
OWN = [n for n in plugins.names("metrics") if (Path(celltable.__file__).parent / "metrics" / f"{n}.py").exists()]


def lacking(name: str, folder: Path) -> str:
    """Say what the page of a metric lacks, so that its author knows what to write; empty if it is complete."""
    page = folder / f"{name}.md"
    model = "docs/metrics/ap_coco.md is one to follow"
    if not page.exists():
        return (
            f"docs/metrics/{name}.md is missing: every metric has a page with a worked example of a few pixels; {model}"
        )
    called = re.findall(r"metrics=\[([^\]]*)\]|names = \[([^\]]*)\]", examples(page.read_text(encoding="utf-8")))
    scored = {n for found in called for n in re.findall(r'"(\w+)"', "".join(found))}
    if name not in scored:
        return f"docs/metrics/{name}.md has no python block with prompts that scores {name} with ct.evaluate; {model}"
    if scored == {name}:
        return (
            f"docs/metrics/{name}.md compares {name} with no other metric; show a namesake on the same pixels; {model}"
        )
    return ""


@pytest.mark.parametrize("name", OWN)
def test_every_metric_has_a_page_whose_example_scores_it_beside_a_namesake(name: str) -> None:
    assert not (message := lacking(name, METRICS)), message


def test_every_page_of_a_metric_has_its_metric() -> None:
    strangers = sorted({p.stem for p in METRICS.glob("*.md")} - set(OWN))
    assert not strangers, f"docs/metrics has pages of no metric: {', '.join(strangers)}; rename or remove them"


def test_the_author_of_a_metric_without_a_page_is_told_what_to_write(tmp_path: Path) -> None:
    assert lacking("ap_new", tmp_path).startswith("docs/metrics/ap_new.md is missing: every metric has a page")
    page = tmp_path / "ap_new.md"
    page.write_text("## Worked example\n", encoding="utf-8")
    assert "has no python block with prompts that scores ap_new" in lacking("ap_new", tmp_path)
    block = '```python\n>>> s = ct.evaluate(gt, pred, metrics=["ap_new"{}])\n```\n'
    page.write_text(block.format(""), encoding="utf-8")
    assert "compares ap_new with no other metric" in lacking("ap_new", tmp_path)
    page.write_text(block.format(', "ap_coco"'), encoding="utf-8")
    assert lacking("ap_new", tmp_path) == ""


def test_the_reference_page_of_a_metric_holds_its_card_its_options_and_its_example() -> None:
    loader = importlib.machinery.SourceFileLoader("make_docs_pages", str(ROOT / "tools" / "make-docs-pages"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    tool = importlib.util.module_from_spec(spec)
    loader.exec_module(tool)
    for name in OWN:
        metric = plugins.load("metrics", name)
        text = tool.metric_page(metric)
        where = r"\(\d{4}\), e?\d+(-\d+)?|LNCS \d+, \d+-\d+|arXiv \d{4}\.\d+"  # volume and page, or the preprint
        assert re.search(where, metric.card.citation), f"{name}: the citation has no volume and page"
        for part in ("formula", "matching", "ties", "averaging", "empty", "strict", "regions", "partial", "citation"):
            assert f"**{part}**: " in text, f"{name}: {part}"
        for option in metric.options:
            assert f"`{option.name}`" in text
            assert option.about in text
        assert "\n## Worked example\n" in text


def test_a_wrong_example_is_found() -> None:
    test = doctest.DocTestParser().get_doctest(examples("```python\n>>> 1 + 1\n3\n```"), {}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
