"""Downloads: whole or not at all, against a server that drops connections, lies about length and serves other bytes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from celltable import plugins
from celltable.cli import build
from celltable.errors import CelltableError
from celltable.pipelines.get import DownloadError, fetch, get
from celltable.plugins.dataset import File

BODY = bytes(range(256)) * 4000
SHA = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """A server with one misbehaviour per path; it records every request."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.seen.append((self.path, self.headers.get("Range")))
        first = sum(p == self.path for p, _ in server.seen) == 1
        body, start, status = BODY, 0, 200
        if self.path == "/other":
            body = b"x" * len(BODY)
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/busy" and first:
            self.send_error(503)
            return
        wanted = self.headers.get("Range")
        version = '"v2"' if self.path == "/changed" and not first else '"v1"'
        if wanted and self.path != "/norange" and self.headers.get("If-Range") == version:
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
        if self.path == "/changed" and not first:
            body = BODY[::-1]
        self.send_response(status)
        self.send_header("ETag", version)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        lie = 1000 if self.path == "/lies" else 0
        self.send_header("Content-Length", str(len(body) - start + lie))
        self.end_headers()
        drop = first and self.path in ("/drops", "/norange", "/changed")
        self.wfile.write(body[start : start + 300_000] if drop else body[start:])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def url(server: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def test_a_download_is_verified_and_named_at_the_end(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    seen: list[int] = []
    path = fetch(File(url(server, "/good"), "a.zip", len(BODY), SHA), tmp_path, report=lambda f, n, t: seen.append(n))
    assert path.read_bytes() == BODY
    assert seen[-1] == len(BODY)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
    fetch(File(url(server, "/good"), "a.zip", len(BODY), SHA), tmp_path)
    assert len(server.seen) == 1  # type: ignore[attr-defined]


def test_a_file_may_belong_in_a_folder_of_the_release(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert (
        fetch(File(url(server, "/good"), "annotations/wide/a.json"), tmp_path) == tmp_path / "annotations/wide/a.json"
    )
    assert (tmp_path / "annotations" / "wide" / "a.json").read_bytes() == BODY


def test_a_dropped_connection_is_resumed_where_it_broke(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert fetch(File(url(server, "/drops"), "a", sha256=SHA), tmp_path, pause_s=0.01).read_bytes() == BODY
    assert server.seen == [("/drops", None), ("/drops", "bytes=300000-")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/norange", "/busy"])
def test_a_server_without_ranges_or_busy_is_asked_again(server: ThreadingHTTPServer, tmp_path: Path, path: str) -> None:
    assert fetch(File(url(server, path), "a", len(BODY), SHA), tmp_path, pause_s=0.01).read_bytes() == BODY


def test_two_versions_of_a_file_are_never_glued_together(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert fetch(File(url(server, "/changed"), "a"), tmp_path, pause_s=0.01).read_bytes() == BODY[::-1]


def test_a_wrong_checksum_goes_to_the_mirror(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    file = File(url(server, "/other"), "a", sha256=SHA, mirrors=(url(server, "/good"),))
    assert fetch(file, tmp_path, pause_s=0.01).read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "message"), [("/other", "SHA-256 is"), ("/lies", "connection broke"), ("/gone", "answered 404")]
)
def test_a_download_that_is_incomplete_does_not_get_its_name(
    server: ThreadingHTTPServer, tmp_path: Path, path: str, message: str
) -> None:
    with pytest.raises(DownloadError, match=message):
        fetch(File(url(server, path), "a", sha256=SHA), tmp_path, pause_s=0.001)
    assert not (tmp_path / "a").exists()


def test_an_existing_but_damaged_file_is_downloaded_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"half")
    assert fetch(File(url(server, "/good"), "a", len(BODY)), tmp_path).read_bytes() == BODY


def test_downloads_that_need_a_login_list_each_step_on_a_line(tmp_path: Path) -> None:
    with pytest.raises(CelltableError) as told:
        get("hpa_single_cell", tmp_path / "hpa", accept=True)
    first, *steps = str(told.value).splitlines()
    assert first == "hpa_single_cell cannot be downloaded without a login."
    assert steps[0].startswith("1. ")
    assert any(line.startswith("2. ") for line in steps)
    assert not (tmp_path / "hpa").exists()


@pytest.mark.parametrize(
    ("checksums", "words"),
    [
        ((SHA, SHA), "2 files, verified by their SHA-256"),
        ((None, None), "2 files, verified by their lengths"),
        ((SHA, None), "2 files, verified by SHA-256 of 1, lengths of all"),
    ],
)
def test_the_command_says_what_was_verified(
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checksums: tuple[str | None, ...],
    words: str,
) -> None:
    files = tuple(File(url(server, "/good"), f"{k}.zip", sha256=sha) for k, sha in enumerate(checksums))
    reader = replace(plugins.load("datasets", "tnbc"), files=files)
    monkeypatch.setattr(plugins, "load", lambda *_: reader)
    arguments = ["get", "tnbc", str(tmp_path / "my files"), "--accept-licence"]
    result = CliRunner().invoke(build(["get", "datasets"]), arguments)
    assert words in result.output
    assert f"ingest tnbc '{tmp_path / 'my files'}' tnbc.celltable" in result.output
