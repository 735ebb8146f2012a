"""Shared by the tests of ingest: the contents of a folder, what a refusal looks like, damaged archives."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from celltable.store import Store

Outcome = tuple[int, str, str]
SEED = 3


def digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def litter(folder: Path) -> list[str]:
    """List what is in a folder besides finished stores."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".celltable" or p.name.startswith("."))


def refused(outcome: Outcome, *words: str) -> None:
    """Expect exit status 2 and one sentence on standard error that contains the words."""
    status, _, err = outcome
    assert status == 2, err
    assert err.startswith("celltable: ")
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    for word in words:
        assert word in err


def rules(store: Store) -> Counter[str]:
    return Counter(store.findings["rule"].to_pylist())


def write_zip(path: Path, members: dict[str, bytes], link: str = "") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if link:
            info = zipfile.ZipInfo(link)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")


def first_image(bowl: Path) -> tuple[str, bytes]:
    with zipfile.ZipFile(bowl / "stage1_train.zip") as archive:
        name = next(n for n in archive.namelist() if "/images/" in n)
        return name, archive.read(name)


def claims(size: int) -> Callable[[Path], None]:
    """Let the directory of stage1_train.zip claim that the third image unpacks to that many bytes."""

    def spoil(bowl: Path) -> None:
        path = bowl / "stage1_train.zip"
        with zipfile.ZipFile(path) as archive:
            name = [n for n in archive.namelist() if "/images/" in n][2].encode()
        data = bytearray(path.read_bytes())
        at = data.rindex(name) - 46
        assert data[at : at + 4] == b"PK\x01\x02"
        data[at + 24 : at + 28] = size.to_bytes(4, "little")
        path.write_bytes(bytes(data))

    return spoil
