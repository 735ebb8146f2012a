"""The command line: one file per verb, which parses its arguments, calls one pipeline and prints.

A verb is the function named after its module in this package; it is imported only when it is called or listed.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer

INTERRUPTED: Final = 130  # the exit status of a shell for Ctrl-C

# Verbs in the order of work, for --help; a verb that is not listed comes last.
ORDER = [
    "demo",
    "datasets",
    "get",
    "ingest",
    "import",
    "show",
    "check",
    "repair",
    "split",
    "sample",
    "tile",
    "stitch",
    "merge",
    "preprocess",
    "query",
    "predict",
    "metrics",
    "evaluate",
    "compare",
    "parity",
    "export",
    "report",
]


def verbs() -> list[str]:
    """List all verbs in the order of --help."""
    verb_names = [m.name.rstrip("_") for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return sorted(verb_names, key=lambda v: (ORDER.index(v) if v in ORDER else len(ORDER), v))


def build(names: list[str], *, outline: bool = False) -> typer.Typer:
    """Build the command-line application from these verbs; as an `outline`, with only what the list of verbs shows."""
    import typer

    app = typer.Typer(
        name="celltable",
        help="Microscopy cells and nuclei in one table: every cell is a row, every number names its protocol.",
        epilog="Start with: celltable demo. A verb's own page: celltable VERB --help.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_root)
    for name in names:
        module = importlib.import_module(f"celltable.cli.{_module(name)}")
        verb = getattr(module, _module(name))
        app.command(name)(_outline(verb) if outline else verb)
    return app


def _outline(verb: Callable[..., None]) -> Callable[[], None]:
    """Strip a verb of its options, since reading them takes most of the time of --help."""

    def listed() -> None: ...

    listed.__doc__ = verb.__doc__
    return listed


def _module(verb: str) -> str:
    return "import_" if verb == "import" else verb


def _root() -> None:
    pass


def main() -> None:
    """Run the command line; a request that cannot be met ends with one sentence and exit status 2."""
    from celltable.errors import CelltableError

    arguments = sys.argv[1:]
    if arguments[:1] == ["--version"]:
        from celltable.version import VERSION

        print(f"celltable {VERSION}")
        return
    known = verbs()
    wanted = [arguments[0]] if arguments and arguments[0] in known else known
    try:
        build(wanted, outline=not arguments or arguments[0] in ("-h", "--help"))(prog_name="celltable")
    except CelltableError as exc:
        _complain(exc)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone (head): nothing to report
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as exc:
        if exc.code == INTERRUPTED:  # typer turned a Ctrl-C into this and printed nothing
            _interrupted()
        raise
    except OSError as exc:
        _complain(exc)


def _interrupted() -> NoReturn:
    print("celltable: interrupted; finished work is kept, run the same command again to continue", file=sys.stderr)
    raise SystemExit(INTERRUPTED) from None


def _complain(exc: BaseException) -> NoReturn:
    notes = "".join(f"\n  {note}" for note in getattr(exc, "__notes__", ()))
    print(f"celltable: {exc}{notes}", file=sys.stderr)
    raise SystemExit(2) from None
