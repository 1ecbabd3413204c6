"""``amctq prepare-cifar``: from an archive, good, bad or hostile, to the folders of the sample guide."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import AMCTQ, Finished, Shared, amctq, amctq_here, on_a_terminal, small_file_system
from tests.server import Server, hold, login_page, reset, status, truncate
from tests.services.archives import TRAIN, Content, content_of, header, tar

LAYOUT = {
    "cifar-10-batches-bin": sorted(["batches.meta.txt", *TRAIN, "readme.html"]),
    "cifar-10-verify-bin": ["batches.meta.txt", "readme.html", "test_batch.bin"],
}
MANIFEST = "cifar-10-manifest.json"
Run = Callable[..., Finished]


def _prepare(archive: bytes | Path, *more: str | Path, output: str | Path = "data") -> Finished:
    """Run it on an archive of one's own, with its own checksum."""
    if isinstance(archive, bytes):
        Path("own.tar.gz").write_bytes(archive)
        archive = Path("own.tar.gz")
    own = [] if "--md5" in more or "--sha256" in more else ["--md5", hashlib.md5(archive.read_bytes()).hexdigest()]
    return amctq_here("prepare-cifar", "--archive", archive, *own, "--output-dir", output, "--json", *more)


def _refused(done: Finished, code: int, *words: str) -> None:
    assert done.code == code, done.stderr
    (error,) = done.envelope["errors"]
    assert all(word in error["message"] for word in words), error["message"]
    assert error["hint"]
    assert "Traceback" not in done.stderr


def _check(root: Path, content: Content) -> None:
    """Both folders hold what the archive does, the manifest says so, and nothing else is left."""
    assert sorted(path.name for path in root.iterdir() if not path.name.endswith(".tar.gz")) == sorted(
        [*LAYOUT, MANIFEST]
    )
    manifest = json.loads((root / MANIFEST).read_text())
    for folder, names in LAYOUT.items():
        assert sorted(path.name for path in (root / folder).iterdir()) == names
        for name in names:
            data = (root / folder / name).read_bytes()
            assert data == content[name]
            entry = manifest["files"][f"{folder}/{name}"]
            assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def small(shared: Shared) -> Content:
    return content_of(shared, 100)


@pytest.fixture(scope="module")
def whole(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    content = content_of(shared)
    path = tmp_path_factory.mktemp("whole") / "cifar-10-binary.tar.gz"
    path.write_bytes(tar(content, level=0))
    return path, content


def test_the_folders_of_the_sample_guide(small: Content) -> None:
    done = _prepare(tar(small))
    assert done.code == 0, done.stderr
    _check(Path("data"), small)
    data = done.envelope["data"]
    assert (data["already_prepared"], data["synthetic"]) == (False, False)
    assert data["classes"][0] == "airplane"
    assert [sum(data["images_per_class"][role]) for role in ("train", "test")] == [500, 100]
    assert len(done.envelope["artifacts"]) == 11
    assert "has 100 images; the official one has 10,000" in done.stderr
    assert "warning: cifar-10-verify-bin has " in done.stderr, "the first 100 are not ten of each class"


def test_paths_in_chinese_with_spaces(small: Content) -> None:
    Path("我的 数据").mkdir()
    archive = Path("我的 数据/档 案.tar.gz")
    archive.write_bytes(tar(small))
    env = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    done = amctq("prepare-cifar", "--archive", archive, "--md5", md5, "--output-dir", "新 目录/data", env=env)
    assert done.code == 0, done.stderr
    _check(Path("新 目录/data"), small)


def test_what_is_right_already_is_left_alone(small: Content) -> None:
    archive = tar(small)
    _prepare(archive)
    before = {path: path.stat().st_mtime_ns for path in Path("data").rglob("*")}
    again = _prepare(archive)
    assert again.code == 0
    assert again.envelope["data"]["already_prepared"]
    assert again.envelope["artifacts"] == []
    assert {path: path.stat().st_mtime_ns for path in Path("data").rglob("*")} == before


def test_a_damaged_file_is_named_and_force_mends_it(small: Content) -> None:
    archive = tar(small)
    _prepare(archive)
    damaged = Path("data/cifar-10-batches-bin/data_batch_2.bin")
    damaged.write_bytes(bytes(len(small["data_batch_2.bin"])))
    _refused(_prepare(archive), 2, "cifar-10-batches-bin/data_batch_2.bin", "differ")
    assert _prepare(archive, "--force").code == 0
    _check(Path("data"), small)


def test_files_of_another_set_are_named_before_any_work(small: Content) -> None:
    own = Path("data/cifar-10-verify-bin/test_batch.bin")
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    _refused(_prepare(tar(small)), 2, "cifar-10-verify-bin/test_batch.bin")
    assert own.read_bytes() == b"mine"
    assert [path for path in Path("data").rglob("*") if path.is_file()] == [own]
    (own.parent / "notes.txt").touch()
    assert _prepare(tar(small), "--force").code == 0
    (own.parent / "notes.txt").unlink()  # not ours, and not deleted
    _check(Path("data"), small)


def test_what_an_interrupted_publication_has_left_is_completed(small: Content) -> None:
    archive = tar(small)
    _prepare(archive)
    for path in Path("data/cifar-10-verify-bin").iterdir():
        path.unlink()
    Path("data/cifar-10-verify-bin").rmdir()
    done = _prepare(archive)
    assert done.code == 0, done.stderr
    assert not done.envelope["data"]["already_prepared"]
    _check(Path("data"), small)


def test_a_bad_archive_through_the_command(small: Content) -> None:
    _refused(_prepare(tar(small)[:-5000]), 3, "own.tar.gz is cut short")
    _refused(_prepare(tar(small, header("../x"))), 3, "'../x'")
    assert [path.name for path in Path.cwd().iterdir()] == ["own.tar.gz"]


def test_another_checksum(small: Content) -> None:
    archive = tar(small)
    right = hashlib.sha256(archive).hexdigest()
    _refused(_prepare(archive, "--sha256", "0" * 64), 5, right, "0" * 64)
    assert not Path("data").exists()
    assert _prepare(archive, "--sha256", right.upper()).code == 0


def test_without_a_checksum_it_must_be_the_official_archive(small: Content) -> None:
    Path("own.tar.gz").write_bytes(tar(small))
    done = amctq_here("prepare-cifar", "--archive", "own.tar.gz", "--json")
    _refused(done, 5, "expected 170,052,171")


def test_a_usage_error_through_the_command() -> None:
    done = amctq("prepare-cifar", "--archive", "F", "--synthetic", "--json")
    _refused(done, 2, "--archive", "--synthetic")
    assert list(Path.cwd().iterdir()) == []


def test_no_archive_there() -> None:
    done = amctq_here("prepare-cifar", "--archive", "nowhere.tar.gz", "--json")
    _refused(done, 3, "nowhere.tar.gz", "no such file")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_an_archive_that_is_no_file(make: Callable[[str], None]) -> None:
    make("own.tar.gz")
    _refused(amctq_here("prepare-cifar", "--archive", "own.tar.gz", "--json"), 3, "expected a file")
    Path("data").mkdir()
    make("data/cifar-10-binary.tar.gz")
    _refused(amctq_here("prepare-cifar", "--json"), 2, "is not a regular file")


def test_sigterm_leaves_nothing(whole: tuple[Path, Content]) -> None:
    archive, _ = whole
    with subprocess.Popen([AMCTQ, "prepare-cifar", "--archive", archive], stderr=subprocess.DEVNULL) as process:
        while not Path("data/.amctq-partial").exists():
            time.sleep(0.01)
        process.terminate()
        assert process.wait(timeout=30) == 143
    assert list(Path.cwd().iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "disk", "1m") as place:
        yield place


def test_a_full_disk(small_disk: Path, small: Content) -> None:
    _refused(_prepare(tar(small), output=small_disk / "data"), 8, "No space left")
    assert list(small_disk.iterdir()) == []


# From an address


def _get(url: str, archive: bytes, *more: str, env: dict[str, str] | None = None, run: Run = amctq_here) -> Finished:
    right = hashlib.sha256(archive).hexdigest()
    quick = ["--retry-delay", "0", "--timeout", "1", "--json"]
    return run("prepare-cifar", "--url", url, "--sha256", right, *quick, *more, env=env)


def test_from_an_address(server: Server, small: Content) -> None:
    archive = tar(small)
    url = server.page("/c.tar.gz", archive)
    _refused(amctq_here("prepare-cifar", "--url", url, "--md5", "0" * 32, "--json"), 5, "0" * 32)
    assert not Path("data").exists()
    done = _get(url, archive)
    assert done.code == 0, done.stderr
    _check(Path("data"), small)
    assert done.envelope["artifacts"][-1]["path"] == "data/cifar-10-binary.tar.gz"
    server.pages.clear()  # what is here already is not asked for again
    Path("data", MANIFEST).unlink()
    assert _get(url, archive, "--force").code == 0
    _refused(_get(url, archive, "--output-dir", "other"), 6, "404")


def test_an_archive_comes_in_pieces_and_each_byte_once(server: Server, small: Content) -> None:
    archive = tar(small)
    url = server.page("/c.tar.gz", archive, truncate(500_000), reset(300_000), status(503), hold(200_000))
    done = _get(url, archive, "--retries", "4")
    assert done.code == 0, done.stderr
    _check(Path("data"), small)
    assert server.sent == [500_000, 300_000, 0, 200_000, len(archive) - 1_000_000]


def test_an_archive_that_changes_between_tries_is_fetched_anew(server: Server, small: Content) -> None:
    archive = tar(small)
    url = server.page("/c.tar.gz", bytes(len(archive)), truncate(500_000))
    _refused(_get(url, archive, "--retries", "0"), 6, "broke off")
    server.page("/c.tar.gz", archive, etag='"two"')
    assert _get(url, archive).code == 0
    _check(Path("data"), small)


def test_a_login_page_is_no_archive(server: Server, small: Content) -> None:
    url = server.page("/c.tar.gz", b"", login_page)
    _refused(_get(url, tar(small)), 6, "web page")
    assert not Path("data").exists()


def test_an_archive_comes_over_tls(tls_server: Server, certificate: Path, small: Content) -> None:
    archive = tar(small)
    url = tls_server.page("/c.tar.gz", archive)
    _refused(_get(url, archive), 6, "certificate")
    assert _get(url, archive, env={"SSL_CERT_FILE": str(certificate)}).code == 0
    _check(Path("data"), small)


def test_a_mirror_is_tried_first(server: Server, small: Content) -> None:
    archive = tar(small)
    url = server.page("/m/cifar-10-binary.tar.gz", archive)
    env = {"AMCTQ_MIRROR": f"{server.url}/m", "AMCTQ_RETRIES": "0", "HTTPS_PROXY": "http://127.0.0.1:9"}
    official = amctq_here("prepare-cifar", "--json", env=env)
    _refused(official, 5, url, "170,052,171")
    md5 = hashlib.md5(archive).hexdigest()
    assert amctq_here("prepare-cifar", "--md5", md5, env=env).code == 0
    _check(Path("data"), small)


def test_the_python_version_is_not_even_asked_for(server: Server) -> None:
    url = server.page("/cifar-10-python.tar.gz", b"x")
    _refused(amctq_here("prepare-cifar", "--url", url, "--json"), 3, "Python version", "pickles")
    assert server.seen == []
    assert list(Path.cwd().iterdir()) == []


# The file that a run is killed at, before and after it gets its name: the note and the archive while it downloads, the
# manifest and the folders while they are published. "store" and "append" are in the middle of a file.
@pytest.mark.parametrize("place", ["append", "store", *(f"name {index}" for index in range(1, 6))])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_the_same_command_finishes(
    server: Server, tmp_path: Path, place: str, when: str, small: Content
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, signal\n"
        "import amctq.data.staging as staging, amctq.download.partial as partial\n"
        f"place, _, number = {place!r}.partition(' ')\n"
        "left = int(number or 2)\n"
        "owner = {'append': partial.Partial, 'store': staging.StagedSet, 'name': pathlib.Path}[place]\n"
        "name = 'replace' if place == 'name' else place\n"
        "own = getattr(owner, name)\n"
        "def killing(*arguments):\n"
        "    global left\n"
        "    left -= 1\n"
        f"    result = own(*arguments) if left or {when!r} == 'after' else None\n"
        "    left or os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return result\n"
        "setattr(owner, name, killing)\n"
    )
    archive = tar(small)
    url = server.page("/c.tar.gz", archive)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert _get(url, archive, env={"PYTHONPATH": path}, run=amctq).code == -signal.SIGKILL
    for folder, names in LAYOUT.items():  # none, or a finished one
        if Path("data", folder).exists():
            assert sorted(item.name for item in Path("data", folder).iterdir()) == names
    done = _get(url, archive)
    assert done.code == 0, done.stderr
    _check(Path("data"), small)
    assert sorted(item.name for item in Path("data").iterdir()) == sorted([*LAYOUT, MANIFEST, "cifar-10-binary.tar.gz"])
    assert sum(server.sent) < len(archive) * (2 if place in {"append", "name 1"} else 1) + 1


# Watched


def test_images_are_shown_as_they_are_prepared() -> None:
    shown = on_a_terminal("prepare-cifar", "--synthetic", "--train-images", "20000", "--test-images", "10")
    assert re.search(r"drawing .*\d/20010 .*0:00:\d\d", shown), shown


def test_memory_does_not_grow_with_the_archive(whole: tuple[Path, Content], small: Content) -> None:
    """Relation of two archives: a hundred times as many images, and not 8 MiB more in memory."""
    path, _ = whole
    Path("own.tar.gz").write_bytes(tar(small, level=0))
    peaks = []
    for archive in (Path("own.tar.gz"), path):
        code = (
            "import resource, amctq; from pathlib import Path\n"
            f"archive, md5 = Path({str(archive)!r}), {hashlib.md5(archive.read_bytes()).hexdigest()!r}\n"
            "request = amctq.PrepareCifarRequest(archive=archive, md5=md5, output_dir=Path('data'), force=True)\n"
            "amctq.prepare_cifar(request)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        peaks.append(int(done.stdout) << 10)
    assert peaks[1] - peaks[0] < 8 << 20


# Generated


def test_a_generated_set_is_read_by_the_other_commands(shared: Shared) -> None:
    done = amctq_here("prepare-cifar", "--synthetic", "--train-images", "50", "--test-images", "20", "--json")
    assert done.code == 0, done.stderr
    data = done.envelope["data"]
    assert data["synthetic"]
    assert data["images_per_class"] == {"train": [5] * 10, "test": [2] * 10}
    assert json.loads(Path("data", MANIFEST).read_text())["synthetic"] is True
    assert Path("data/cifar-10-verify-bin/batches.meta.txt").read_text().split() == data["classes"]
    arguments = ["--dataset", "data", "--ckpt", shared.checkpoint("resnet20"), "--model", "resnet20", "--json"]
    measured = amctq("evaluate", *arguments)
    assert measured.code == 0, measured.stderr
    assert measured.envelope["data"]["accuracy"]["images"] == 20


def test_a_generated_set_is_not_taken_for_another_one() -> None:
    command = ["prepare-cifar", "--synthetic", "--train-images", "50", "--test-images", "20", "--json"]
    assert amctq(*command).code == 0
    first = Path("data/cifar-10-verify-bin/test_batch.bin").read_bytes()
    assert amctq(*command).envelope["data"]["already_prepared"]
    _refused(amctq(*command, "--seed", "2"), 2, MANIFEST)
    assert amctq(*command, "--seed", "2", "--force").code == 0
    assert Path("data/cifar-10-verify-bin/test_batch.bin").read_bytes() != first


def test_no_permission(small: Content) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    Path("closed").mkdir(mode=0o500)
    _refused(_prepare(tar(small), output="closed/data"), 8, "Permission denied")
