"""Damaged headers, notes and lists: a file that is right, or one of the errors that the caller expects."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest

from amctq.download.partial import Partial
from amctq.download.source import Source, TransferOptions
from amctq.download.transfer import download
from amctq.errors import CheckError, InputError, NetworkError
from amctq.progress import Reporter
from amctq.services.pinned_sums import PINS, read_pins
from tests.command import amctq_here
from tests.mutations import mutation_count, mutations
from tests.server import Server, raw, truncate

CONTENT = random.Random(5).randbytes(3_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FINAL, PARTIAL, NOTE = Path("net.ckpt"), Path(".net.ckpt.partial"), Path(".net.ckpt.partial.json")
DAY = "Mon, 01 Jan 2024 00:00:00 GMT"
ANSWERS = {
    "whole": f'HTTP/1.1 200 OK\r\nETag: "one"\r\nLast-Modified: {DAY}\r\nContent-Length: 3000\r\n\r\n',
    "chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\nbb8;x=y\r\n",
    "moved": "HTTP/1.1 302 Found\r\nLocation: /real?a=b\r\nSet-Cookie: a=b; Max-Age=5\r\nContent-Length: 0\r\n\r\n",
    "busy": f"HTTP/1.1 503 Busy\r\nRetry-After: {DAY}\r\nContent-Length: 0\r\n\r\n",
    "rest": 'HTTP/1.1 206 Part\r\nETag: "one"\r\nContent-Range: bytes 1000-2999/3000\r\nContent-Length: 2000\r\n\r\n',
}


def _get(url: str, *, sha256: str | None) -> None:
    options = TransferOptions(retries=1, timeout=0.3, retry_delay=0)
    download(Source(urls=(url,), sha256=sha256), FINAL, options=options, reporter=Reporter())


def _clear() -> None:
    for path in Path.cwd().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("kind", ANSWERS)
def test_damaged_answers(server: Server, kind: str) -> None:
    server.page("/real", CONTENT)
    body = {"whole": CONTENT, "chunked": CONTENT + b"\r\n0\r\n\r\n", "rest": CONTENT[1000:]}.get(kind, b"")
    first = [truncate(1000)] if kind == "rest" else []
    for damaged in mutations(ANSWERS[kind].encode(), count=mutation_count(80), seed=len(kind)):
        url = server.page("/net.ckpt", CONTENT, *first, raw(damaged + body))
        with contextlib.suppress(NetworkError, CheckError):
            _get(url, sha256=SHA256)
            assert FINAL.read_bytes() == CONTENT, damaged
        _clear()


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["sum", "no-sum"])
def test_damaged_notes(server: Server, sha256: str | None) -> None:
    url = server.page("/net.ckpt", CONTENT, truncate(1000), last_modified=DAY)
    with pytest.raises(NetworkError):
        download(Source(urls=(url,), sha256=sha256), FINAL, options=TransferOptions(retries=0), reporter=Reporter())
    note, beginning = NOTE.read_bytes(), PARTIAL.read_bytes()
    fields = [json.dumps({**json.loads(note), key: value}).encode() for key in json.loads(note) for value in ODD]
    refused = 0
    for damaged in [note, b"", b"[]", b"[" * 100_000, *fields, *mutations(note, count=mutation_count(300), seed=1)]:
        PARTIAL.write_bytes(beginning)
        NOTE.write_bytes(damaged)
        if not Partial(FINAL, identity=sha256, md5=False, largest=1 << 20).size:
            assert not PARTIAL.exists()
            refused += 1
            if refused % 20:
                continue
        server.page("/net.ckpt", CONTENT, last_modified=DAY)
        PARTIAL.write_bytes(beginning)
        NOTE.write_bytes(damaged)
        _get(url, sha256=sha256)
        assert FINAL.read_bytes() == CONTENT, damaged
        assert [path.name for path in Path.cwd().iterdir()] == [FINAL.name]
        FINAL.unlink()


ODD: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    1,
    3.5,
    10**30,
    float("nan"),
    "",
    "²",
    "\ud800",
    'W/"x"',
    "\n",
    [],
    {},
    ["x"],
)


def test_damaged_lists_of_sums() -> None:
    assert read_pins(Path()) == {}
    content = "".join(f"{hashlib.sha256(bytes([number])).hexdigest()}  网 {number}.ckpt\n" for number in range(5))
    count, taken = mutation_count(300), 0
    for damaged in mutations(content.encode(), count=count, seed=2):
        Path(PINS).write_bytes(damaged)
        with contextlib.suppress(InputError):
            taken += bool(read_pins(Path()))
    assert 0 < taken < count


@pytest.mark.parametrize(
    "content", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf%s  net.ckpt\r\n", b"%s *net.ckpt", b"%s  net.ckpt\n%s  net.ckpt\n"]
)
def test_a_list_of_sums_from_an_editor(server: Server, content: bytes) -> None:
    Path("model").mkdir()
    Path("model", PINS).write_bytes(content.replace(b"%s", SHA256.upper().encode()))
    done = amctq_here("fetch-model", "resnet20", "--url", server.page("/net.ckpt", CONTENT), "--json")
    assert done.code == 0, done.stderr
    assert done.data["files"][0]["verified"] == ("pinned" if b"net.ckpt" in content else None)


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"\n",
        b"%s  \n",
        b"%s  a\n\n%s  b",
        b"%s  a\n" + b"0" * 64 + b"  a\n",
        b"\xff\xfe",
        bytes(1 << 21),
        b"%s a",
    ],
)
@pytest.mark.parametrize("json", [["--json"], []], ids=["json", "text"])
def test_a_list_of_sums_that_is_none(server: Server, content: bytes, json: list[str]) -> None:
    Path("model").mkdir()
    Path("model", PINS).write_bytes(content.replace(b"%s", SHA256.encode()))
    done = amctq_here("fetch-model", "resnet20", "--url", server.page("/net.ckpt", CONTENT), *json)
    assert done.code == 3
    assert PINS in done.stderr
    assert server.seen == []
