"""Download a release from its publisher: show the licence, resume broken connections, verify, then rename.

A file is written as ``NAME.incomplete`` and renamed only when its length, and its size and SHA-256 if known, are
right. Proxies from the environment are used; failures are retried after increasing pauses.
"""

from __future__ import annotations

import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final

from celltable import plugins
from celltable.disk import locked, plain_os_errors
from celltable.errors import CelltableError
from celltable.plugins.dataset import Dataset, File
from celltable.version import VERSION

BLOCK: Final = 1 << 20
RETRIES: Final = 5  # per address; the pause doubles each time
PAUSE_S: Final = 1.0
TIMEOUT_S: Final = 60.0

Report = Callable[[File, int, int | None], None]


class DownloadError(CelltableError):
    """A file that could not be downloaded whole from any of its addresses."""


class _Damaged(Exception):
    """The received data are not as expected: restart this address or try the next one."""


def get(
    dataset: str,
    folder: str | Path,
    *,
    accept: bool = False,
    pause_s: float = PAUSE_S,
    report: Report | None = None,
) -> list[Path]:
    """Download the files of a data set into a folder and return their paths.

    Parameters
    ----------
    dataset
        Name of the data set.
    folder
        Folder for the files; complete files that are already there are kept.
    accept
        Whether the user accepts the licence; nothing is downloaded otherwise.
    pause_s
        First pause before a retry, in seconds.
    report
        Called with (file, bytes so far, total bytes or None) during the download.

    Raises
    ------
    CelltableError
        If the release needs a login (the message says step by step what to do), or the licence was not accepted.
    DownloadError
        If a file cannot be downloaded completely; what has arrived is kept for the next attempt if it can be resumed.
    """
    reader: Dataset = plugins.load("datasets", dataset)
    if reader.access == "login":
        raise CelltableError(
            f"{reader.name} cannot be downloaded without a login.\n{reader.how_to_get or reader.source}"
        )
    if not reader.files:
        where = reader.how_to_get or f"See {reader.source}."
        raise CelltableError(f"No file of {reader.name} has a stable address. {where}")
    if not accept:
        raise CelltableError(
            f"{reader.name} is licensed {reader.licence}. "
            f"Accept it to download: celltable get {reader.name} --accept-licence"
        )
    target = Path(folder)
    with plain_os_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        with locked(target):
            return [fetch(file, target, pause_s=pause_s, report=report) for file in reader.files]


def fetch(file: File, folder: Path, *, pause_s: float = PAUSE_S, report: Report | None = None) -> Path:
    """Download one file, trying its mirrors in turn."""
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and _matches(target, file):
        return target
    problems = []
    for url in (file.url, *file.mirrors):
        try:
            partial = _from(url, file, folder, pause_s, report)
        except _Damaged as exc:
            problems.append(f"{url}: {exc}")
            continue
        os.replace(partial, target)
        return target
    raise DownloadError(f"{file.name} could not be downloaded. " + "; ".join(problems) + ". Try again later.")


def _matches(path: Path, file: File) -> bool:
    if file.size is not None and path.stat().st_size != file.size:
        return False
    return file.sha256 is None or _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _from(url: str, file: File, folder: Path, pause_s: float, report: Report | None) -> Path:
    """Download from one address into ``NAME.incomplete``, resuming and retrying, and verify the result."""
    partial = folder / f"{file.name}.incomplete"
    tag = folder / f"{file.name}.incomplete.tag"  # the server's version tag of the part that we have
    reason = "no answer"
    for attempt in range(RETRIES):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        try:
            _append(url, file, partial, tag, report)
        except urllib.error.HTTPError as exc:
            reason = f"the server answered {exc.code} {exc.reason}"
            if exc.code == 416:  # our part is longer than the file: start over
                _forget(partial, tag)
            elif exc.code < 500 and exc.code not in (408, 429):
                raise _Damaged(reason) from exc
            continue
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as exc:
            reason = f"the connection broke ({exc})"
            continue
        problem = _problem(partial, file)
        if problem is None:
            tag.unlink(missing_ok=True)
            return partial
        _forget(partial, tag)
        raise _Damaged(problem)
    raise _Damaged(f"{reason}, {RETRIES} times")


def _problem(path: Path, file: File) -> str | None:
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size:,} bytes arrived, expected {file.size:,}"
    if file.sha256 is not None and (found := _sha256(path)) != file.sha256:
        return f"its SHA-256 is {found}, expected {file.sha256}"
    return None


def _forget(partial: Path, tag: Path) -> None:
    partial.unlink(missing_ok=True)
    tag.unlink(missing_ok=True)


def _append(url: str, file: File, partial: Path, tag: Path, report: Report | None) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    version = tag.read_text(encoding="utf-8") if tag.exists() else ""
    headers = {"User-Agent": f"celltable/{VERSION}", "Accept-Encoding": "identity"}
    if have and version:  # without a version we might join parts of two different files
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdigit() else None
        tag.write_text(_version(response), encoding="utf-8")
        with partial.open("ab" if resumed else "wb") as sink:
            for block in _blocks(response):
                sink.write(block)
                have += len(block)
                if report is not None:
                    report(file, have, total if total is not None else file.size)
    if total is not None and have != total:
        raise ConnectionError(f"{have:,} of {total:,} bytes")


def _version(response: HTTPResponse) -> str:
    """Return a strong validator of the served file (RFC 9110, 13.1.5), or an empty string."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified", "") or ""


def _blocks(response: Any) -> Iterator[bytes]:
    while block := response.read(BLOCK):
        yield block
