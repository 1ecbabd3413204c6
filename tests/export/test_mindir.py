"""The MindIR file: what stands in it, and what MindSpore computes from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.choices import ActType, Device, ExportFormat
from amctq.errors import InputError
from amctq.export.mindir import export_mindir
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.topology import fuse, read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.float_network import FloatNetwork
from amctq.networks.float_onnx import export_float
from amctq.networks.mindir import export_plain
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.weights import arq_scale
from amctq.runtime import load_mindspore, resolve_device
from tests.arrays import image_spec, logits_of
from tests.command import amctq


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> NativeQuantizedNetwork:
    """networks.Small with random weights, on scales that fit them roughly."""
    scratch = tmp_path_factory.mktemp("scratch")
    mindspore = load_mindspore(resolve_device(Device.CPU, None), scratch)
    from tests.backends.networks import Small

    mindspore.set_seed(5)
    cell = Small(5)
    cell.set_train(False)
    graph = export_float(cell, image_spec(3, 32, 32), scratch / "float.mindir")
    network = FloatNetwork(cell=cell, graph=graph, topology=read_topology(graph))
    record = QuantRecord(
        layers=tuple(
            LayerRecord(
                name=name,
                activation=QParams(0.02, 7),
                weight_scale=arq_scale(parameters.weight, channel_wise=parameters.weight.ndim == 4),
                skip_fusion=False,
            )
            for name, parameters in fuse(graph, network.topology).items()
        )
    )
    return NativeBackend().from_record(network=network, record=record, act_type=ActType.UINT8)


@pytest.fixture(scope="module")
def content(quantized: NativeQuantizedNetwork, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mindir") / "small.mindir"
    quantized.export(ExportFormat.MINDIR, path, {"amctq.model": "small"})
    return path.read_bytes()


@pytest.fixture(scope="module")
def images() -> Float32Array:
    return np.random.default_rng(5).normal(size=(11, 3, 32, 32)).astype(np.float32)


def _parsed(content: bytes) -> Any:
    from mindspore.train import mind_ir_pb2

    return mind_ir_pb2.ModelProto.FromString(content)


def _session(content: bytes) -> Any:
    from amctq.inference.mindir_session import MindirSession

    return MindirSession(content)


def test_weights_are_stored_as_int8(content: bytes, quantized: NativeQuantizedNetwork) -> None:
    model = _parsed(content)
    stored = {item.name: item for item in model.graph.parameter}
    kinds = model.graph.parameter[0].DataType
    for item in quantized.layers:
        weight = stored[f"{item.layer.name}.weight"]
        assert weight.data_type == kinds.Value("INT8")
        values = np.frombuffer(weight.raw_data, np.int8).reshape(tuple(weight.dims))
        assert np.array_equal(values, item.weight.values)
    assert not [name for name in stored if name.startswith("bn1")]  # folded


def test_it_computes_what_the_onnx_file_computes(
    content: bytes, quantized: NativeQuantizedNetwork, images: Float32Array
) -> None:
    graph = quantized.network.graph
    exported = logits_of(OnnxSession(build_qdq(graph, quantized.layers, quantized.activations)), images)
    plain = logits_of(OnnxSession(graph.model), images)
    own = logits_of(_session(content), images)
    assert own == pytest.approx(exported, abs=2e-3 * float(np.abs(exported).max()))
    assert np.abs(own - plain).max() > 5 * np.abs(own - exported).max()


def test_any_batch_size_runs(content: bytes, images: Float32Array) -> None:
    session = _session(content)
    whole = logits_of(session, images)
    parts = np.concatenate(
        [logits_of(session, images[:8]), logits_of(session, images[8:10]), logits_of(session, images[10:])]
    )
    assert parts == pytest.approx(whole, abs=1e-5)


def test_it_equals_the_cells_it_was_made_from(
    content: bytes, quantized: NativeQuantizedNetwork, images: Float32Array
) -> None:
    from amctq.inference.cell_session import CellSession

    with quantized.simulation() as cell:
        live = logits_of(CellSession(cell), images)
    assert logits_of(_session(content), images) == pytest.approx(live, abs=1e-5)


def test_a_second_export_writes_the_same_bytes(
    content: bytes, quantized: NativeQuantizedNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "again.mindir"
    quantized.export(ExportFormat.MINDIR, path, {"amctq.model": "small"})
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o600 == 0o600  # MindSpore's own files are read-only


def test_the_network_is_as_before(quantized: NativeQuantizedNetwork, images: Float32Array, tmp_path: Path) -> None:
    from amctq.inference.cell_session import CellSession

    before = logits_of(CellSession(quantized.network.cell), images)
    quantized.export(ExportFormat.MINDIR, tmp_path / "one.mindir", {})
    assert np.array_equal(logits_of(CellSession(quantized.network.cell), images), before)
    # And graph mode does not go on with what it compiled for the export.
    export_plain(quantized.network.cell, image_spec(3, 32, 32), tmp_path / "float.mindir", batch=None)
    assert logits_of(_session((tmp_path / "float.mindir").read_bytes()), images) == pytest.approx(before, abs=1e-4)


def test_normalising_changes_no_number(quantized: NativeQuantizedNetwork, images: Float32Array, tmp_path: Path) -> None:
    plain, named = tmp_path / "plain.mindir", tmp_path / "named.mindir"
    with quantized.simulation() as cell:
        export_plain(cell, image_spec(3, 32, 32), plain, batch=None)
        export_mindir(cell, image_spec(3, 32, 32), named, batch=None)
    assert named.stat().st_size < plain.stat().st_size
    assert np.array_equal(
        logits_of(_session(named.read_bytes()), images), logits_of(_session(plain.read_bytes()), images)
    )


def test_paths_with_spaces_and_chinese_characters(quantized: NativeQuantizedNetwork, tmp_path: Path) -> None:
    from amctq.inference.mindir_session import MindirSession

    path = tmp_path / "我的 模型" / "量化 1.mindir"
    path.parent.mkdir()
    quantized.export(ExportFormat.MINDIR, path, {})
    assert MindirSession(path.read_bytes()).image_size == 32


def test_metadata_and_ports_stand_in_the_file(content: bytes) -> None:
    session = _session(content)
    assert session.metadata == {"amctq.model": "small"}
    assert [str(port) for port in session.inputs] == ["image tensor(float) ['N', 3, 32, 32]"]
    assert session.outputs[0].shape == ("N", 5)
    session.check_input(image_spec(3, 32, 32))
    with pytest.raises(InputError, match=r"the model takes image tensor\(float\)"):
        session.check_input(image_spec(3, 64, 64))


def _without(change: str) -> Any:
    def damage(model: Any) -> None:
        if change == "parameter":
            model.graph.parameter[0].raw_data = model.graph.parameter[0].raw_data[:-1]
        elif change == "shape":
            node = next(node for node in model.graph.node if node.op_type.startswith("REF::Conv2D"))
            del node.attribute[:]  # MindSpore's loader would abort the process
        elif change == "operator":
            del model.primitives[0]
        elif change == "node":
            del model.graph.node[3]
        elif change == "graph":
            model.ClearField("graph")

    return damage


@pytest.mark.parametrize("change", ["parameter", "shape", "operator", "node", "graph"])
def test_a_file_that_lacks_something_is_refused(change: str, content: bytes) -> None:
    model = _parsed(content)
    _without(change)(model)
    with pytest.raises(InputError, match="no MindIR model that MindSpore could run"):
        _session(model.SerializeToString())


def test_damaged_bytes_never_end_the_process(content: bytes) -> None:
    """Only the graph is damaged; a changed weight is a weight."""
    random = np.random.default_rng(1)
    model = _parsed(content)
    weights = [(content.index(item.raw_data), len(item.raw_data)) for item in model.graph.parameter]
    outside = np.ones(len(content), bool)
    for start, size in weights:
        outside[start : start + size] = False
    places = np.flatnonzero(outside)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.choice(places, 3):
            damaged[place] = random.integers(256)
        try:
            _session(bytes(damaged))
        except InputError:
            refused += 1
    assert refused > 30


def test_a_file_on_which_mindspore_crashes_is_bad_input(content: bytes, images: Float32Array) -> None:
    """A BiasAdd without its first operand is a complete message, and ends MindSpore's process."""
    model = _parsed(content)
    node = next(node for node in model.graph.node if node.op_type.startswith("REF::BiasAdd"))
    del node.input[0]
    Path("crash.mindir").write_bytes(model.SerializeToString())
    np.savez("images.npz", images=images, labels=np.zeros(len(images), np.int64))
    done = amctq("evaluate", "--mindir", "crash.mindir", "--dataset", "images.npz", "--json")
    assert done.code == 3, done.stderr
    (error,) = done.envelope["errors"]
    assert error["message"] == "crash.mindir: MindSpore crashes when it runs the model (signal SIGSEGV)"
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["crash.mindir", "images.npz"]


def test_a_parameter_that_is_nan_is_refused(content: bytes) -> None:
    """MindSpore runs it, and some operators make numbers of NaN."""
    from mindspore.train import mind_ir_pb2

    from amctq.inference.mindir_session import parse_mindir

    model = mind_ir_pb2.ModelProto.FromString(content)
    parameter = next(item for item in model.graph.parameter if item.data_type == 1)
    parameter.raw_data = np.full(len(parameter.raw_data) // 4, np.nan, np.float32).tobytes()
    with pytest.raises(InputError, match=rf"parameter {re.escape(parameter.name)} holds NaN"):
        parse_mindir(model.SerializeToString())
