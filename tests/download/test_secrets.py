"""What may be secret in an address is sent to its server, and stands nowhere else."""

from __future__ import annotations

import base64
import hashlib
import random
from pathlib import Path

import pytest

import amctq
from amctq.download.address import checked_url, masked, shown
from amctq.errors import UsageError
from amctq.networks.published import DEFINITIONS
from tests.command import Finished, amctq_here
from tests.server import Behaviour, Server, compressed, login_page, redirect, status, truncate

CONTENT = random.Random(5).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SECRETS = ("us3r", "p4ss", "p4@", "t0ken", base64.b64encode(b"us3r:p4ss@w").decode())
QUICK = ("--retry-delay", "0", "--timeout", "5", "--retries", "1", "--verbose")


def _with_secrets(url: str) -> str:
    return url.replace("://", "://us3r:p4ss%40w@") + "?sig=t0ken&x=1"


def _tells_nothing(done: Finished) -> None:
    texts = [done.stdout, done.stderr, *(path.read_text(errors="replace") for path in _files())]
    assert not [(secret, text) for text in texts for secret in SECRETS if secret in text]


def _files() -> list[Path]:
    return [path for path in Path.cwd().rglob("*") if path.is_file() and path.name != "net.ckpt"]


@pytest.mark.parametrize("json", [["--json"], []], ids=["json", "text"])
@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ([], 0),
        ([truncate(100_000)], 0),
        ([truncate(100_000)] * 2, 6),
        ([status(503)] * 2, 6),
        ([status(404)], 6),
        ([login_page], 6),
        ([compressed], 6),
        ([redirect("http://us3r:p4ss@127.0.0.1:9/x?t0ken")], 6),
        ([redirect("http://us3r:p4ss@[/x?t0ken")] * 2, 6),
        ([redirect("ftp://us3r:p4ss@x/x?t0ken")], 6),
    ],
)
def test_an_address_with_secrets(server: Server, faults: list[Behaviour], code: int, json: list[str]) -> None:
    url = _with_secrets(server.page("/net.ckpt", CONTENT, *faults))
    done = amctq_here("fetch-model", "--url", url, "--url", url + "2", *QUICK, "--retries", "0", *json)
    if code and len(faults) > 1:
        assert done.code in {0, code}
    _tells_nothing(done)
    assert server.seen[0].headers["authorization"] == f"Basic {base64.b64encode(b'us3r:p4ss@w').decode()}"
    assert done.code in {0, 6}, done.stderr


def test_a_download_with_secrets_goes_on_in_a_later_run(server: Server) -> None:
    url = _with_secrets(server.page("/net.ckpt", CONTENT, truncate(100_000)))
    first = amctq_here("fetch-model", "--url", url, *QUICK, "--retries", "0", "--json")
    assert first.code == 6
    assert f"{server.url}/net.ckpt?…" in first.envelope["errors"][0]["message"]
    assert Path("model/.net.ckpt.partial.json").exists()
    _tells_nothing(first)
    second = amctq_here("fetch-model", "--url", url, *QUICK, "--json")
    assert second.code == 0, second.stderr
    assert second.data["files"][0]["url"] == f"{server.url}/net.ckpt?…"
    assert server.sent == [100_000, 200_000]
    _tells_nothing(second)


def test_a_mirror_with_secrets(server: Server) -> None:
    for name in DEFINITIONS:
        server.page(f"/m/{name}", b"text")
    env = {"AMCTQ_MIRROR": _with_secrets(f"{server.url}/m/")}
    done = amctq_here("fetch-model", "--what", "definition", *QUICK, "--json", env=env)
    assert done.code == 0, done.stderr
    assert [file["url"] for file in done.data["files"]] == [f"{server.url}/m/{name}?…" for name in DEFINITIONS]
    _tells_nothing(done)


def test_a_login_goes_to_no_other_server(server: Server) -> None:
    other = server.page("/real", CONTENT).replace("127.0.0.1", "localhost")
    url = _with_secrets(server.page("/net.ckpt", b"", redirect(other)))
    assert amctq_here("fetch-model", "--url", url, "--sha256", SHA256).code == 0
    assert ["authorization" in seen.headers for seen in server.seen] == [True, False]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "https://us3r:p4ss@/net.ckpt?t0ken"],
        ["--url", "https://us3r:p4@ss@host:port/net.ckpt?t0ken"],
        ["--url", "https://us3r:p4/ss@host/net.ckpt?t0ken"],
        ["--url", "https://us3r:12/p4ss@host/?t0ken"],
        ["--url", "https://us3r:p4?ss@host/net.ckpt"],
        ["--url", "https://us3r:p4#ss@host/net.ckpt"],
        ["--url", "us3r:p4ss@host/net.ckpt?t0ken"],
        ["--url", "ftp://us3r:p4ss@host/net.ckpt?t0ken"],
        ["--url", "https://us3r:p4ss@host/?t0ken"],
        ["--url", "https://us3r:p4ss@[::1/net.ckpt?t0ken"],
        ["--mirror", "ftp://us3r:p4ss@host/?t0ken"],
        ["https://us3r:p4ss@host/net.ckpt?t0ken"],
        ["resnet50", "https://us3r:p4ss@host/net.ckpt?t0ken"],
        ["--bogus=https://us3r:p4ss@host/net.ckpt?t0ken"],
    ],
)
@pytest.mark.parametrize("json", [["--json"], []], ids=["json", "text"])
def test_a_refused_address_with_secrets(arguments: list[str], json: list[str]) -> None:
    done = amctq_here("fetch-model", "--verbose", *json, *arguments)
    assert done.code == 2
    _tells_nothing(done)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://host/a/b.ckpt", "https://host/a/b.ckpt"),
        ("https://host:80/a@1.ckpt", "…@1.ckpt"),
        ("https://host/a@1.ckpt", "https://host/a@1.ckpt"),
        ("https://u@host/a?b=c#d", "https://host/a?…"),
        ("http://u:p@[::1]:80/a", "http://[::1]:80/a"),
        ("host/a", "host/a"),
        ("https://host:80/a?to=x@y&key=t", "…"),
    ],
)
def test_shown(url: str, seen: str) -> None:
    assert shown(url) == seen


def test_masked() -> None:
    text = "bad 'https://u:p@host/a?b=c' and http://host/x?y=z, but not a? b@c"
    assert masked(text) == "bad 'https://…@host/a?…' and http://host/x?… but not a? b@c"
    assert masked("https://host/x#access_token=p4ss, and more") == "https://host/x#… and more"


def test_an_address_that_no_client_can_ask_is_a_usage_error() -> None:
    for url in (
        "http://ex ample/a",
        "http://\x7f/a",
        "http://host:99999/a",
        "http://host:0/a",
        "http://\udcff/a",
        "http://a..b/",
    ):
        with pytest.raises(UsageError):
            checked_url(url, option="--url")


def test_a_request_does_not_show_its_addresses() -> None:
    address = "https://us3r:p4ss@host/net.ckpt?t0ken"
    fetch = amctq.FetchModelRequest(url=(address,), mirror=(address,))
    prepare = amctq.PrepareCifarRequest(url=address, mirror=(address,))
    assert not [secret for secret in SECRETS if secret in repr(fetch) + repr(prepare)]
