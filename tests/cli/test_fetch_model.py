"""``amctq fetch-model`` against a real server: what is said, kept and refused. How a file is got: tests/download."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from amctq.networks.published import CHECKPOINTS, DEFINITIONS
from tests.command import AMCTQ, Finished, amctq, amctq_here, on_a_terminal
from tests.server import (
    Server,
    compressed,
    hold,
    hold_before_answering,
    redirect,
    status,
    truncate,
)

CONTENT = random.Random(5).randbytes(300_000)
OTHER = random.Random(6).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FINAL = Path("model/net.ckpt")
PARTIAL = Path("model/.net.ckpt.partial")
QUICK = ("--retry-delay", "0", "--timeout", "5")


def _fetch(*arguments: object, env: dict[str, str] | None = None) -> Finished:
    return amctq_here("fetch-model", *QUICK, *arguments, env=env)


def _fetch_as_a_command(*arguments: object, env: dict[str, str] | None = None) -> Finished:
    """The same in a process of its own, one for each exit code."""
    return amctq("fetch-model", *QUICK, *arguments, env=env)


def _only(*names: str) -> bool:
    return sorted(path.name for path in Path("model").iterdir()) == sorted(names)


# One file, from one address


def test_a_pointer_of_git_lfs_is_not_the_file(server: Server) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 300000\n"
    url = server.page("/net.ckpt", pointer)
    done = _fetch("--url", url)
    assert done.code == 5
    assert f"it is a pointer of git-lfs, of {len(pointer)} bytes" in done.stderr
    Path("net.ckpt").write_bytes(pointer)
    done = _fetch("--from-file", "net.ckpt", "--allow-unverified")
    assert done.code == 3
    assert "--from-file net.ckpt is a pointer of git-lfs, expected the file itself (300000 bytes)" in done.stderr
    assert not FINAL.exists()


def test_a_file_is_fetched_and_described(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT)
    done = _fetch_as_a_command("--url", url, "--sha256", SHA256.upper(), "--json")
    assert done.code == 0, done.stderr
    envelope = done.envelope
    assert envelope["artifacts"] == [{"path": str(FINAL), "bytes": len(CONTENT), "sha256": SHA256}]
    (file,) = envelope["data"]["files"]
    assert (file["verified"], file["kept"], file["transferred_bytes"]) == ("given", False, len(CONTENT))
    assert FINAL.read_bytes() == CONTENT
    assert _only("net.ckpt")

    again = _fetch("--url", url, "--sha256", SHA256)
    assert again.code == 0
    assert "already there" in again.stdout
    assert len(server.seen) == 1


def test_a_later_run_goes_on_where_an_earlier_one_stopped(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, truncate(60_000), truncate(60_000), status(503))
    first = _fetch("--url", url, "--retries", "2")
    assert first.code == 6
    assert "503" in first.stderr
    assert "120,000 of 300,000 bytes of net.ckpt are kept" in first.stderr
    assert not FINAL.exists()
    second = _fetch("--url", url, "--retries", "0")
    assert second.code == 0, second.stderr
    assert FINAL.read_bytes() == CONTENT
    assert server.sent == [60_000, 60_000, 0, 180_000]
    assert _only("net.ckpt", "fetched.sha256")


def test_mirrors_are_tried_in_order_and_share_what_was_received(server: Server) -> None:
    first = server.page("/one/net.ckpt", CONTENT, truncate(100_000), *[status(502)] * 9)
    gone = server.url + "/two/net.ckpt"
    third = server.page("/three/net.ckpt", CONTENT)
    done = _fetch("--url", first, "--url", gone, "--url", third, "--sha256", SHA256, "--retries", "1", "--json")
    assert done.code == 0, done.stderr
    assert done.envelope["data"]["files"][0]["url"] == third
    assert [seen.path for seen in server.seen] == ["/one/net.ckpt"] * 2 + ["/two/net.ckpt", "/three/net.ckpt"]
    assert server.sent[-1] == 200_000


# What passes, and what does not


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_what_cannot_pass_is_not_tried_again(server: Server, code: int) -> None:
    url = server.page("/net.ckpt", CONTENT, *[status(code)] * 3)
    done = _fetch("--url", url, "--json")
    assert (done.code, len(server.seen)) == (6, 1)
    (error,) = done.envelope["errors"]
    assert error["code"] == "network"
    assert str(code) in error["message"]
    assert url in error["message"]
    assert not Path("model").exists(), "a run that got nothing leaves no folder"


@pytest.mark.parametrize(
    ("code", "before", "after", "says"),
    [
        (401, "", "", "put user and password into the address"),
        (403, "", "", "put user and password into the address"),
        (401, "me:secret@", "", "check the user and the password in the address"),
        (403, "", "?token=secret", "check the token in the address"),
        (407, "", "", "the proxy needs a login"),
    ],
)
def test_who_is_not_let_in_is_told_to_log_in(server: Server, code: int, before: str, after: str, says: str) -> None:
    url = server.page("/net.ckpt", CONTENT, *[status(code)] * 3)
    done = _fetch("--url", url.replace("://", f"://{before}") + after, "--json")
    assert done.code == 6
    (error,) = done.envelope["errors"]
    assert says in error["hint"]
    assert "HTTPS_PROXY, or set" not in error["hint"]
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(("code", "says"), [(407, "the proxy needs a login"), (403, "check HTTP_PROXY")])
def test_a_proxy_that_lets_nobody_through(server: Server, code: int, says: str) -> None:
    server.tunnels, server.refuses = False, code
    done = _fetch("--url", "https://far.example/net.ckpt", "--json", env={"HTTPS_PROXY": server.url, "NO_PROXY": ""})
    assert done.code == 6
    assert says in done.envelope["errors"][0]["hint"]


def test_an_empty_file_is_none(server: Server) -> None:
    done = _fetch("--url", server.page("/net.ckpt", b""))
    assert done.code == 5
    assert "the file is empty" in done.stderr
    assert not Path("model").exists()


def test_what_is_not_sent_as_it_is_asked_for(server: Server) -> None:
    done = _fetch("--url", server.page("/resnet.py", CONTENT, compressed))
    assert done.code == 6
    assert "compressed (gzip)" in done.stderr
    assert not Path("model").exists()
    archive = server.page("/net.tar.gz", CONTENT, compressed)  # of a .gz file, some servers say so as well
    assert _fetch("--url", archive).code == 0


def test_nobody_answers() -> None:
    done = _fetch_as_a_command(
        "--url", "http://127.0.0.1:9/net.ckpt", "--url", "http://127.0.0.1:9/other.ckpt", "--retries", "1"
    )
    assert done.code == 6
    assert "other.ckpt" not in done.stderr, "the same host is not asked for the rest"
    assert "AMCTQ_MIRROR" in done.stderr
    assert not Path("model").exists()


# Sums


def test_a_wrong_sum_leaves_nothing(server: Server) -> None:
    url = server.page("/net.ckpt", OTHER)
    done = _fetch_as_a_command("--url", url, "--sha256", SHA256)
    assert done.code == 5
    assert hashlib.sha256(OTHER).hexdigest() in done.stderr
    assert SHA256 in done.stderr
    assert not Path("model").exists()
    assert len(server.seen) == 1


def test_a_published_name_is_checked_by_its_published_sum(server: Server) -> None:
    source = CHECKPOINTS["resnet50", "cifar10"]
    name = source.urls[0].rpartition("/")[2]
    server.page(f"/mirror/{name}", CONTENT)
    done = _fetch("--url", f"{server.url}/mirror/{name}")
    assert done.code == 5
    assert str(source.sha256) in done.stderr


def test_an_unpublished_sum_is_kept_and_checked_next_time(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT)
    done = _fetch("resnet20", "--url", url, "--json")
    assert done.code == 0, done.stderr
    assert "unverified" in done.stderr
    assert done.envelope["data"]["files"][0]["verified"] is None
    assert subprocess.run(["sha256sum", "-c", "fetched.sha256"], cwd="model", check=True, capture_output=True)
    assert _fetch("resnet20", "--url", url, "--json").envelope["data"]["files"][0]["verified"] == "pinned"
    assert len(server.seen) == 1

    FINAL.unlink()
    server.page("/net.ckpt", OTHER)
    changed = _fetch("resnet20", "--url", url)
    assert changed.code == 5
    assert SHA256 in changed.stderr
    assert not FINAL.exists()
    accepted = _fetch("resnet20", "--url", url, "--force")
    assert accepted.code == 0
    assert FINAL.read_bytes() == OTHER
    assert _fetch("resnet20", "--url", url).code == 0


@pytest.mark.parametrize("more", [["--sha256", SHA256], []], ids=["wrong", "unknown"])
def test_a_file_of_the_users_own_is_not_replaced(server: Server, more: list[str]) -> None:
    url = server.page("/net.ckpt", CONTENT)
    FINAL.parent.mkdir()
    FINAL.write_bytes(b"mine")
    done = _fetch_as_a_command("--url", url, *more)
    assert done.code == 2
    assert "--force" in done.stderr
    assert FINAL.read_bytes() == b"mine"
    assert server.seen == []
    assert _fetch("--url", url, *more, "--force").code == 0
    assert FINAL.read_bytes() == CONTENT


def test_a_damaged_list_of_sums_is_bad_input(server: Server) -> None:
    Path("model").mkdir()
    Path("model/fetched.sha256").write_text("nonsense\n")
    done = _fetch_as_a_command("--url", server.page("/net.ckpt", CONTENT))
    assert done.code == 3
    assert "line 1" in done.stderr


# By hand


def test_a_file_brought_by_hand() -> None:
    given = Path("正在 下载.ckpt")
    given.write_bytes(CONTENT)
    done = _fetch_as_a_command("--from-file", given, "--sha256", SHA256, "--json", env={"LANG": "C", "LC_ALL": "C"})
    assert done.code == 0, done.stderr
    assert (Path("model") / given).read_bytes() == CONTENT
    assert done.envelope["data"]["files"][0]["transferred_bytes"] == 0


def test_a_file_brought_by_hand_is_checked_by_the_published_sum() -> None:
    Path("net.ckpt").write_bytes(CONTENT)
    done = _fetch("--from-file", "net.ckpt")
    assert done.code == 5
    assert str(CHECKPOINTS["resnet50", "cifar10"].sha256) in done.stderr
    assert not Path("model").exists()


@pytest.mark.parametrize(("name", "found"), [("none", "no such file"), (".", "a folder"), ("empty", "empty")])
def test_a_file_that_is_none_is_bad_input(name: str, found: str) -> None:
    Path("empty").touch()
    done = _fetch("--from-file", name)
    assert done.code == 3
    assert found in done.stderr
    assert not Path("model").exists()


# The sample's files, and mirrors


def test_the_samples_four_files_from_a_mirror(server: Server) -> None:
    for name in DEFINITIONS:
        server.page(f"/m/{name}", name.encode() * 100)
    done = _fetch("--what", "definition", "--json", env={"AMCTQ_MIRROR": f"{server.url}/m/"})
    assert done.code == 0, done.stderr
    assert [Path(item["path"]).name for item in done.envelope["artifacts"]] == list(DEFINITIONS)
    assert all(file["verified"] is None for file in done.envelope["data"]["files"])
    assert done.stderr.count("unverified") == 4
    again = _fetch("--what", "definition", "--json", env={"AMCTQ_MIRROR": f"{server.url}/m/"})
    assert [file["verified"] for file in again.envelope["data"]["files"]] == ["pinned"] * 4
    assert len(server.seen) == 4


def test_what_was_right_stays_when_a_later_file_fails(server: Server) -> None:
    server.page("/m/resnet.py", b"first")
    env = {"AMCTQ_MIRROR": f"{server.url}/m", "HTTPS_PROXY": "http://127.0.0.1:9", "AMCTQ_RETRIES": "0"}
    done = _fetch("--what", "definition", env=env)
    assert done.code == 6
    assert Path("model/resnet.py").read_bytes() == b"first"


# TLS and proxies


def test_a_certificate_that_is_not_trusted(tls_server: Server) -> None:
    url = tls_server.page("/net.ckpt", CONTENT)
    done = _fetch("--url", url, "--sha256", SHA256)
    assert done.code == 6
    assert "certificate" in done.stderr
    assert "SSL_CERT_FILE" in done.stderr
    assert "warning" not in done.stderr, "it is not tried again"


def test_a_certificate_that_the_environment_trusts(tls_server: Server, certificate: Path) -> None:
    url = tls_server.page("/net.ckpt", CONTENT)
    done = _fetch("--url", url, "--sha256", SHA256, env={"SSL_CERT_FILE": str(certificate)})
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("spelling", ["--insecure", "--close_certificate_verify"])
def test_no_certificate_check_is_safe_with_a_sum(tls_server: Server, spelling: str) -> None:
    url = tls_server.page("/net.ckpt", CONTENT)
    done = _fetch("--url", url, "--sha256", SHA256, spelling)
    assert done.code == 0, done.stderr
    assert "NOT checked" in done.stderr


def test_no_certificate_check_needs_a_sum_or_consent(tls_server: Server) -> None:
    url = tls_server.page("/net.ckpt", CONTENT)
    done = _fetch("--url", url, "--insecure")
    assert done.code == 2
    assert "--allow-unverified" in done.stderr
    assert tls_server.seen == []
    assert _fetch("--url", url, "--insecure", "--allow-unverified").code == 0


def test_no_certificate_check_for_the_samples_files(tls_server: Server) -> None:
    for name in DEFINITIONS:
        tls_server.page(f"/{name}", b"text")
    done = _fetch("--what", "definition", "--insecure", "--mirror", tls_server.url)
    assert done.code == 0, done.stderr
    assert "unverified" in done.stderr


def test_tls_is_not_given_up_on_the_way(tls_server: Server, server: Server, certificate: Path) -> None:
    plain = server.page("/net.ckpt", CONTENT)
    url = tls_server.page("/net.ckpt", b"", redirect(plain), redirect(plain))
    env = {"SSL_CERT_FILE": str(certificate)}
    done = _fetch("--url", url, env=env)
    assert done.code == 6
    assert "without TLS" in done.stderr
    assert _fetch("--url", url, "--sha256", SHA256, env=env).code == 0


def test_no_hop_may_be_without_tls(tls_server: Server, server: Server, certificate: Path) -> None:
    real = tls_server.page("/real.ckpt", CONTENT)
    plain = server.page("/net.ckpt", b"", redirect(real))
    url = tls_server.page("/net.ckpt", b"", redirect(plain), redirect(plain))
    env = {"SSL_CERT_FILE": str(certificate)}
    done = _fetch("--url", url, env=env)
    assert done.code == 6
    assert "without TLS" in done.stderr
    assert server.seen == [], "nothing is asked in the open"
    assert _fetch("--url", url, "--sha256", SHA256, env=env).code == 0


def test_a_proxy_is_used(server: Server) -> None:
    server.page("/net.ckpt", CONTENT)
    url = "http://nowhere.invalid/net.ckpt"
    done = _fetch("--url", url, "--sha256", SHA256, env={"HTTP_PROXY": server.url})
    assert done.code == 0, done.stderr
    assert _fetch("--url", url, "--sha256", SHA256, "--output-dir", "b", env={"HTTP_PROXY": "nonsense://x"}).code == 2


def test_a_proxy_passes_tls_on(tls_server: Server, server: Server, certificate: Path) -> None:
    url = tls_server.page("/net.ckpt", CONTENT)
    env = {"HTTPS_PROXY": server.url, "SSL_CERT_FILE": str(certificate)}
    assert _fetch("--url", url, env={**env, "NO_PROXY": "127.0.0.1"}).code == 0
    assert server.seen == []
    assert _fetch("--url", url, "--output-dir", "b", env=env).code == 0
    assert [seen.path for seen in server.seen] == [f"127.0.0.1:{tls_server.server_port}"]
    server.tunnels = False
    done = _fetch("--url", url, "--output-dir", "c", env=env)
    assert done.code == 6
    assert "the proxy refuses" in done.stderr
    assert "NO_PROXY" in done.stderr
    assert len(server.seen) == 2, "it is not tried again"


# Watched


def test_bytes_rate_and_time_left_are_shown(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, hold(200_000))

    def release() -> None:
        server.holding.wait(60)  # until then the command is still starting
        server.released.wait(1.5)
        server.released.set()

    thread = threading.Thread(target=release)
    thread.start()
    shown = on_a_terminal("fetch-model", "--url", url, "--sha256", SHA256)
    thread.join()
    assert re.search(r"net\.ckpt .*\d/300\.0 kB .*[kM]B/s .*0:00:\d\d", shown), shown


# Stopped


def _start(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [AMCTQ, "fetch-model", *map(str, (*QUICK, "--timeout", 20, *arguments))]
    environment = {**os.environ, **(env or {})}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=["ctrl-c", "term", "kill"],
)
def test_a_stopped_download_goes_on(server: Server, number: signal.Signals, code: int) -> None:
    url = server.page("/net.ckpt", CONTENT, hold(200_000))
    with _start("--url", url, "--sha256", SHA256) as process:
        assert server.holding.wait(30)
        _wait_for(PARTIAL)
        second = _fetch("--url", url, "--sha256", SHA256)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    assert (second.code, "another amctq run" in second.stderr) == (2, True)
    assert process.returncode == code
    assert not FINAL.exists()
    received = PARTIAL.stat().st_size
    if code > 0:
        assert f"{received:,} of 300,000 bytes of net.ckpt are kept: the same command resumes" in stderr.decode()
    assert _fetch("--url", url, "--sha256", SHA256).code == 0
    assert FINAL.read_bytes() == CONTENT
    assert server.sent[1] == len(CONTENT) - received
    assert _only("net.ckpt")


def _wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        signal.sigtimedwait([], 0.05)
    pytest.fail(f"{path} does not appear")


def test_stopped_before_a_byte_came(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT, hold_before_answering)
    with _start("--url", url) as process:
        assert server.holding.wait(30)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.decode().splitlines()[-1] == "error: interrupted; nothing was written"
    assert not Path("model").exists()


@pytest.mark.parametrize(
    "place",
    ["Partial._remember", "Partial.begin", "Partial.append", "put_in_place", "forget_partial", "write_pins"],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_the_same_command_finishes(server: Server, tmp_path: Path, place: str, when: str) -> None:
    """Killed at its first arrival at one step of the way, planted from outside."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "import amctq.download.partial as partial, amctq.services.fetch_model as service\n"
        "def planted(owner, name):\n"
        "    own = getattr(owner, name)\n"
        "    def killing(*arguments):\n"
        f"        result = own(*arguments) if {when!r} == 'after' else None\n"
        "        for stream in [getattr(arguments[0], '_stream', None)]:\n"
        "            stream and stream.flush()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    setattr(owner, name, killing)\n"
        f"place = {place!r}\n"
        "owner = partial.Partial if '.' in place else service if place == 'write_pins' else partial\n"
        "planted(owner, place.rpartition('.')[2])\n"
    )
    url = server.page("/net.ckpt", CONTENT)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with _start("resnet20", "--url", url, env={"PYTHONPATH": path}) as process:
        process.communicate(timeout=60)
    assert process.returncode == -9
    assert not FINAL.exists() or FINAL.read_bytes() == CONTENT
    done = _fetch("resnet20", "--url", url)
    assert done.code == 0, done.stderr
    assert FINAL.read_bytes() == CONTENT
    assert _only("net.ckpt", "fetched.sha256")


# Contradictions


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["vgg"], "vgg"),
        (["resnet20"], "no checkpoint of resnet20"),
        (["--url", "ftp://x/y"], "https://"),
        (["--url", "http://x/"], "name of a file"),
        (["--url", "http://x/fetched.sha256"], "twice"),
        (["--sha256", "12"], "64 hexadecimal"),
        (["--what", "definition", "--sha256", SHA256], "--what definition"),
        (["--url", "http://x/y", "--from-file", "y"], "contradict"),
        (["--mirror", "here"], "--mirror here"),
        (["--retries", "-1"], "--retries"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value)[:24],
)
def test_usage(arguments: list[str], told: str) -> None:
    done = _fetch(*arguments)
    assert done.code == 2
    assert told in done.stderr
    assert "hint: " in done.stderr
    assert not Path("model").exists()


def test_every_option_can_be_set_in_the_environment(server: Server) -> None:
    url = server.page("/net.ckpt", CONTENT)
    env = {"AMCTQ_URL": url, "AMCTQ_SHA256": SHA256, "AMCTQ_OUTPUT_DIR": "elsewhere", "AMCTQ_MODEL": "resnet20"}
    done = _fetch("--json", env=env)
    assert done.code == 0, done.stderr
    assert done.envelope["data"]["model"] == "resnet20"
    assert Path("elsewhere/net.ckpt").read_bytes() == CONTENT


def test_memory_does_not_grow_with_the_file(server: Server) -> None:
    """Relation of two sizes: 16 MiB more to transfer, and not 8 MiB more in memory."""
    peaks = []
    for name, size in (("small", 1 << 16), ("large", 16 << 20)):
        url = server.page(f"/{name}", bytes(size))
        code = (
            "import resource, sys, amctq; from pathlib import Path\n"
            f"amctq.fetch_model(amctq.FetchModelRequest(model='resnet20', url=({url!r},), output_dir=Path({name!r})))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        peaks.append(int(done.stdout) << 10)
    assert peaks[1] - peaks[0] < 8 << 20
    assert server.sent == [1 << 16, 16 << 20]
