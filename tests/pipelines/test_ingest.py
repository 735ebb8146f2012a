"""Ingest through the command line: bad input is told in one sentence or becomes findings, and nothing is ever lost."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celltable import cli, registry
from celltable.errors import CelltableError
from celltable.pipelines.ingest import _load, ingest
from celltable.records import Sample
from celltable.store import Store, StoreWriter, open_store

Outcome = tuple[int, str, str]
SEED = 3


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of dsb2018: three archives and their tables."""
    path: Path = registry.load("datasets", "dsb2018").example(tmp_path_factory.mktemp("bowl"), SEED)
    return path


@pytest.fixture
def bowl(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the example that may be spoilt."""
    return Path(shutil.copytree(pristine, tmp_path / "bowl"))


@pytest.fixture
def old(pristine: Path, tmp_path: Path) -> Path:
    """A store that exists already and must survive whatever fails."""
    path = tmp_path / "out" / "s.celltable"
    path.parent.mkdir()
    ingest("dsb2018", pristine, path, parts=["stage1_test"])
    return path


@pytest.fixture
def celltable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run a command in this process: (exit status, output, errors)."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["celltable", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def litter(folder: Path) -> list[str]:
    """What lies in a folder besides finished stores."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".celltable" or p.name.startswith("."))


def refused(outcome: Outcome, *words: str) -> None:
    """Exit status 2 and one sentence on standard error that holds the words."""
    status, _, err = outcome
    assert status == 2, err
    assert err.startswith("celltable: ")
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    for word in words:
        assert word in err


def rules(store: Store) -> Counter[str]:
    return Counter(store.findings["rule"].to_pylist())


# --- requests that cannot be served -----------------------------------------------------------------------------------


def _zip(path: Path, members: dict[str, bytes], link: str = "") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if link:
            info = zipfile.ZipInfo(link)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")


def _first_image(bowl: Path) -> tuple[str, bytes]:
    with zipfile.ZipFile(bowl / "stage1_train.zip") as archive:
        name = next(n for n in archive.namelist() if "/images/" in n)
        return name, archive.read(name)


def _cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _claims(size: int) -> Callable[[Path], None]:
    """The listing of stage1_train.zip claims that the third image unpacks to that many bytes."""

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


def _tar_bomb(bowl: Path) -> None:
    """A compressed tar of zeros that unpacks to far more than its size allows: bz2 packs them 10,000 to one."""
    import bz2

    shutil.rmtree(bowl)
    bowl.mkdir()
    (bowl / "stage1_train.tar.bz2").write_bytes(bz2.compress(bytes(1 << 26)))


def _replace_train(bowl: Path, extra: dict[str, bytes], link: str = "") -> None:
    name, data = _first_image(bowl)
    _zip(bowl / "stage1_train.zip", {name: data, **extra}, link)


def _empty(bowl: Path) -> None:
    shutil.rmtree(bowl)
    bowl.mkdir()


def _something_else(bowl: Path) -> None:
    _empty(bowl)
    (bowl / "thesis.txt").write_text("words")


def _only_deep(bowl: Path) -> None:
    """The archives lie three folders deeper than what is passed."""
    deep = bowl / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for path in [p for p in bowl.iterdir() if p.is_file()]:
        path.rename(deep / path.name)


END_THE_COMMAND: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a zip without its last byte": (lambda b: _cut(b / "stage1_train.zip", 0.9999), ("stage1_train.zip",)),
    "half a zip": (lambda b: _cut(b / "stage1_train.zip", 0.5), ("stage1_train.zip",)),
    "an empty zip file": (lambda b: (b / "stage1_train.zip").write_bytes(b""), ("stage1_train.zip", "empty")),
    "a member that climbs out": (lambda b: _replace_train(b, {"../evil.png": b"x"}), ("../evil.png",)),
    "a member deep down that climbs out": (lambda b: _replace_train(b, {"a/../../e.png": b"x"}), ("a/../../e.png",)),
    "a member with backslashes that climbs out": (lambda b: _replace_train(b, {"..\\evil.png": b"x"}), ("evil.png",)),
    "an absolute member": (lambda b: _replace_train(b, {"/etc/passwd": b"x"}), ("/etc/passwd",)),
    "a member on a drive": (lambda b: _replace_train(b, {"C:\\evil.png": b"x"}), ("evil.png",)),
    "a symbolic link": (lambda b: _replace_train(b, {}, "ab/images/link.png"), ("link.png", "symbolic link")),
    "a tar that is a bomb": (_tar_bomb, ("refused as a bomb",)),
    "an empty folder": (_empty, ("empty folder", "expected a release")),
    "a folder of something else": (_something_else, ("expected", "found thesis.txt", "celltable datasets dsb2018")),
    "no folder": (shutil.rmtree, ("does not exist",)),
}


@pytest.mark.parametrize("case", END_THE_COMMAND)
def test_a_request_that_cannot_be_served_ends_with_one_sentence_and_the_old_store_stays(
    case: str, bowl: Path, old: Path, celltable: Callable[..., Outcome]
) -> None:
    spoil, words = END_THE_COMMAND[case]
    before = digest(old)
    spoil(bowl)
    refused(celltable("ingest", "dsb2018", bowl, old, "--overwrite"), *words)
    assert digest(old) == before
    assert litter(old.parent) == []
    assert not (bowl.parent / "evil.png").exists()


def test_a_folder_too_high_is_found_or_named(bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]) -> None:
    ingest("dsb2018", bowl, tmp_path / "right.celltable")
    above = tmp_path / "downloads"
    above.mkdir()
    bowl.rename(above / bowl.name)
    status, _, err = celltable("ingest", "dsb2018", above, tmp_path / "high.celltable")
    assert status == 0, err
    right, high = open_store(tmp_path / "right.celltable"), open_store(tmp_path / "high.celltable")
    assert list(high) == list(right)
    assert high.instances.arrow.equals(right.instances.arrow)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dsb2081", "."), ("dsb2081", "Did you mean dsb2018")),
        (("dsb2018", ".", "--part", "stage3"), ("stage3", "stage1_train, stage1_test, stage2_test")),
        (("dsb2018", __file__), ("expected a zip or tar",)),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_right(
    arguments: tuple[str, ...], words: tuple[str, ...], bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]
) -> None:
    given = [str(bowl) if a == "." else a for a in arguments]
    refused(celltable("ingest", *given[:2], tmp_path / "s.celltable", *given[2:]), *words)
    assert litter(tmp_path) == ["bowl"]


def test_an_existing_store_is_kept_unless_overwrite_is_said(
    bowl: Path, old: Path, celltable: Callable[..., Outcome]
) -> None:
    before = digest(old)
    refused(celltable("ingest", "dsb2018", bowl, old), "exists already", "--overwrite")
    assert digest(old) == before
    assert celltable("ingest", "dsb2018", bowl, old, "--overwrite")[0] == 0
    assert len(open_store(old)) == 12
    assert litter(old.parent) == []


# --- bad items become findings ----------------------------------------------------------------------------------------


def _rezip(bowl: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Change (or, with None, drop) members of stage1_train.zip."""
    path = bowl / "stage1_train.zip"
    with zipfile.ZipFile(path) as archive:
        members = {n: change(n, archive.read(n)) for n in archive.namelist()}
    _zip(path, {n: d for n, d in members.items() if d is not None})


def _nth(n: int, folder: str, how: Callable[[bytes], bytes | None]) -> Callable[[Path], None]:
    """Change the n-th member that lies in such a folder."""

    def spoil(bowl: Path) -> None:
        seen = iter(range(10_000))
        _rezip(bowl, lambda name, data: how(data) if f"/{folder}/" in name and next(seen) == n else data)

    return spoil


def _as(fmt: str, crop: int = 0) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        import io

        from PIL import Image as Picture

        out = io.BytesIO()
        with Picture.open(io.BytesIO(data)) as picture:
            pixels = np.array(picture)[crop:]
        Picture.fromarray(pixels).save(out, fmt)
        return out.getvalue()

    return change


def _bomb(_: bytes) -> bytes:
    """A PNG of a few hundred bytes whose header announces 60,000 × 60,000 px."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")


def _row(text: str) -> Callable[[Path], None]:
    """Add a row to the table of the test part; {id} and {size} are those of its first row."""

    def spoil(bowl: Path) -> None:
        table = bowl / "stage1_solution.csv"
        first = table.read_text().splitlines()[1].split(",")
        with table.open("a") as sink:
            sink.write(text.format(id=first[0], size=",".join(first[2:])) + "\n")

    return spoil


def _flip(bowl: Path) -> None:
    """One bit of the packed bytes of one mask."""
    path = bowl / "stage1_train.zip"
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if "/masks/" in i.filename and "MACOSX" not in i.filename)
    data = bytearray(path.read_bytes())
    data[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 4
    path.write_bytes(bytes(data))


FINDINGS: dict[str, tuple[Callable[[Path], object], str, int]] = {
    # what is done → the rule that is found once more, and how many cells fewer there are
    "a mask cut short": (_nth(5, "masks", lambda d: d[: len(d) // 2]), "unreadable-mask", 1),
    "a flipped bit in a mask": (_flip, "unreadable-mask", 1),
    "an image cut short": (_nth(2, "images", lambda d: d[: len(d) // 2]), "unreadable-image", 0),
    "an image that is text": (_nth(2, "images", lambda d: b"not an image"), "unreadable-image", 0),
    "an image that is a bomb": (_nth(2, "images", _bomb), "unreadable-image", 0),
    "an image that claims 4 GB": (_claims(0xFFFFFFF0), "unreadable-image", 0),
    "an image that claims 3 times its size": (_claims(100_000), "unreadable-image", 0),
    "a mask that is a bomb": (_nth(5, "masks", _bomb), "unreadable-mask", 1),
    "an image with a wrong extension": (_nth(2, "images", _as("TIFF")), "wrong-extension", 0),
    "a mask of another size": (_nth(5, "masks", _as("PNG", crop=3)), "size-mismatch", 1),
    "an image that is missing": (_nth(2, "images", lambda d: None), "missing-image", 0),
    "an odd count": (_row("{id},1 3 10,{size}"), "rle-odd-count", 0),
    "a zero length": (_row("{id},1 0,{size}"), "rle-not-positive", 0),
    "a zero start": (_row("{id},0 4,{size}"), "rle-not-positive", 0),
    "a negative length": (_row("{id},9 -4,{size}"), "rle-not-positive", 0),
    "unsorted runs": (_row("{id},100 2 1 2,{size}"), "rle-unsorted", 0),
    "overlapping runs": (_row("{id},1 9 5 9,{size}"), "rle-runs-overlap", 0),
    "a run out of the image": (_row("{id},999999999 2,{size}"), "rle-out-of-image", 0),
    "an id without image": (_row("f" * 64 + ",1 3,20,30,Public"), "missing-image", -1),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_a_bad_item_becomes_a_finding_and_the_rest_goes_on(
    case: str, bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]
) -> None:
    spoil, rule, lost = FINDINGS[case]
    good = ingest("dsb2018", bowl, tmp_path / "good.celltable")
    spoil(bowl)
    status, out, err = celltable("ingest", "dsb2018", bowl, tmp_path / "bad.celltable")
    assert (status, err) == (0, "")
    bad = open_store(tmp_path / "bad.celltable")
    assert rules(bad)[rule] - rules(good)[rule] == 1
    assert len(good.instances) - len(bad.instances) == lost
    assert set(good) <= set(bad)
    assert f"{len(bad.findings):,} findings" in out
    named = bad.findings.arrow.filter(np.array(bad.findings["rule"].to_pylist()) == rule)
    assert set(named["image_id"].to_pylist()) <= {*bad, None}


def test_a_damaged_image_is_a_finding_also_where_pixels_are_copied(bowl: Path, tmp_path: Path) -> None:
    _claims(100_000)(bowl)
    store = ingest("dsb2018", bowl, tmp_path / "s.celltable", copy=True)
    assert (rules(store)["unreadable-image"], rules(store)["not-copied"]) == (1, 1)
    assert len(store) == 12
    assert sum(not store.image(i).pixels for i in store) == 1


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@pytest.mark.parametrize("options", [(), ("--copy",)], ids=["tables", "copied-pixels"])
def test_a_full_disk_is_said_and_the_old_store_stays(
    options: tuple[str, ...], bowl: Path, old: Path, small_disk: Path, celltable: Callable[..., Outcome]
) -> None:
    kept = Path(shutil.copytree(old, small_disk / "s.celltable"))
    before = digest(kept)
    room = shutil.disk_usage(small_disk).free - (8192 if not options else 65536)
    (small_disk / "ballast").write_bytes(bytes(room))
    outcome = celltable("ingest", "dsb2018", bowl, kept, "--overwrite", *options)
    refused(outcome, "the disk is full", "untouched")
    assert digest(kept) == before
    (small_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert celltable("ingest", "dsb2018", bowl, kept, "--overwrite", *options)[0] == 0
    assert len(open_store(kept)) == 12
    assert litter(small_disk) == []


def test_a_read_only_disk_is_said_and_the_old_store_stays(
    bowl: Path, old: Path, small_disk: Path, celltable: Callable[..., Outcome]
) -> None:
    kept = Path(shutil.copytree(old, small_disk / "s.celltable"))
    before = digest(kept)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(celltable("ingest", "dsb2018", bowl, kept, "--overwrite"), "the disk is read-only")
    refused(celltable("ingest", "dsb2018", bowl, small_disk / "new.celltable"), "the disk is read-only")
    assert digest(kept) == before


@pytest.mark.parametrize("table", ["images", "instances", "findings"])
def test_a_disk_that_fills_while_the_final_tables_are_written_keeps_the_old_store(
    table: str, bowl: Path, old: Path, monkeypatch: pytest.MonkeyPatch, celltable: Callable[..., Outcome]
) -> None:
    from celltable.store import _parts

    before = digest(old)
    with monkeypatch.context() as patch:
        for name in ("write_table", "write_instances"):
            patch.setattr(_parts, name, _full_for(table, getattr(_parts, name)))
        refused(celltable("ingest", "dsb2018", bowl, old, "--overwrite"), "the disk is full")
    assert digest(old) == before
    assert celltable("ingest", "dsb2018", bowl, old, "--overwrite")[0] == 0
    assert litter(old.parent) == []


def _full_for(table: str, write: Callable[..., None]) -> Callable[..., None]:
    def full(path: Path, *rest: object) -> None:
        if path.stem == table:
            path.write_bytes(b"half of a")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *rest)

    return full


@pytest.mark.parametrize("out", ["file/s.celltable", "missing/s.celltable", "n" * 300 + ".celltable"])
def test_an_output_that_cannot_be_written_is_said(
    out: str, bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]
) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    refused(celltable("ingest", "dsb2018", bowl, tmp_path / out), "Cannot write")
    assert litter(tmp_path) == ["bowl", "file"]


# --- interruptions ----------------------------------------------------------------------------------------------------

DRIVER = """
import sys, time
from celltable.store import StoreWriter, _parts, _writer
import celltable.cli
StoreWriter.PART_IMAGES = 2
where, count = sys.argv.pop(1), 0
def halt():
    print("now", flush=True)
    time.sleep(60)
def after(name, function):
    def wrapped(*args, **kwargs):
        global count
        result = function(*args, **kwargs)
        count += 1
        if where == f"{name}{count}":
            halt()
        return result
    return wrapped
_parts.Parts.flush = after("flush", _parts.Parts.flush)
_parts.write_table = after("table", _parts.write_table)
_parts.Parts.assemble = after("assemble", _parts.Parts.assemble)
_parts.Parts.seal = after("seal", _parts.Parts.seal)
_writer.exchange = after("exchange", _writer.exchange)
sys.argv[0] = "celltable"
celltable.cli.main()
"""


def _takes_interrupts() -> None:
    """A suite that runs in the background of a shell ignores Ctrl-C, and so would the processes it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(where: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a command in a process of its own that stops at a certain moment; returns when it has come there."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", DRIVER, where, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=_takes_interrupts
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n", process.communicate()[1]
    return process


def end(process: subprocess.Popen[str], how: signal.Signals) -> str:
    process.send_signal(how)
    return process.communicate(timeout=30)[1]


# flushes 1-6 write two of 12 images each; the seventh, in finish, has none; then tables, seal, exchange
MOMENTS = ("flush1", "flush4", "table8", "assemble10", "seal11", "exchange12")


@pytest.fixture(scope="module")
def uninterrupted(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of the store that nothing disturbed, made with copied pixels."""
    folder = tmp_path_factory.mktemp("whole")
    store = ingest("dsb2018", pristine, folder / "s.celltable", copy=True)
    return _without_place(store.path)


def _without_place(path: Path) -> dict[str, str]:
    """The digest of a store, its folder's name taken out of dataset.json."""
    info = (path / "dataset.json").read_text()
    relative = [line for line in info.splitlines() if '"relative"' not in line]
    return {**digest(path), "dataset.json": "\n".join(relative)}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill-9", "ctrl-c"])
def test_an_ingest_that_was_stopped_at_any_moment_goes_on_to_the_same_bytes(
    how: signal.Signals,
    moment: str,
    pristine: Path,
    old: Path,
    uninterrupted: dict[str, str],
    celltable: Callable[..., Outcome],
) -> None:
    before = digest(old)
    command = ("ingest", "dsb2018", pristine, old, "--overwrite", "--copy")
    err = end(start(moment, *command), how)
    assert "Traceback" not in err
    if not moment.startswith("exchange"):
        assert digest(old) == before
    assert celltable(*command)[0] == 0
    assert _without_place(old) == uninterrupted
    assert litter(old.parent) == []


def test_ctrl_c_says_how_to_go_on_and_keeps_what_is_done(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, celltable: Callable[..., Outcome]
) -> None:
    out = tmp_path / "s.celltable"
    process = start("flush4", "ingest", "dsb2018", pristine, out)
    err = end(process, signal.SIGINT)
    assert process.returncode == 130
    assert err.strip().splitlines() == [err.strip()]
    assert "run the same command again" in err
    assert not out.exists()
    refused(celltable("show", out), "run the same command again")
    read: list[object] = []

    def counted(*arguments: Any) -> Sample:
        read.append(arguments[-1])
        return _load(*arguments)

    monkeypatch.setattr("celltable.pipelines.ingest._load", counted)
    assert celltable("ingest", "dsb2018", pristine, out)[0] == 0
    assert len(read) == 12 - 8  # four parts of two images were kept


def test_two_processes_do_not_write_one_store(pristine: Path, old: Path, celltable: Callable[..., Outcome]) -> None:
    before = digest(old)
    command = ("ingest", "dsb2018", pristine, old, "--overwrite")
    first = start("flush2", *command)
    try:
        refused(celltable(*command), "Another process is writing")
        assert digest(old) == before
    finally:
        end(first, signal.SIGKILL)
    assert celltable(*command)[0] == 0
    assert litter(old.parent) == []


def test_a_store_that_is_being_changed_is_not_replaced_meanwhile(
    pristine: Path, old: Path, celltable: Callable[..., Outcome]
) -> None:
    from celltable.disk import locked

    before = digest(old)
    with locked(old):
        refused(celltable("ingest", "dsb2018", pristine, old, "--overwrite"), "Another process is writing")
    assert digest(old) == before
    assert celltable("ingest", "dsb2018", pristine, old, "--overwrite")[0] == 0
    assert litter(old.parent) == []


def test_a_store_that_another_process_finished_meanwhile_is_not_replaced(pristine: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.celltable"
    late = StoreWriter(out, {"request": "late"})  # sees no store yet
    done = digest(ingest("dsb2018", pristine, out, parts=["stage1_test"]).path)
    with pytest.raises(CelltableError, match="exists already"), late:
        pass
    assert digest(out) == done
    assert litter(tmp_path) == []


# --- same input, same bytes; copies are whole -------------------------------------------------------------------------

COPIED = ("dsb2018", "pannuke", "hpa_single_cell", "kumar", "bbbc006")


@pytest.mark.parametrize("name", ["dsb2018", "pannuke", "livecell", "hpa_single_cell"])
@pytest.mark.parametrize("copy", [False, True], ids=["in-place", "copied"])
def test_the_bytes_do_not_depend_on_the_number_of_workers(name: str, copy: bool, tmp_path: Path) -> None:
    release = registry.load("datasets", name).example(tmp_path / "release", SEED)
    made = [digest(ingest(name, release, tmp_path / f"{n}.celltable", copy=copy, workers=n).path) for n in (1, 2, 4)]
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("name", COPIED)
def test_a_copied_store_needs_the_release_no_more(name: str, tmp_path: Path) -> None:
    release = registry.load("datasets", name).example(tmp_path / "release", SEED)
    plain = ingest(name, release, tmp_path / "plain.celltable")
    readable = [i for i in plain if plain.image(i).pixels and _pixels(plain, i) is not None]
    assert readable
    expected = {i: _pixels(plain, i) for i in readable}
    (tmp_path / "elsewhere").mkdir()
    ingest(name, release, tmp_path / "copy.celltable", copy=True)
    shutil.rmtree(tmp_path / "release")
    (tmp_path / "copy.celltable").rename(tmp_path / "elsewhere" / "moved.celltable")
    copy = open_store(tmp_path / "elsewhere" / "moved.celltable")
    for image_id, pixels in expected.items():
        assert pixels is not None
        again = copy[image_id].pixels
        assert again.dtype == pixels.dtype
        np.testing.assert_array_equal(again, pixels)
    with pytest.raises(CelltableError, match="not there now"):
        _ = plain[readable[0]].pixels


def _pixels(store: Store, image_id: str) -> np.ndarray | None:
    try:
        return store[image_id].pixels
    except CelltableError:
        return None


def test_the_release_itself_is_never_written_to(pristine: Path, tmp_path: Path) -> None:
    before = digest(pristine)
    ingest("dsb2018", pristine, tmp_path / "s.celltable", copy=True)
    assert digest(pristine) == before


def test_provenance_names_every_archive_with_its_hash(pristine: Path, tmp_path: Path) -> None:
    store = ingest("dsb2018", pristine, tmp_path / "s.celltable")
    archives = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in pristine.glob("*.zip")}
    sources = {key.partition(":")[2]: s["sha256"] for key, s in store.info["sources"].items()}
    assert {k: v for k, v in sources.items() if k} == archives
    assert len(sources[""]) == 64


def test_json_says_what_was_written(bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]) -> None:
    import json

    _, out, _ = celltable("ingest", "dsb2018", bowl, tmp_path / "s.celltable", "--json")
    store = open_store(tmp_path / "s.celltable")
    assert json.loads(out) == {
        "store": str(tmp_path / "s.celltable"),
        "images": len(store),
        "instances": len(store.instances),
        "findings": len(store.findings),
    }
