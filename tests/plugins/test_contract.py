"""A plug-in whose options and functions do not agree is refused when it is created, with its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from celltable.cells import Edit, Finding, Instances, Sample
from celltable.errors import PluginError
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.contract import check_options
from celltable.plugins.model import Model
from celltable.plugins.repair import Repair

SIZE = Option("size", 3, "least size")


def find(sample: Sample, *, size: int = 3) -> Iterable[Finding]:
    return ()


def other(sample: Sample, *, size: int = 4, colour: str = "red") -> Iterable[Finding]:
    return ()


def make(options: tuple[Option, ...], function: Callable[..., Iterable[Finding]] = find) -> Check:
    return Check("made-here", "Made here", "Value: none.", function, options=options)


def test_an_option_that_the_function_does_not_take_is_refused() -> None:
    assert make((SIZE,)).options == (SIZE,)
    with pytest.raises(PluginError, match="the check made-here declares the option colour, which find.. does not take"):
        make((SIZE, Option("colour", "red", "what to draw with")))


def test_a_parameter_that_no_option_declares_is_refused() -> None:
    with pytest.raises(PluginError, match=r"the check made-here: find\(\) takes 'size', which none of its options"):
        make(())


def test_two_defaults_of_one_option_are_refused() -> None:
    options = (SIZE, Option("colour", "red", "what to draw with"))
    with pytest.raises(PluginError, match=r"find\(\) has the default 4 for 'size', its option has 3"):
        make(options, other)


def test_an_option_declared_twice_is_refused() -> None:
    with pytest.raises(PluginError, match="the check made-here declares an option twice: size, size"):
        make((SIZE, SIZE))


@pytest.mark.parametrize("name", ["Otsu", "otsu_watershed", "-otsu", "otsu watershed", ""])
def test_a_name_in_another_spelling_is_refused(name: str) -> None:
    def predict(pixels: Any, image: Any) -> Instances:
        raise NotImplementedError

    def propose(sample: Sample) -> Iterable[Edit]:
        return ()

    with pytest.raises(PluginError, match="expected lower case with '-' between words"):
        Model(name, "A model", "It predicts.", predict)
    with pytest.raises(PluginError, match="expected lower case with '-' between words"):
        Repair(name, "A repair", "It mends.", ("hole",), propose)


def test_of_two_functions_one_may_take_an_option_where_the_contract_says_so() -> None:
    def read(path: Any, *, size: int = 3) -> None: ...

    def write(path: Any) -> None: ...

    functions = {"read": read, "write": write, "recognise": None}
    check_options("the format x", (SIZE,), functions, given=1, each=False)
    with pytest.raises(PluginError, match=r"declares the option size, which read\(\) and write\(\) does not take"):
        check_options("the format x", (SIZE,), functions, given=1)
