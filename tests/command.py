"""Running the installed command, as a user does."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

NETWORKS = Path(__file__).with_name("backends") / "networks.py"
AMCTQ = Path(sys.executable).with_name("amctq")
RECORD_BYTES = 3073


@dataclass(frozen=True)
class Shared:
    """What lies in ../shared."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def records(self) -> Path:
        return self.data / "cifar-10-batches-bin"

    def checkpoint(self, model: str) -> Path:
        return self.root / "checkpoints" / f"{model}_cifar10.ckpt"

    def network(self, model: str, dataset: object = None) -> tuple[object, ...]:
        """The options that name a trained network and its images."""
        return "--dataset", dataset or self.data, "--ckpt", self.checkpoint(model), "--model", model


@dataclass(frozen=True)
class Own:
    """Files of one's own, made once.

    Attributes:
        checkpoint: of the networks of tests/backends/networks.py, ten classes.
        npz: images and labels, float32 (64, 3, 32, 32).
        config: AMCT's config.json for resnet20.
        record: AMCT's record for resnet20.
    """

    checkpoint: Path
    npz: Path
    config: Path
    record: Path

    def network(self, factory: str, dataset: object = None) -> tuple[object, ...]:
        """The options that name a network of tests/backends/networks.py and its images."""
        return "--model", f"{NETWORKS}:{factory}", "--ckpt", self.checkpoint, "--dataset", dataset or self.npz


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        """What the command has found, of the same."""
        data = self.envelope["data"]
        assert isinstance(data, dict)
        return data

    @property
    def envelope(self) -> dict[str, Any]:
        """stdout as the one JSON object that --json promises."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value


# A test that has MindSpore in its own process has set these, and a command must not take them for the user's.
_PREPARED = ("ONEDNN_MAX_CPU_ISA", "GLOG_v")
# amctq sets it when it is imported, for a command that starts as it does for this process.
_IMPORTED = ("ORT_DISABLE_TELEMETRY",)


def amctq(*arguments: object, env: Mapping[str, str] | None = None, timeout: float = 300) -> Finished:
    """Run ``amctq`` in the current directory, in a process of its own."""
    done = subprocess.run(
        [AMCTQ, *map(str, arguments)],
        capture_output=True,
        env=plain_environment() | dict(env or {}),
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def plain_environment() -> dict[str, str]:
    """The environment of a user: without what amctq has set in this process."""
    return {name: value for name, value in os.environ.items() if name not in {*_PREPARED, *_IMPORTED}}


def amctq_here(*arguments: object, env: Mapping[str, str] | None = None) -> Finished:
    """The same command line in this process: no start of Python and of MindSpore, which take most of a refusal.

    What it writes is taken at the file descriptors, so that a library written in C hides nothing.
    """
    from amctq.cli.app import app
    from amctq.cli.output import never_fail_to_encode

    with _as_before(), _streams() as (stdout, stderr):
        os.environ.update(env or {})
        never_fail_to_encode()
        with pytest.raises(SystemExit) as end:
            app(args=list(map(str, arguments)), prog_name="amctq")
        sys.stdout.flush()
        sys.stderr.flush()
        texts = [file.read_bytes().decode() for file in (stdout, stderr)]
    code = end.value.code
    assert isinstance(code, int)
    return Finished(code, *texts)


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Give back what a command changes of its process; warnings are those of a plain Python."""
    path, modules, hook = list(sys.path), set(sys.modules), sys.unraisablehook
    with mock.patch.dict(os.environ), warnings.catch_warnings():
        for name in _PREPARED:
            os.environ.pop(name, None)
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        try:
            yield
        finally:
            sys.path[:] = path
            for name in [name for name in sys.modules if name.startswith("amctq_user_") and name not in modules]:
                del sys.modules[name]
            if "_hush_cell_finalizers" in getattr(hook, "__qualname__", ""):  # once is enough
                sys.unraisablehook = hook


@contextlib.contextmanager
def _streams() -> Iterator[tuple[Path, Path]]:
    """Files that hold what is written to file descriptors 1 and 2 in the block."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = Path(folder, "stdout"), Path(folder, "stderr")
        for number, (name, file) in enumerate(zip(("stdout", "stderr"), files, strict=True), 1):
            getattr(sys, name).flush()
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            stack.callback(setattr, sys, name, getattr(sys, name))
            with file.open("wb") as target:
                os.dup2(target.fileno(), number)
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        yield files


def on_a_terminal(*arguments: str | Path) -> str:
    """What ``amctq`` shows on a terminal of 160 columns, in the current directory."""
    command = f"stty cols 160; exec {shlex.join([str(AMCTQ), *map(str, arguments)])}"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


@contextlib.contextmanager
def small_file_system(place: Path, size: str) -> Iterator[Path]:
    """A file system of ``size``, as mount(8) writes it, at ``place`` for the time of the block."""
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", place], check=True)


def write_records(
    path: Path, *, images: int, label: int | None = None, pixel: int | None = None, seed: int = 0
) -> None:
    """A CIFAR-10 record file: random labels and pixels, or the ones given for every image."""
    random = np.random.default_rng(seed)
    records = random.integers(0, 256, (images, RECORD_BYTES), dtype=np.uint8)
    records[:, 0] = random.integers(0, 10, images) if label is None else label
    if pixel is not None:
        records[:, 1:] = pixel
    path.parent.mkdir(parents=True, exist_ok=True)
    records.tofile(path)


def without(package: str) -> dict[str, str]:
    """The environment of a command that cannot find a package; makes a folder in the current directory."""
    folder = Path("without")
    folder.mkdir()
    folder.joinpath("sitecustomize.py").write_text(
        "import importlib.util\n"
        "own = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *more: None if name == {package!r} else own(name, *more)\n"
    )
    return {"PYTHONPATH": str(folder.absolute())}
