"""A name that is a FIFO, a device, a socket or a folder: refused at once wherever a file is opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from amctq.errors import InputError
from amctq.regular_file import open_regular
from amctq.training.history import former_lines
from amctq.training.snapshot import read_snapshot
from tests.command import Own, Shared, amctq, amctq_here
from tests.readers import STATE


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "a named pipe (FIFO)"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket"),
    ],
    ids=["fifo", "device", "socket"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_regular_file(make: Callable[[Path], object], said: str) -> None:
    path = Path("x")
    make(path)
    with pytest.raises(OSError, match="x") as caught:
        open_regular(path)
    assert caught.value.strerror == f"it is {said}, expected a file"


def test_a_folder_and_a_file() -> None:
    Path("folder").mkdir()
    with pytest.raises(IsADirectoryError):
        open_regular(Path("folder"))
    Path("file").write_bytes(b"content")
    with open_regular(Path("file")) as stream:
        assert stream.read() == b"content"


FIFOS: dict[str, Callable[[Shared], tuple[object, ...]]] = {
    "--dataset": lambda shared: ("evaluate", *shared.network("resnet20", "x.npz")),
    "--ckpt": lambda shared: ("evaluate", "--dataset", shared.data, "--ckpt", "x.npz", "--model", "resnet20"),
    "--onnx": lambda shared: ("evaluate", "--dataset", shared.data, "--onnx", "x.npz"),
    "--config": lambda shared: ("ptq", *shared.network("resnet20"), "--config", "x.npz"),
    "--record": lambda shared: ("ptq", *shared.network("resnet20"), "--record", "x.npz"),
    "--archive": lambda _: ("prepare-cifar", "--archive", "x.npz", "--md5", "0" * 32),
    "--from-file": lambda _: ("fetch-model", "resnet50", "--from-file", "x.npz"),
    "--hyper-parameters": lambda shared: ("qat", *shared.network("resnet20"), "--hyper-parameters", "x.npz"),
}


@pytest.mark.parametrize("option", FIFOS)
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_no_command_waits_for_a_fifo(option: str, kind: str, shared: Shared) -> None:
    if kind == "fifo":
        os.mkfifo("x.npz")
    else:
        Path("x.npz").symlink_to("/dev/zero")
    done = amctq_here(*FIFOS[option](shared), "--json")
    assert done.code == 3, done.stderr
    assert done.envelope["errors"][0]["hint"]


def test_a_fifo_among_the_record_files(own: Own) -> None:
    Path("data").mkdir()
    os.mkfifo("data/test_batch.bin")
    done = amctq(*("evaluate", *own.network("small", "data"), "--json"), timeout=60)
    assert done.code == 3, done.stderr


@pytest.mark.parametrize("read", [read_snapshot, lambda path: former_lines(path, STATE)], ids=["checkpoint", "history"])
def test_a_run_that_is_resumed_does_not_wait_for_a_fifo(read: Callable[[Path], object]) -> None:
    path = Path("x")
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(read, path)
        try:
            with pytest.raises(InputError, match=r"a named pipe \(FIFO\)"):
                found.result(timeout=20)
        finally:
            os.close(os.open(path, os.O_RDWR))  # ends a wait
