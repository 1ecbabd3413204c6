"""A full disk is found where a library writes, and the next step names the folder that is full."""

from __future__ import annotations

import errno
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import mindspore
import numpy as np
import onnx
import pytest
from mindspore import nn

from amctq.backends.amct_work_directory import WorkDirectory
from amctq.disk import check_room, taken_by_disk
from amctq.errors import WriteError
from amctq.files import writing
from amctq.inference.optimised import optimised_graph
from amctq.leftovers import temporary_folder
from amctq.networks.exporting import exporting


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Limits the size of files, which is refused as a full disk is."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _dense(size: int) -> bytes:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[1,{size}] x) => (float[1,{size}] y) {{ y = MatMul(x, w) }}'
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((size, size), np.float32), "w"))
    content: bytes = model.SerializeToString()
    return content


def test_a_graph_that_onnxruntime_cannot_write(small_files: Callable[[int], None]) -> None:
    content = _dense(300)
    small_files(100_000)
    with pytest.raises(WriteError, match=r"cannot write .*optimised\.onnx") as error:
        optimised_graph(content)
    assert error.value.hint is not None
    assert "TMPDIR" in error.value.hint
    assert tempfile.gettempdir() in error.value.hint


def test_a_file_that_mindspore_cannot_write(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    network = nn.Dense(200, 200)
    small_files(50_000)
    with pytest.raises(OSError) as error, exporting(network, tmp_path / "a.mindir", "MindIR") as path:
        mindspore.export(network, mindspore.Tensor(np.ones((1, 200), np.float32)), file_name=path, file_format="MINDIR")
    assert error.value.errno == errno.EFBIG


def test_what_amct_cannot_write(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    small_files(1000)
    with pytest.raises(WriteError, match="cannot write"):
        WorkDirectory(tmp_path).call("no_such_function")


def test_another_error_is_the_librarys_own(tmp_path: Path) -> None:
    with pytest.raises(KeyError), taken_by_disk(tmp_path / "a"):
        raise KeyError
    check_room(tmp_path / "a")
    assert list(tmp_path.glob("a*")) == []


def test_the_next_step_names_the_folder_that_is_full(tmp_path: Path) -> None:
    def hint(target: Path) -> str:
        with pytest.raises(WriteError) as error, writing(target):
            raise OSError(errno.ENOSPC, "full")
        return str(error.value.hint)

    with temporary_folder() as folder:
        assert "TMPDIR" in hint(folder / "a")
    with temporary_folder(tmp_path) as folder:
        assert "--output-dir" in hint(folder / "a")
    assert "--output-dir" in hint(Path(tempfile.gettempdir()) / "amctq-results" / "a")
