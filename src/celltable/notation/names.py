"""Make file names from image ids, and read image ids from file names."""

from __future__ import annotations

import re
from urllib.parse import unquote

from celltable.errors import InputError

MAX_NAME_BYTES = 200  # file systems allow 255; extensions and the suffixes of other tools need room
_UNSAFE = re.compile(rb"[^A-Za-z0-9 _.,()+=@~\[\]{}&!#$-]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # device names of Windows


def to_name(image_id: str) -> str:
    """Make a file name (without extension) from an image id: safe on every system, and reversed by `from_name`.

    Bytes that could lead out of the folder or that a file system refuses are written as ``%XX``.

    >>> to_name("A9 p10d"), to_name("../täg/1"), to_name("")
    ('A9 p10d', '%2E.%2Ft%C3%A4g%2F1', '%')
    """
    if not image_id:
        return "%"
    quoted = _UNSAFE.sub(lambda m: b"%%%02X" % m[0][0], image_id.encode("utf-8", "surrogateescape"))
    name = quoted.decode("ascii")
    if name[0] == "." or _RESERVED.match(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if name[-1] in ". ":
        name = f"{name[:-1]}%{ord(name[-1]):02X}"
    if len(name) > MAX_NAME_BYTES:
        raise InputError(
            f"the image id '{image_id[:60]}…' needs a file name of {len(name)} bytes; expected at most "
            f"{MAX_NAME_BYTES}. Shorten the ids, or export to a single-file format, such as coco."
        )
    return name


def from_name(name: str) -> str:
    """Return the image id that `to_name` made the file name from.

    >>> from_name("%2E.%2Ft%C3%A4g%2F1")
    '../täg/1'
    """
    return "" if name == "%" else unquote(name, errors="surrogateescape")
