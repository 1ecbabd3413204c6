"""What a server can say and do that no honest one would: nothing of it may hang, flood or end in a fault of amctq."""

from __future__ import annotations

import hashlib
import random
import resource
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from amctq.download.source import Downloaded, Source, TransferOptions
from amctq.download.transfer import download
from amctq.errors import CheckError, NetworkError
from amctq.progress import Reporter
from tests.server import Behaviour, Server, drip, raw, redirect, status, truncate

CONTENT = random.Random(5).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FINAL = Path("net.ckpt")


def _get(
    *urls: str, sha256: str | None = None, retries: int = 0, timeout: float = 1, largest: int = 1 << 20
) -> Downloaded:
    options = TransferOptions(retries=retries, timeout=timeout, retry_delay=0)
    return download(Source(urls=urls, sha256=sha256, largest=largest), FINAL, options=options, reporter=Reporter())


def _refused(url: str, match: str, *, error: type[Exception] = NetworkError) -> None:
    before = time.monotonic()
    with pytest.raises(error, match=match):
        _get(url)
    assert time.monotonic() - before < 5
    assert not FINAL.exists()


# Without end


@pytest.mark.parametrize(
    "beginning",
    [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 900000000000000000\r\n\r\n"],
    ids=["no-length", "a-lie"],
)
def test_a_body_without_end(server: Server, beginning: bytes) -> None:
    url = server.page("/net.ckpt", b"", drip(beginning, bytes(1 << 16)))
    _refused(url, "1,048,576", error=CheckError)
    assert list(Path.cwd().iterdir()) == []


def test_a_chunked_body_without_end(server: Server) -> None:
    beginning = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = server.page("/net.ckpt", b"", drip(beginning, b"10000\r\n" + bytes(1 << 16) + b"\r\n"))
    _refused(url, "more than 1,048,576 bytes", error=CheckError)


@pytest.mark.parametrize(
    ("beginning", "piece", "match"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", b"x", "too slow, with "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x", "too slow, with "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x", "no data for 1 s"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x", "no complete answer within 3 s"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", "no complete answer within 3 s"),
    ],
    ids=["length", "no-length", "chunk", "header", "hints"],
)
def test_one_byte_at_a_time(server: Server, beginning: bytes, piece: bytes, match: str) -> None:
    _refused(server.page("/net.ckpt", b"", drip(beginning, piece, 0.02)), match)


def test_one_byte_at_a_time_over_tls(tls_server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    url = tls_server.page("/net.ckpt", b"", drip(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.02))
    _refused(url, "no complete answer within 3 s")


@pytest.mark.parametrize("piece", [b"x" * 1000, b"X: y\r\n" * 100, b"HTTP/1.1 100 Continue\r\n\r\n" * 100])
def test_headers_without_end(server: Server, piece: bytes) -> None:
    _refused(server.page("/net.ckpt", b"", drip(b"HTTP/1.1 200 OK\r\nX: y\r\n", piece)), "net.ckpt")


def test_redirections_without_end(server: Server) -> None:
    for number in range(99):
        server.page(f"/{number}", b"", redirect(f"/{number + 1}"))
    _refused(server.url + "/0", "redirects more than 10 times")


def test_a_redirection_with_a_body_without_end(server: Server) -> None:
    server.page("/real", CONTENT)
    answer = b"HTTP/1.1 302 Found\r\nLocation: /real\r\n\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _get(server.page("/net.ckpt", b"", drip(answer, bytes(1 << 16))))
    assert FINAL.read_bytes() == CONTENT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_server_that_never_sends_the_rest(server: Server) -> None:
    """It sends the beginning of the whole, and to a question for the rest something else: for ever."""
    part = raw(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nabcde")
    url = server.page("/net.ckpt", CONTENT, *[truncate(100_000), part] * 20)
    with pytest.raises(NetworkError, match="never sends the rest"):
        _get(url, sha256=SHA256, retries=9)
    assert len(server.seen) < 10


# Headers


def _answer(*headers: str, code: str = "200 OK", body: bytes = CONTENT) -> Behaviour:
    lines = "\r\n".join([f"HTTP/1.1 {code}", *headers, f"Content-Length: {len(body)}", "", ""])
    return raw(lines.encode("utf-8") + body)


@pytest.mark.parametrize("after", ["²", "٣", "-1", "1e9", "9" * 40, "nan", "Fri, 99 Foo 2099", "\x1b[2J", ""])
def test_a_time_to_wait_that_is_none(server: Server, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    busy = _answer(f"Retry-After: {after}", code="503 Busy", body=b"")
    _get(server.page("/net.ckpt", CONTENT, busy), retries=1)
    assert FINAL.read_bytes() == CONTENT
    assert waited == [60 if after == "9" * 40 else 0]


@pytest.mark.parametrize(("seconds", "least", "most"), [(20, 15, 20), (9999, 60, 60), (-9999, 0, 0)])
def test_a_time_to_wait_may_be_a_date(
    server: Server, seconds: int, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    busy = status(503, Retry_After=formatdate(time.time() + seconds, usegmt=True))
    _get(server.page("/net.ckpt", CONTENT, busy), retries=1)
    assert least <= waited[0] <= most


@pytest.mark.parametrize(
    "header", ["ETag: “é”", 'ETag: "\x1b[2J"', "ETag: " + "x" * 5000, "Last-Modified: früher", "Last-Modified: never"]
)
def test_a_tag_that_cannot_be_sent_back_breaks_no_later_run(server: Server, header: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 300000\r\n\r\n".encode()
    url = server.page("/net.ckpt", CONTENT, raw(answer + CONTENT[:100_000]), etag=None)
    with pytest.raises(NetworkError):
        _get(url, sha256=SHA256)
    _get(url, sha256=SHA256)
    assert FINAL.read_bytes() == CONTENT
    assert server.sent[-1] == 200_000
    assert "if-range" not in server.seen[-1].headers


@pytest.mark.parametrize("found", ["²", "5, 6", "-5", "1" * 5000, "0x10", "5e3"])
def test_a_length_that_is_none(server: Server, found: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {found}\r\n\r\n".encode()
    _refused(server.page("/net.ckpt", b"", raw(answer + CONTENT)), "net.ckpt")


@pytest.mark.parametrize(
    "found",
    ["", "nonsense", "bytes 100000-299999", "bytes ²-299999/300000", "bytes 100000-5/300000", "bytes 100000-9/*",
     "bytes 100000-300000/300000", "bytes 1-299999/300000", "bytes 100000-299999/" + "9" * 5000, "\x1b[2J"],
)  # fmt: skip
def test_a_range_that_is_none(server: Server, found: str) -> None:
    part = _answer(f"Content-Range: {found}", code="206 Partial Content", body=CONTENT[100_000:])
    url = server.page("/net.ckpt", CONTENT, truncate(100_000), part)
    _get(url, sha256=SHA256, retries=1)
    assert FINAL.read_bytes() == CONTENT


def test_a_part_of_an_unknown_whole_is_not_taken_for_the_rest(server: Server) -> None:
    whole = raw(b'HTTP/1.1 200 OK\r\nETag: "one"\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n' + CONTENT[:100_000])
    part = _answer(
        'ETag: "one"', "Content-Range: bytes 100000-149999/*", code="206 Part", body=CONTENT[100_000:150_000]
    )
    _get(server.page("/net.ckpt", CONTENT, whole, part), retries=1)
    assert FINAL.read_bytes() == CONTENT


@pytest.mark.parametrize("where", ["http://a..b/x", "http://[::1", "ftp://x/y", "http://" + "a" * 70 + ".x/", "\x7f"])
def test_a_redirection_to_nowhere(server: Server, where: str) -> None:
    answer = _answer(f"Location: {where}", code="302 Found", body=b"")
    _refused(server.page("/net.ckpt", b"", answer), "net.ckpt")


def test_what_a_server_says_moves_no_cursor(server: Server) -> None:
    url = server.page("/net.ckpt", b"", _answer("Content-Encoding: \x1b[2J", code="200 \x1b[31mOK"))
    with pytest.raises(NetworkError) as error:
        _get(url)
    assert "\x1b" not in str(error.value)
    url = server.page("/other.ckpt", b"", _answer(code="418 \x1b[31mtea"))
    with pytest.raises(NetworkError, match="tea") as error:
        _get(url)
    assert "\x1b" not in str(error.value)
