"""The compiled operators: made once where the user has a cache, and no error where they cannot be made."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from amctq.backends import compiled
from amctq.backends.compiled import compile_library, kernels


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "amctq"


@pytest.fixture
def compiler() -> str:
    found = shutil.which("cc")
    if found is None:
        pytest.skip("needs a C compiler")
    return found


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("compiler")
def test_it_is_compiled_once(cache: Path) -> None:
    first = compile_library()
    assert first.path is not None
    assert first.path.parent == cache
    assert "compiled with cc" in first.description
    made = first.path.stat()
    assert compile_library() == first
    assert first.path.stat() == made
    assert [path.name for path in cache.iterdir()] == [first.path.name]
    assert stat.S_IMODE(cache.stat().st_mode) & 0o077 == 0


def test_what_a_stopped_compiler_leaves_goes_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = tmp_path / "said"
    monkeypatch.setenv("CC", _script(tmp_path / "cc", f'touch "$TMPDIR/half.s"; echo "$TMPDIR" > {said}; exit 1'))
    assert compile_library().path is None
    assert not Path(said.read_text().strip()).exists()


def test_another_compiler_makes_another_file(
    compiler: str, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = compile_library()
    monkeypatch.setenv("CC", _script(tmp_path / "my cc", f'exec {compiler} "$@"').replace(" ", "\\ "))
    second = compile_library()
    assert second.path not in {None, first.path}
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no C compiler"),
        ("echo 'fakequant.c:1: error: no such thing' >&2; exit 1", "no such thing"),
        ("exit 3", "exit code 3"),
        ("exit 0", "cannot compile"),  # and makes no file
        ('while [ "$1" != -o ]; do shift; done; echo rubbish > "$2"', "invalid ELF header|file too short"),
    ],
    ids=["none", "error", "silent", "nothing", "rubbish"],
)
def test_what_cannot_be_compiled_is_a_reason(
    text: str | None, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = str(tmp_path / "missing") if text is None else _script(tmp_path / "cc", text)
    monkeypatch.setenv("CC", command)
    library = compile_library()
    assert library.path is None
    assert kernels(library) is None
    assert any(part in library.description for part in says.split("|")), library.description


def test_other_numbers_are_found_out(compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other.c"
    other.write_text(compiled.SOURCE.read_text().replace("#define LEVELS 255", "#define LEVELS 254"))
    # The source is the last argument.
    turned = f'for last; do :; done; set -- $(for one; do [ "$one" = "$last" ] || echo "$one"; done) {other}'
    monkeypatch.setenv("CC", _script(tmp_path / "cc", f'{turned}; exec {compiler} "$@"'))
    library = compile_library()
    assert library.path is None
    assert "other numbers than NumPy" in library.description


def test_a_cache_that_cannot_be_written_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    library = compile_library()
    assert library.path is None
    assert "file" in library.description


@pytest.mark.parametrize("command", ["", "  ", "cc 'unfinished"])
def test_a_command_that_is_none_is_a_reason(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", command)
    assert compiled.compiler() == ()
    assert compile_library().description == "no C compiler (CC, or cc on PATH)"


def test_a_folder_that_mindspore_cannot_name_is_a_reason(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a:b"))
    assert "colon" in compile_library().description
    assert not (tmp_path / "a:b").exists()


@pytest.mark.usefixtures("compiler")
def test_without_a_cache_folder_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The home folder of a user is not ours to write to."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    code = f"import {compiled.__name__} as c; path = c.compile_library().path; print(path, path.exists())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith(str(tmp_path / "tmp"))
    assert said.endswith("True\n")
    assert [*(tmp_path / "home").iterdir(), *(tmp_path / "tmp").iterdir()] == []


@pytest.mark.usefixtures("compiler")
def test_two_processes_at_once_make_one_file(cache: Path) -> None:
    code = f"import {compiled.__name__} as c; print(c.compile_library().path)"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(3)
    ]
    found = {process.communicate()[0].strip() for process in started}
    assert found == {str(path) for path in cache.iterdir()}
    assert len(found) == 1
