"""Which hosts are asked through a proxy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from amctq.download.no_proxy import is_exempt, unusable
from tests.command import amctq_here
from tests.server import Server

CONTENT = b"content of a checkpoint"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "exempt"),
    [
        ("*", "example.com", 80, True),
        ("a.com, *", "example.com", 80, True),
        ("", "example.com", 80, False),
        ("example.com", "example.com", 80, True),
        ("example.com", "www.EXAMPLE.com", 80, True),
        ("example.com", "wwwexample.com", 80, False),
        (".example.com", "www.example.com", 80, True),
        ("*.example.com", "www.example.com", 80, True),
        ("a.com;b.com c.com", "c.com", 80, True),
        ("example.com:8080", "example.com", 8080, True),
        ("example.com:8080", "example.com", 80, False),
        ("https://example.com", "example.com", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.9.9.9/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 80, True),
        ("10.0.0.0/8", "ten.example.com", 80, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1:81", "127.0.0.1", 80, False),
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("fd00::/8", "fd12::1", 80, True),
        ("fd00::/8", "fe80::1", 80, False),
        ("fd00::/8", "10.0.0.1", 80, False),
        ("[fd00::]/8", "fd12::1", 80, True),
        ("::1", "::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:80", "0:0:0:0:0:0:0:1", 80, True),
        ("[::1]:81", "::1", 80, False),
        ("10.*", "10.1.2.3", 80, True),
        ("10.*", "110.1.2.3", 80, False),
        ("192.168.*.*:8080", "192.168.0.9", 8080, True),
        ("192.168.*.*:8080", "192.168.0.9", 80, False),
        ("mirror*.example.com", "mirror2.example.com", 443, True),
        ("mirror*.example.com", "example.com", 443, False),
        ("10.0.0.0/99", "10.1.2.3", 80, False),
        ("[, ::::, /, :, ...,é", "example.com", 80, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, exempt: bool) -> None:
    assert is_exempt(host, port, no_proxy) is exempt


def test_what_exempts_no_host_is_said(server: Server) -> None:
    assert unusable("10.0.0.0/8,fd00::/8,[fd00::]/8,a.com,https://a.com/,10.0.0.0/99,x/8") == ["10.0.0.0/99", "x/8"]
    url = server.page("/net.ckpt", CONTENT)
    env = {"NO_PROXY": "10.0.0.0/99", "HTTP_PROXY": server.url}
    assert "NO_PROXY: 10.0.0.0/99 is no network" in amctq_here("fetch-model", "--url", url, env=env).stderr


@pytest.mark.parametrize("entry", ["fd00::/8", "[fd00::/8", "10.0.0.0/8", "é.com", "::::", "http://[", "a b", "%"])
def test_no_entry_of_no_proxy_ends_a_download(server: Server, entry: str) -> None:
    url = server.page("/net.ckpt", CONTENT)
    for more in ({}, {"HTTP_PROXY": server.url}):
        done = amctq_here("fetch-model", "--url", url, "--sha256", SHA256, "--force", env={"NO_PROXY": entry, **more})
        assert done.code == 0, done.stderr
        Path("model/net.ckpt").unlink()


def test_a_network_is_asked_directly(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT)
    env = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "fd00::/8,127.0.0.0/8"}
    done = amctq_here("fetch-model", "--url", url, "--sha256", SHA256, "--retries", "0", env=env)
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("form", ["http://user:p4ss@{}", "user:p4ss@{}"])
def test_the_password_of_a_proxy_is_sent_and_not_shown(server: Server, form: str) -> None:
    url = server.page("/net.ckpt", CONTENT).replace("127.0.0.1", "nowhere.invalid")
    env = {"HTTP_PROXY": form.format(server.url.removeprefix("http://"))}
    done = amctq_here("fetch-model", "--url", url, "--sha256", SHA256, "--verbose", env=env)
    assert done.code == 0, done.stderr
    assert server.seen[0].headers["proxy-authorization"] == "Basic dXNlcjpwNHNz"
    assert "p4ss" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "proxy", ["nonsense://u:p4ss@x", "http://u:p4ss@x:p4ss", "http://u:p4/ss@x", "u:p4ss@[", "x:y"]
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_proxy_that_is_none(server: Server, proxy: str, more: list[str]) -> None:
    url = server.page("/net.ckpt", CONTENT)
    done = amctq_here("fetch-model", "--url", url, "--verbose", *more, env={"HTTP_PROXY": proxy})
    assert done.code == 2
    assert "HTTP_PROXY cannot be used" in done.stderr
    assert "p4" not in done.stderr + done.stdout
