"""Releases read the same however they are packed; damaged and malicious archives are refused in one sentence."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable.errors import ArchiveError, ImageFileError, NotFoundError, ReleaseError
from celltable.imagefile import Release, let_go, open_release, read_located

FILES = {
    "top/a/images/1.png": b"picture one" * 50,
    "top/a/masks/2.png": b"mask" * 500,
    "top/labels.csv": b"id,rle\n",
    "top/ünïcode ♥.txt": "ä".encode(),
    "top/empty.bin": b"",
}
LITTER = {"__MACOSX/top/._1.png": b"x", "top/.DS_Store": b"x", "top/a/._2.png": b"x", "top/Thumbs.db": b"x"}


def as_folder(path: Path) -> Path:
    for name, data in {**FILES, **LITTER}.items():
        target = path / "folder" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path / "folder"


def as_zip(path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path / "release.zip", "w", method) as archive:
        archive.mkdir("top")
        for name, data in {**FILES, **LITTER}.items():
            archive.writestr(name, data)
    return path / "release.zip"


def as_stored_zip(path: Path) -> Path:
    return as_zip(path, zipfile.ZIP_STORED)


def as_tar(path: Path, mode: str = "w", suffix: str = "tar") -> Path:
    target = path / f"release.{suffix}"
    with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
        for name, data in {**FILES, **LITTER}.items():
            member = tarfile.TarInfo("./" + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target


def as_tgz(path: Path) -> Path:
    return as_tar(path, "w:gz", "tgz")


def as_txz(path: Path) -> Path:
    return as_tar(path, "w:xz", "tar.xz")


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_stored_zip, as_tar, as_tgz, as_txz])
def test_a_release_reads_the_same_however_it_is_packed(pack: Callable[[Path], Path], tmp_path: Path) -> None:
    with open_release(pack(tmp_path)) as release:
        assert {e.name: release.read(e) for e in release.entries} == FILES
        assert [e.size for e in release.entries] == [len(FILES[e.name]) for e in release.entries]
        assert list(release.entries) == sorted(release.entries)
        assert release.ignored == {"._*": 1, ".DS_Store": 1, "Thumbs.db": 1, "__MACOSX/": 1}
        assert all(release.head(e, 5) == FILES[e.name][:5] for e in release.entries)
        assert all(release.extract(e).read_bytes() == FILES[e.name] for e in release.entries)
        assert len(release.sources) == 1


def test_a_folder_of_archives_and_loose_files_is_one_list(tmp_path: Path) -> None:
    as_zip(tmp_path)
    as_tgz(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "loose.csv").write_bytes(b"1")
    with open_release(tmp_path) as release:
        assert [s.key for s in release.sources] == ["", "release.tgz", "release.zip"]
        assert len(release.entries) == 1 + 2 * len(FILES)
        assert release.read(release.entry("", "sub/loose.csv")) == b"1"


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("prefix", ["", "stage1_train/", "stage1_train/stage1_train/", "any/where/stage1_train/"])
def test_a_pattern_finds_its_members_in_any_parent_folder(prefix: str, tmp_path: Path) -> None:
    archive = make_zip(
        tmp_path / "stage1_train.zip", {f"{prefix}abc/images/x.png": b"1", f"{prefix}abc/other.txt": b""}
    )
    with zipfile.ZipFile(archive) as z:
        z.extractall(tmp_path / "unpacked" / "stage1_train")
    for path in (archive, tmp_path / "unpacked", tmp_path / "unpacked" / "stage1_train"):
        with open_release(path) as release:
            matches = release.match(r"stage1_train/(?P<id>[^/]+)/images/(?P<file>[^/]+)\.png")
            assert [(m["id"], m["file"]) for _, m in matches] == [("abc", "x")]
            assert len(release.match(r"images/[^/]+")) == 1
            assert not release.match(r"mages/[^/]+")


def test_the_optional_start_of_a_pattern_is_matched_if_present(tmp_path: Path) -> None:
    make_zip(tmp_path / "data.zip", {"train/a/1.png": b"", "b/2.png": b""})
    with open_release(tmp_path / "data.zip") as release:
        matches = release.match(r"(?:(?P<part>train|test)/)?(?P<id>[ab])/\d\.png")
        assert [(m["part"], m["id"]) for _, m in matches] == [(None, "b"), ("train", "a")]


def test_hashes_are_those_of_the_archives_and_change_with_a_folders_content(tmp_path: Path) -> None:
    path = as_zip(tmp_path)
    seen: list[int] = []
    with open_release(path) as release:
        assert release.hash_sources(seen.append) == {"release.zip": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert sum(seen) == path.stat().st_size
    folder = as_folder(tmp_path)
    hashes = set()
    for text in ("one", "two", "one"):
        (folder / "top/labels.csv").write_text(text)
        with open_release(folder) as release:
            hashes.add(release.hash_sources()[""])
    assert len(hashes) == 2


def test_large_loose_files_are_hashed_by_blocks_over_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celltable.imagefile.release._HASHED_WHOLE", 1000)
    monkeypatch.setattr("celltable.imagefile.release._BLOCK", 10)
    data, seen = bytes(range(250)) * 20, list[int]()
    hashes = []
    for change in (None, 0, 4999, 2501, 100):  # 63 steps of 79.2: 100 is between two blocks
        (tmp_path / "masks.npy").write_bytes(bytes(b ^ (k == change) for k, b in enumerate(data)))
        with open_release(tmp_path) as release:
            hashes.append(release.hash_sources(seen.append)[""])
    assert hashes[0] not in hashes[1:3]
    assert hashes[0] == hashes[4]
    assert 0.95 * 5000 < sum(seen) / len(hashes) <= 5000


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "leads out"),
        ("a/../../evil.png", "leads out"),
        ("a\\..\\..\\evil.png", "leads out"),
        ("/etc/passwd", "absolute"),
        ("\\\\server\\x", "absolute"),
        ("C:/x.png", "drive"),
        ("c:x.png", "drive"),
    ],
)
def test_members_that_lead_out_of_an_archive_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, b"x")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        with pytest.raises(ArchiveError, match=reason):
            open_release(path)


def test_links_and_devices_in_archives_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="link"):
        open_release(tmp_path / "a.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            member = tarfile.TarInfo("x.png")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        with pytest.raises(ArchiveError, match=r"is a link|not an ordinary file"):
            open_release(tmp_path / "a.tar")


def test_a_name_twice_is_refused_unless_the_bytes_are_the_same(tmp_path: Path) -> None:
    for second, fine in ((b"same", True), (b"else", False)):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a.png", b"same")
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("a.png", second)
        if fine:
            with open_release(tmp_path / "a.zip") as release:
                assert len(release.entries) == 1
        else:
            with pytest.raises(ArchiveError, match="two members"):
                open_release(tmp_path / "a.zip")


def test_a_zip_cut_short_anywhere_is_refused_or_reads_right(tmp_path: Path) -> None:
    whole = as_zip(tmp_path).read_bytes()
    path = tmp_path / "cut.zip"
    for size in [*range(60), *range(60, len(whole) - 1, 17), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ArchiveError, match=r"cut short|empty file|expected a zip|damaged"):
            open_release(path)


def test_a_flipped_bit_never_passes_and_never_crashes(tmp_path: Path) -> None:
    whole = as_zip(tmp_path).read_bytes()
    path = tmp_path / "bad.zip"
    rng = np.random.default_rng(5)
    for _ in range(400):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            with open_release(path) as release:
                for entry in release.entries:
                    content = release.read(entry)
                    assert content in (*FILES.values(), *LITTER.values())
        except ArchiveError:
            pass


def test_a_damaged_member_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"first member")
        archive.writestr("b.png", b"second member")
    path.write_bytes(path.read_bytes().replace(b"first member", b"First member"))
    with open_release(path) as release:
        with pytest.raises(ArchiveError, match=r"a\.png in a\.zip: is damaged: its checksum"):
            release.read(release.entry("a.zip", "a.png"))
        assert release.read(release.entry("a.zip", "b.png")) == b"second member"


def patched(path: Path, change: Callable[[bytearray, int, int], None]) -> Path:
    """Apply a change to the first member's local (offset 0) and central header."""
    data = bytearray(path.read_bytes())
    change(data, 0, data.find(b"PK\x01\x02"))
    path.write_bytes(data)
    return path


def refuses(path: Path, reason: str) -> None:
    with open_release(path) as release, pytest.raises(ArchiveError, match=reason):
        release.read(release.entries[0])


def test_bombs_encryption_and_false_sizes_are_refused(tmp_path: Path) -> None:
    def fresh(data: bytes = bytes(100_000)) -> Path:
        return make_zip(tmp_path / "a.zip", {"a.bin": data})

    def size(value: int) -> Callable[[bytearray, int, int], None]:
        return lambda d, local, central: struct.pack_into("<I", d, central + 24, value)

    refuses(patched(fresh(), size(0xFFFFFFF0)), "bomb")
    refuses(patched(fresh(), size(99_999)), "more than its header says")
    refuses(patched(fresh(), size(100_001)), "the zip says 100001")
    refuses(patched(fresh(), lambda d, local, central: struct.pack_into("<H", d, central + 8, 1)), "encrypted")
    refuses(patched(fresh(), lambda d, local, central: struct.pack_into("<H", d, central + 10, 14)), "method 14")
    refuses(
        patched(fresh(), lambda d, local, central: struct.pack_into("<I", d, central + 42, 1 << 30)), "past the end"
    )
    refuses(
        patched(fresh(), lambda d, local, central: struct.pack_into("<I", d, central + 20, 1 << 30)), "past the end"
    )
    refuses(patched(fresh(), lambda d, local, central: d.__setitem__(31, 0x5F)), "another name")
    with open_release(fresh()) as release:  # 1,000:1 is what deflate can do
        assert release.read(release.entries[0]) == bytes(100_000)


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.bin": b"1" * 500, "b.bin": b"2" * 500})
    data = bytearray(path.read_bytes())
    second = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, second + 42, 3)
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="overlap"):
        open_release(path)


def test_a_tar_that_is_cut_short_or_a_bomb_is_refused(tmp_path: Path) -> None:
    whole = as_tar(tmp_path).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:3000])
    packed = as_tgz(tmp_path).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "bad.tgz").write_bytes(packed[:40] + bytes(40) + packed[80:])
    for name in ("cut.tar", "cut.tgz", "bad.tgz"):
        with pytest.raises(ArchiveError, match=r"cut short|damaged|ends within"):
            open_release(tmp_path / name)
    before = set(os.listdir(Path(os.environ.get("TMPDIR", "/tmp"))))
    with pytest.raises(ArchiveError):
        open_release(tmp_path / "cut.tgz")
    left = {n for n in set(os.listdir(Path(os.environ.get("TMPDIR", "/tmp")))) - before if n.startswith("celltable-")}
    assert not left


def test_a_folder_that_is_not_a_release_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(ReleaseError, match="is an empty folder; expected a release"):
        open_release(tmp_path / "void")
    with pytest.raises(NotFoundError, match="does not exist"):
        open_release(tmp_path / "nowhere")
    (tmp_path / "a.zip").write_bytes(b"<html>not found</html>")
    with pytest.raises(ArchiveError, match="expected a zip or tar, found a file that begins with 3c 68 74 6d"):
        open_release(tmp_path / "a.zip")


def test_a_zip64_and_a_zip_behind_other_bytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.bin", "w", force_zip64=True) as file,
    ):
        file.write(b"content" * 100)
    with open_release(path) as release:
        assert release.read(release.entries[0]) == b"content" * 100
    path.write_bytes(b"#!/bin/sh\n" * 9 + path.read_bytes())
    with open_release(path) as release:
        assert release.read(release.entries[0]) == b"content" * 100
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for i in range(65_600):  # more than fit the 16 bits of a plain zip
            archive.writestr(zipfile.ZipInfo(f"{i}"), b"")
    with open_release(many) as release:
        assert len(release.entries) == 65_600


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


@pytest.mark.parametrize("pack", ["stored", "deflated", "tar", "tgz", "folder"])
def test_npy_members_are_memory_mapped_wherever_they_are(pack: str, tmp_path: Path) -> None:
    array = np.arange(3 * 40 * 50, dtype=np.float32).reshape(3, 40, 50)
    path = tmp_path / ("x" if pack == "folder" else f"x.{'zip' if 'd' in pack else pack}")
    if pack == "folder":
        path.mkdir()
        (path / "a.npy").write_bytes(npy(array))
    elif pack in ("stored", "deflated"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if pack == "stored" else zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", npy(array))
    else:
        with tarfile.open(path, "w:gz" if pack == "tgz" else "w") as tar:
            member = tarfile.TarInfo("a.npy")
            member.size = len(npy(array))
            tar.addfile(member, io.BytesIO(npy(array)))
    with open_release(path) as release:
        mapped = release.memmap(release.entries[0])
        assert isinstance(mapped, np.memmap)
        assert not mapped.flags.writeable
        assert np.array_equal(mapped, array)
        for row in range(3):
            let_go(mapped, row)
        assert np.array_equal(mapped, array)
        let_go(array, 0)
        info = release.image_info(release.entries[0])
        assert (info.height, info.width, info.pages, info.dtype) == (40, 50, 3, "float32")
        del mapped
    assert np.array_equal(read_located(path, "a.npy", 1), array[1])
    with pytest.raises(NotFoundError, match="no row 3"):
        read_located(path, "a.npy", 3)


def test_pickled_and_short_arrays_are_never_loaded(tmp_path: Path) -> None:
    good = npy(np.zeros((4, 5)))
    make_zip(tmp_path / "a.zip", {"o.npy": npy(np.array([{}], dtype=object)), "s.npy": good[:-1], "h.npy": good[:20]})
    with open_release(tmp_path / "a.zip") as release:
        for name, reason in (("o.npy", "pickled"), ("s.npy", "cut short"), ("h.npy", "not a readable")):
            for read in (release.memmap, release.read_pixels):
                with pytest.raises(ImageFileError, match=reason):
                    read(release.entry("a.zip", name))


def test_many_threads_read_one_release_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {f"{i}.bin": rng.bytes(int(rng.integers(1, 20_000))) for i in range(60)}
    make_zip(tmp_path / "a.zip", files)
    wrong: list[str] = []

    def work(release: Release) -> None:
        for entry in release.entries:
            if release.read(entry) != files[entry.name]:
                wrong.append(entry.name)

    with open_release(tmp_path / "a.zip") as release:
        threads = [threading.Thread(target=work, args=(release,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    with pytest.raises(ArchiveError, match="closed"):
        release.read(release.entries[0])


def test_located_pixels_never_leave_their_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out.npy").write_bytes(npy(np.zeros((3, 3))))
    for member in ("../out.npy", str(tmp_path / "out.npy"), "missing.png"):
        with pytest.raises(NotFoundError, match="has no file"):
            read_located(tmp_path / "in", member)


def test_a_file_that_is_gone_is_an_error_of_that_member(tmp_path: Path) -> None:
    with open_release(as_folder(tmp_path)) as release:
        entry = release.entry("", "top/labels.csv")
        (tmp_path / "folder/top/labels.csv").unlink()
        for read in (release.read, lambda e: release.head(e, 3)):
            with pytest.raises(ArchiveError, match=r"top/labels\.csv: cannot be read \(No such file"):
                read(entry)


def test_gzip_of_something_else_is_not_a_tar(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(b"hello" * 300))
    with pytest.raises(ArchiveError, match="damaged or cut short"):
        open_release(tmp_path / "a.tgz")
    (tmp_path / "b.tgz").write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(ReleaseError, match="empty archive"):
        open_release(tmp_path / "b.tgz")


def test_a_tar_that_unpacks_past_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celltable.imagefile.archive.MAX_MEMBER_BYTES", 1 << 20)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(3 << 20)))
    with pytest.raises(ArchiveError, match="refused as a bomb"):
        open_release(tmp_path / "a.tgz")


@pytest.mark.real
def test_the_published_release_reads_as_zipfile_reads_it(sample: Callable[[str], Path]) -> None:
    path = sample("dsb2018/stage1_train.zip")
    with open_release(path) as release, zipfile.ZipFile(path) as other:
        assert len(release.entries) == 30_131
        for entry in release.entries[::997]:
            assert release.read(entry) == other.read(entry.name)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_head_of_a_packed_member_is_its_first_bytes_however_it_was_packed(level: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)  # what cannot be compressed is stored in blocks of up to 65,535 bytes
    data = rng.integers(0, 256, 150_000, np.uint8).tobytes() + bytes(50_000) + b"abc" * 20_000
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.writestr("x.png", data)
    with open_release(tmp_path / "a.zip") as release:
        for n in (0, 1, 8, 256, 16_383, 16_384, 65_535, 70_000, 150_001, len(data) - 1, len(data), len(data) + 9):
            assert release.head(release.entries[0], n) == data[:n], n
