"""Options of checks, repairs, models and metrics mean the same from Python and from the shell, or are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from celltable import plugins
from celltable.cells import Image, Instances, Pixels, Sample
from celltable.cli import build
from celltable.errors import CelltableError, OptionError
from celltable.pipelines.check import check
from celltable.pipelines.evaluate import evaluate
from celltable.pipelines.predict import predict
from celltable.pipelines.repair import repair
from celltable.plugins import Option
from celltable.plugins.options import FALSE, TRUE, settle, settle_each, shown, split_texts
from celltable.store import StoreWriter

SIZE = (20, 30)


def masks() -> list[Any]:
    """Two cells, and a speck of 6 px."""
    cells = np.zeros((3, *SIZE), bool)
    cells[0, 2:9, 2:9] = True
    cells[1, 10:18, 4:12] = True
    cells[2, 4:6, 20:23] = True
    return list(cells)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("options")
    Pillow.fromarray((20 + 100 * np.any(masks(), axis=0)).astype(np.uint8)).save(root / "a.png")
    with StoreWriter(root / "toy.celltable", {}) as writer:
        image = Image("a", *SIZE, pixels=(Pixels("toy:", "a.png"),))
        writer.append(Sample(image, Instances.from_masks(masks(), SIZE)))
        sources = {"toy:": {"path": str(root), "relative": ".", "size": 0, "sha256": ""}}
        writer.finish({"name": "toy", "title": "Toy", "licence": "CC0", "sources": sources, "history": []})
    return root / "toy.celltable"


def shell(*arguments: str | Path) -> str:
    """Return the command's output, or the message with which it ends; anything else fails the test."""
    result = CliRunner().invoke(build([str(arguments[0]), "metrics"]), [str(a) for a in arguments])
    if result.exception is None or isinstance(result.exception, SystemExit):
        return result.output
    if not isinstance(result.exception, CelltableError):
        raise result.exception
    return str(result.exception)


@dataclass(frozen=True)
class Verb:
    """A command that takes options, called from Python and from the shell."""

    python: Callable[[Path, dict[str, Any], Path], Any]
    arguments: Callable[[Path, Path], list[str | Path]] = field(repr=False)


VERBS = {
    "check": Verb(
        lambda store, options, _: check(store, options=options, write=False),
        lambda store, _: ["check", store],
    ),
    "repair": Verb(
        lambda store, options, _: repair(store, rules=["overlap", "speck"], options=options, dry_run=True),
        lambda store, _: ["repair", store, "--rules", "overlap,speck", "--dry-run"],
    ),
    "predict": Verb(
        lambda store, options, out: predict(store, out, options=options),
        lambda store, out: ["predict", store, "-o", out],
    ),
    "evaluate": Verb(
        lambda store, options, _: evaluate(store, store, ["ap_stardist", "f_cellvit"], options=options, rounds=0),
        lambda store, _: ["evaluate", store, store, "-m", "ap_stardist,f_cellvit", "--rounds", "0", "--no-write"],
    ),
}
WRONG = [
    ("check", "speck.min_px=-1", "the check speck: option min_px is '-1'; expected a number of 0 or more (px²)"),
    ("check", "min_px=big", "the check speck: option min_px is 'big'; expected a number of 0 or more (px²) (def"),
    ("check", "min_iou=1.5", "the check duplicate-annotation: option min_iou is '1.5'; expected a number above 0 and"),
    ("check", "max_bits=2.5", "the check near-duplicate-image: option max_bits is '2.5'; expected a whole number fr"),
    ("check", "min-cels=4", "no chosen check has the option 'min_cels'. Did you mean min_cells?"),
    ("check", "specks.min_px=4", "options are given for 'specks', which is not a chosen check. Did you mean speck?"),
    ("check", "speck.size=4", "the check speck has no option 'size'. Its options: min_px, min_share."),
    ("check", "min_share=0.5", "'min_share' means different things to probable-missed, published-area-mismatch, spe"),
    ("check", "touching.min_px=3", "the check touching has no option 'min_px'. Its options: none."),
    ("repair", "policy=largest", "the repair resolve-overlaps: option policy is 'largest'; expected smaller-wins, "),
    ("repair", "min_share=-0.1", "the repair drop-specks: option min_share is '-0.1'; expected a number from 0 to 1"),
    ("repair", "speck.min_px=3", "options are given for 'speck', which is not a chosen repair."),
    ("predict", "sigma=-1", "the model otsu-watershed: option sigma is '-1'; expected a number of 0 or more (px)"),
    ("predict", "sigma=wide", "the model otsu-watershed: option sigma is 'wide'; expected a number of 0 or more"),
    ("predict", "sgima=1", "the model otsu-watershed has no option 'sgima'. Did you mean sigma?"),
    ("evaluate", "thresholds=1.5", "the metric ap_stardist: option thresholds is '1.5'; expected numbers from 0"),
    ("evaluate", "thresholds=0.5,x", "the metric ap_stardist: option thresholds is '0.5,x'; expected numbers from "),
    ("evaluate", "radius=-3", "the metric f_cellvit: option radius is '-3'; expected a number above 0 (px) (def"),
    ("evaluate", "criterion=iuo", "the metric ap_stardist: option criterion is 'iuo'; expected iou, iot or iop (de"),
    ("evaluate", "treshold=0.5", "no chosen metric has the option 'treshold'. Did you mean thresholds?"),
    ("evaluate", "tide.max_dets=3", "options are given for 'tide', which is not a chosen metric."),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "text", "message"), WRONG)
def test_the_same_sentence_ends_a_wrong_option_from_python_and_from_the_shell(
    store: Path, tmp_path: Path, verb: str, text: str, message: str
) -> None:
    name, _, value = text.partition("=")
    out = tmp_path / "out.celltable"
    with pytest.raises(OptionError) as caught:
        VERBS[verb].python(store, {name.replace("-", "_"): value}, out)
    assert message in str(caught.value)
    assert shell(*VERBS[verb].arguments(store, out), "-O", text) == str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(("verb", "name", "value"), [
    ("check", "min_px", [3]), ("check", "min_px", {"x": 3}), ("check", "speck", 3), ("check", "min_iou", np.zeros(2)),
    ("repair", "policy", 3), ("repair", "min_share", None), ("predict", "h", object()), ("predict", "h", True),
    ("evaluate", "thresholds", [None]), ("evaluate", "radius", "far"), ("evaluate", "criterion", ["iou"]),
])  # fmt: skip
def test_objects_of_another_type_end_in_an_option_error_from_python(
    store: Path, tmp_path: Path, verb: str, name: str, value: Any
) -> None:
    with pytest.raises(OptionError):
        VERBS[verb].python(store, {name: value}, tmp_path / "out.celltable")


@pytest.mark.parametrize("text", ["size", "=3", "-O"])
def test_what_is_not_name_and_value_is_refused(store: Path, text: str) -> None:
    assert "is not an option; expected NAME=VALUE" in shell("check", store, "-O", text)


def test_an_option_given_twice_is_refused(store: Path) -> None:
    said = shell("check", store, "-O", "speck.min_px=3", "-O", "speck.min-px=4")
    assert said == "option speck.min_px is given twice: 3 and 4; give it once."


def test_a_threshold_from_the_shell_changes_what_is_found(store: Path) -> None:
    def found(*options: str) -> list[int]:
        said = json.loads(shell("check", store, "--rules", "speck", "--json", *options))
        return [finding["instance_id"] for finding in said["findings"]]

    assert found() == [3]
    assert found("-O", "min_px=6", "-O", "min_share=0") == []
    assert found("-O", "speck.min-px=60") == [1, 3]
    assert check(store, rules=["speck"], options={"speck": {"min_px": 60}}).findings.num_rows == 2


def test_an_option_from_the_shell_changes_what_is_repaired(store: Path) -> None:
    def edits(*options: str) -> int:
        said = json.loads(shell("repair", store, "--rules", "speck", "--dry-run", "--json", *options))
        return len(said["edits"])

    assert (edits(), edits("-O", "min_px=60"), edits("-O", "drop-specks.min_px=1", "-O", "min_share=0")) == (1, 2, 0)


def test_an_option_that_metrics_share_reaches_all_of_them_and_the_own_one_wins() -> None:
    gt = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2, 0]])
    pred = np.array([[1, 1, 1, 0, 0, 2, 2, 0, 0, 0]])
    options = {"thresholds": 0.7, "ap_cellpose.thresholds": "0.4,0.8"}
    scores = evaluate(gt, pred, ["ap_stardist", "ap_cellpose"], options=options, rounds=0)
    assert scores["ap_stardist"].options["thresholds"] == (0.7,)
    assert scores["ap_cellpose"].options["thresholds"] == (0.4, 0.8)


@pytest.mark.parametrize("verb", ["check", "repair", "predict"])
def test_the_list_needs_no_store_and_shows_every_option(verb: str) -> None:
    family = {"check": "checks", "repair": "repairs", "predict": "models"}[verb]
    said = shell(verb, "--list")
    rows = {entry.get("rule") or entry["name"]: entry for entry in json.loads(shell(verb, "--list", "--json"))}
    assert set(rows) == set(plugins.names(family))
    for name, plugin in plugins.load_all(family).items():
        assert [option["name"] for option in rows[name]["options"]] == [option.name for option in plugin.options]
        for option in plugin.options:
            (line,) = (line for line in said.splitlines() if line.split()[:2] == [name, option.name])
            assert option.expected in line
            assert line.endswith(option.about)


@pytest.mark.parametrize("verb", ["check", "repair", "predict"])
def test_without_a_store_a_verb_says_what_it_needs(verb: str) -> None:
    assert f"expected a STORE, for example: celltable {verb}" in shell(verb)


@pytest.mark.parametrize("text", [*sorted(TRUE | FALSE), "No", "TRUE", " off "])
def test_the_words_for_yes_and_no(text: str) -> None:
    assert Option("pixels", True, "whether").value(text) is (text.strip().lower() in TRUE)


@pytest.mark.parametrize("text", ["", "maybe", "2", "nope", "y"])
def test_other_words_are_neither(text: str) -> None:
    with pytest.raises(OptionError, match="expected yes or no"):
        Option("pixels", True, "whether").value(text)


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        (Option("n", 3, "how many"), "1e3", 1000),
        (Option("n", 3, "how many"), 4.0, 4),
        (Option("n", 3, "how many"), np.int16(7), 7),
        (Option("x", 0.5, "share"), "1", 1.0),
        (Option("x", 0.5, "share"), np.float32(0.25), 0.25),
        (Option("x", None, "share", type=float), None, None),
        (Option("p", None, "where", type=Path), "a/b", Path("a/b")),
        (Option("n", (1, 2), "limits", several=True), "5", (5,)),
        (Option("n", (1, 2), "limits", several=True), np.arange(3), (0, 1, 2)),
        (Option("n", (1, 2), "limits", several=True), " 4, 5 ,", (4, 5)),
        (Option("w", ("a",), "words", several=True, choices=("a", "b")), ["b", "a"], ("b", "a")),
    ],
)
def test_a_value_is_read_in_the_type_of_its_option(option: Option, given: Any, value: Any) -> None:
    read = option.value(given)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("given", ["inf", "1e400", float("inf"), "nan", "", "0x10", "1,5"])
def test_a_whole_number_is_neither_infinite_nor_undefined(given: Any) -> None:
    with pytest.raises(OptionError, match="option n is .* expected a whole number"):
        Option("n", 3, "how many").value(given)


def test_two_plug_ins_may_share_an_option_only_with_one_meaning() -> None:
    speck, missed = plugins.load("checks", "speck"), plugins.load("checks", "probable-missed")
    with pytest.raises(OptionError, match=r"name the check, for example speck.min_share="):
        settle_each([speck, missed], {"min_share": 0.1}, "check")
    settled = settle_each([speck, missed], {"speck.min_share": 0.1, "probable_missed": {"min-share": 0.2}}, "check")
    assert (settled["speck"]["min_share"], settled["probable-missed"]["min_share"]) == (0.1, 0.2)


def test_values_are_shown_as_they_are_typed() -> None:
    options = [o for m in plugins.load_all("metrics").values() for o in m.options if o.default is not None]
    assert len(options) > 10
    for option in options:
        typed = split_texts([f"{option.name}={shown(option.default)}"])
        assert settle([replace(option, at_most="")], typed, "x") == {option.name: option.default}


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        (
            "image-mask-png",
            "size=abc",
            "the format image-mask-png: option size is 'abc'; expected a whole number of 0 or",
        ),
        (
            "image-mask-png",
            "seed=x",
            "the format image-mask-png: option seed is 'x'; expected a whole number of 0 or more",
        ),
        ("image-mask-png", "palette=5", "the palette '5' is neither one of v1, v2, binary nor of the form"),
        (
            "nuclei-coco",
            "tile=0",
            "the format nuclei-coco: option tile is '0'; expected a whole number of 1 or more (px)",
        ),
        ("nuclei-coco", "as_published=maybe", "option as_published is 'maybe'; expected yes or no (default no)"),
        ("coco", "like=7", "7 does not exist"),
        ("coco", "lke=7", "the format coco has no option 'lke'. Did you mean like?"),
        ("coco", "overwrite=yes", "'overwrite' is not an option of the format but of the command itself"),
        ("coco", "where=1", "'where' is not an option of the format but of the command itself"),
    ],
)
def test_a_wrong_option_of_a_format_ends_an_export_in_one_sentence(
    store: Path, tmp_path: Path, form: str, text: str, message: str
) -> None:
    out = tmp_path / "out"
    assert message in shell("export", store, out, "--to", form, "-O", text)
    assert not out.exists()


@pytest.mark.parametrize(("text", "same"), [("no", True), ("off", True), ("false", True), ("0", True), ("yes", False)])
def test_no_is_no_in_every_spelling(store: Path, tmp_path: Path, text: str, same: bool) -> None:
    def exported(*options: str) -> dict[str, bytes]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        assert "as nuclei-coco" in shell("export", store, out, "--to", "nuclei-coco", *options)
        files = (p for p in out.rglob("*") if p.suffix == ".json")
        return {str(p.relative_to(out)): p.read_bytes() for p in files}

    assert (exported("-O", f"as_published={text}") == exported()) is same


def test_pixels_are_written_only_on_request(store: Path, tmp_path: Path) -> None:
    for text, written in (("no", False), ("yes", True)):
        out = tmp_path / text
        shell("export", store, out, "--to", "livecell", "-O", f"pixels={text}")
        assert any(p.suffix == ".tif" for p in out.rglob("*")) is written


def test_an_argument_of_import_is_not_an_option_of_its_format(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    said = shell("import", "coco", tmp_path / "p.json", tmp_path / "p.celltable", "-O", "licence=CC0")
    assert said == "'licence' is not an option of the format but of the command itself; see its --help."
