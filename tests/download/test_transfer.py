"""How a file is got from a real server that truncates, stalls, resets, redirects and lies."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from amctq.download.source import Downloaded, Source, TransferOptions
from amctq.download.transfer import download
from amctq.errors import CheckError, NetworkError
from amctq.progress import Event, Notice, Reporter
from tests.server import Behaviour, Server, hold, login_page, redirect, reset, status, truncate, without_length

CONTENT = random.Random(5).randbytes(300_000)
OTHER = random.Random(6).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FINAL, PARTIAL = Path("net.ckpt"), Path(".net.ckpt.partial")


@dataclass
class Told:
    """Notices of a download."""

    lines: list[str] = field(default_factory=list)

    def event(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.lines.append(event.text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def _get(
    *urls: str, sha256: str | None = SHA256, retries: int = 3, timeout: float = 5, told: Told | None = None
) -> Downloaded:
    options = TransferOptions(retries=retries, timeout=timeout, retry_delay=0)
    reporter = Reporter((told or Told()).event)
    return download(Source(urls=urls, sha256=sha256), FINAL, options=options, reporter=reporter)


@pytest.mark.parametrize("fault", [truncate(100_000), reset(100_000), hold(100_000)], ids=["cut", "reset", "stall"])
def test_only_what_is_missing_is_sent_again(server: Server, fault: Behaviour) -> None:
    told = Told()
    _get(server.page("/net.ckpt", CONTENT, fault), timeout=1, told=told)
    assert FINAL.read_bytes() == CONTENT
    assert server.sent[:2] == [100_000, 200_000]
    assert server.seen[1].headers["range"] == "bytes=100000-"
    assert server.seen[1].headers["if-range"] == '"one"'
    assert "net.ckpt: " in told.text


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["sum", "no-sum"])
@pytest.mark.parametrize(
    "settings",
    [{"ranges": False}, {"etag": None, "ranges": False}, {"etag": '"two"'}, {"etag": '"two"', "if_range": False}],
    ids=["ignores-range", "says-nothing", "changed", "changed-but-sends-the-rest"],
)
def test_it_starts_over_where_it_cannot_go_on(server: Server, settings: dict[str, object], sha256: str | None) -> None:
    url = server.page("/net.ckpt", OTHER, truncate(100_000))
    with pytest.raises(NetworkError):
        _get(url, sha256=sha256, retries=0)
    server.page("/net.ckpt", CONTENT, **settings)
    _get(url, sha256=sha256, retries=0)
    assert FINAL.read_bytes() == CONTENT


def test_without_a_sum_and_a_validator_nothing_is_pieced_together(server: Server) -> None:
    url = server.page("/net.ckpt", OTHER, truncate(100_000), etag=None)
    with pytest.raises(NetworkError):
        _get(url, sha256=None, retries=0)
    server.page("/net.ckpt", CONTENT, etag=None)
    _get(url, sha256=None, retries=0)
    assert FINAL.read_bytes() == CONTENT
    assert "range" not in server.seen[-1].headers


def test_a_date_tells_too_whether_a_file_has_changed(server: Server) -> None:
    day = "Mon, 01 Jan 2024 00:00:00 GMT"
    _get(server.page("/net.ckpt", CONTENT, truncate(100_000), etag='W/"weak"', last_modified=day), sha256=None)
    assert FINAL.read_bytes() == CONTENT
    assert server.seen[1].headers["if-range"] == day
    assert server.sent == [100_000, 200_000]


def test_pieces_that_do_not_fit_are_fetched_whole(server: Server) -> None:
    """A mirror had another file of the same length: only the sum can tell."""
    bad = server.page("/mirror/net.ckpt", OTHER, truncate(100_000), *[status(503)] * 9)
    good = server.page("/net.ckpt", CONTENT)
    told = Told()
    _get(bad, good, retries=1, told=told)
    assert "starting over" in told.text
    assert FINAL.read_bytes() == CONTENT
    assert server.sent == [100_000, 0, 200_000, 300_000]


def test_what_was_transferred_is_counted_and_the_address_named(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, truncate(60_000))
    with pytest.raises(NetworkError) as error:
        _get(url, retries=0)
    assert "60,000 of 300,000 bytes of net.ckpt are kept" in str(error.value.hint)
    assert PARTIAL.stat().st_size == 60_000
    done = _get(url)
    assert (done.path, done.url, done.transferred, done.sums.sha256) == (FINAL, url, 240_000, SHA256)
    assert [path.name for path in Path.cwd().iterdir()] == ["net.ckpt"]


def test_a_server_that_is_busy_is_asked_again(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, status(503), status(429, Retry_After="1"), status(500))
    told = Told()
    _get(url, told=told)
    assert len(server.seen) == 4
    assert "try 2 of 3 in 1 s" in told.text


def test_the_number_of_tries_is_what_was_asked_for(server: Server) -> None:
    with pytest.raises(NetworkError):
        _get(server.page("/net.ckpt", CONTENT, *[status(503)] * 9), retries=2)
    assert len(server.seen) == 3


def test_a_web_page_is_no_file_and_costs_nothing_of_what_is_there(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, truncate(100_000), login_page)
    with pytest.raises(NetworkError, match="web page"):
        _get(url)
    assert PARTIAL.stat().st_size == 100_000
    _get(url)
    assert server.sent[-1] == 200_000


def test_redirections_are_followed(server: Server) -> None:
    server.page("/real", CONTENT, truncate(100_000))
    _get(server.page("/net.ckpt", b"", redirect("/real"), redirect("/real")))
    assert [seen.sent for seen in server.seen if seen.path == "/real"] == [100_000, 200_000]


def test_redirections_in_a_circle_end(server: Server) -> None:
    with pytest.raises(NetworkError, match="redirect"):
        _get(server.page("/net.ckpt", b"", *[redirect("/net.ckpt")] * 99), sha256=None)


def test_a_file_without_a_length_is_checked_by_its_sum(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, without_length(1000), without_length())
    with pytest.raises(CheckError):
        _get(url, retries=0)
    _get(url, retries=0)
    assert FINAL.read_bytes() == CONTENT


def test_a_file_that_never_ends_is_given_up(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, without_length())
    source = Source(urls=(url,), size=1000)
    with pytest.raises(CheckError, match="more than 1,000 bytes"):
        download(source, FINAL, options=TransferOptions(retries=0), reporter=Reporter())
    assert list(Path.cwd().iterdir()) == []
