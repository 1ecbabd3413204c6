"""Weights of other formats and names in a network: the same values, whatever they come in."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, nn
from numpy.typing import NDArray
from safetensors.numpy import save, save_file

from amctq.errors import InputError
from amctq.networks.checkpoint import check_readable, read_checkpoint
from amctq.networks.checkpoint_match import Match
from amctq.networks.name_map import read_name_map
from amctq.networks.parameter_names import pytorch_convention
from tests.backends.networks import Small
from tests.byte_mutations import byte_mutations
from tests.mutations import mutation_count

FILES = Path(__file__).parent / "torch_files"
MUTATIONS = mutation_count(400)
Arrays = dict[str, NDArray[Any]]
BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class Twin(nn.Cell):
    """``Net`` of make_torch_files.py."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, pad_mode="valid", has_bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Dense(4, 5)

    def construct(self, x: Tensor) -> Tensor:
        return self.fc(nn.ReLU()(self.bn(self.conv(x))).mean((2, 3)))


def _load(path: Path, scratch: Path, network: Any, names: Mapping[str, str] | None = None) -> tuple[Arrays, Match]:
    """The parameters of a network with a checkpoint, and what was matched."""
    name_map = None
    if names is not None:
        (scratch / "map.json").write_text(json.dumps(names))
        name_map = read_name_map(scratch / "map.json")
    check_readable(path)
    matched = read_checkpoint(path, scratch).load_into(network, model="own", num_classes=5, name_map=name_map)
    return {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}, matched


def _torch_values() -> Arrays:
    """The values in torch_files by the names of ``Twin``."""
    with np.load(FILES / "values.npz") as values:
        found = {name: values[name] for name in values.files if not name.endswith("num_batches_tracked")}
    own = {f"bn.{theirs}": f"bn.{ours}" for ours, theirs in BATCH_NORM.items()}
    return {own.get(name, name): value for name, value in found.items()}


def _same(found: Arrays, expected: Arrays) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("name", ["state", "legacy", "protocol4", "parameters", "run", "ema"])
def test_a_file_of_pytorch_loads(name: str, tmp_path: Path) -> None:
    found, matched = _load(FILES / f"{name}.pth", tmp_path, Twin())
    assert _same(found, _torch_values())
    assert matched.convention == "PyTorch"
    assert matched.renamed == {f"bn.{ours}": f"bn.{theirs}" for ours, theirs in BATCH_NORM.items()}
    assert "4 of 7 parameters have PyTorch's names" in str(matched)
    assert "*.num_batches_tracked" in str(matched)


def test_what_a_run_of_pytorch_leaves_is_passed_over(tmp_path: Path) -> None:
    _, matched = _load(FILES / "run.pth", tmp_path, Twin())
    assert matched.prefix == "state_dict.module."
    assert matched.passed_over["state_dict_ema.*"] == 8
    assert matched.passed_over["rng_state"] == 1
    assert "optimizer.*" in matched.passed_over


def test_a_name_map_chooses_one_of_two_networks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds the network 2 times, under student\., teacher\.") as refused:
        _load(FILES / "two.pth", tmp_path, Twin())
    assert '--name-map: {"": "student."}' in str(refused.value.hint)
    found, matched = _load(FILES / "two.pth", tmp_path, Twin(), {"": "teacher."})
    expected = {name: value * 3 for name, value in _torch_values().items()}
    assert _same(found, expected)
    assert matched.passed_over == {"student.*": 8, "teacher.*": 1}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("whole", [True, False], ids=["with-prefix", "without"])
def test_a_name_map_names_single_tensors_and_beginnings(prefix: str, whole: bool, tmp_path: Path) -> None:
    stored = {f"{prefix}{name.replace('conv.', 'stem.0.')}": value for name, value in _torch_values().items()}
    stored[f"{prefix}classifier.bias"] = stored.pop(f"{prefix}fc.bias")
    save_file(stored, tmp_path / "mine.safetensors")
    before = prefix if whole else ""
    names = {"conv.": f"{before}stem.0.", "fc.bias": f"{before}classifier.bias"}
    found, _ = _load(tmp_path / "mine.safetensors", tmp_path, Twin(), names)
    assert _same(found, _torch_values())


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"convv.weight": "conv.weight"}, "'convv.weight': no parameter of the network is called convv.weight"),
        ({"conv.weight": "stem.weight"}, "'conv.weight': no tensor of the checkpoint is called stem.weight"),
        ({"conv.": "stem."}, "'conv.': no tensor of the checkpoint is called stem."),
        ({"conv.": "conv"}, "'conv.': found 'conv', expected a name"),
        ({"conv.weight": 3}, "'conv.weight': found 3, expected a name"),
    ],
)
def test_a_name_map_of_other_names_is_refused(names: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        _load(FILES / "state.pth", tmp_path, Twin(), names)
    assert says in refused.value.message
    assert refused.value.hint


def test_what_differs_is_named_with_the_nearest(tmp_path: Path) -> None:
    stored = {name.replace("fc.", "fcs."): value for name, value in _torch_values().items()}
    save_file(stored, tmp_path / "mine.safetensors")
    with pytest.raises(InputError) as refused:
        _load(tmp_path / "mine.safetensors", tmp_path, Twin())
    assert "missing fc.weight (5, 4) (nearest: fcs.weight)" in refused.value.message
    assert "unknown fcs.bias (5,) (nearest: fc.bias)" in refused.value.message
    assert "--name-map" in str(refused.value.hint)


def test_a_sparse_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fc\.weight has the type _rebuild_sparse_tensor, which amctq does not load"):
        _load(FILES / "sparse.pth", tmp_path, Twin())


def _small() -> Arrays:
    import mindspore

    mindspore.set_seed(5)
    return {parameter.name: parameter.asnumpy() for parameter in Small(5).get_parameters()}


def _as_safetensors(path: Path, values: Arrays) -> None:
    save_file(values, path)


def _as_npz(path: Path, values: Arrays) -> None:
    np.savez(path, **values)


def _as_packed_npz(path: Path, values: Arrays) -> None:
    np.savez_compressed(path, **values)


WRITERS: dict[str, tuple[str, Callable[[Path, Arrays], None]]] = {
    "safetensors": ("weights.safetensors", _as_safetensors),
    "npz": ("weights.npz", _as_npz),
    "npz-compressed": ("weights.npz", _as_packed_npz),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_every_format_gives_the_same_values(kind: str, dtype: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    if dtype == ">f4" and kind == "safetensors":
        pytest.skip("safetensors are little-endian")
    values = {own: np.asfortranarray(value.astype(dtype)) for own, value in _small().items()}
    if kind == "safetensors":
        values = {own: np.ascontiguousarray(value) for own, value in values.items()}
    write(tmp_path / name, values)
    found, matched = _load(tmp_path / name, tmp_path, Small(5))
    assert _same(found, {own: value.astype(np.float32) for own, value in values.items()})
    assert matched.convention == "MindSpore"
    assert str(matched) == ""


def test_bfloat16_of_safetensors(tmp_path: Path) -> None:
    from ml_dtypes import bfloat16

    values = {own: value.astype(bfloat16) for own, value in _small().items()}
    save_file(values, tmp_path / "half.safetensors")
    found, _ = _load(tmp_path / "half.safetensors", tmp_path, Small(5))
    assert _same(found, {own: value.astype(np.float32) for own, value in values.items()})


def test_the_first_bytes_say_the_format(tmp_path: Path) -> None:
    """PyTorch Lightning calls its files .ckpt, Hugging Face .bin."""
    for name in ("torch.ckpt", "torch.bin", "torch.pth.tar"):
        (tmp_path / name).write_bytes((FILES / "state.pth").read_bytes())
        found, _ = _load(tmp_path / name, tmp_path, Twin())
        assert _same(found, _torch_values())


def test_one_of_several_files_says_how_to_join_them(tmp_path: Path) -> None:
    values = dict(list(_small().items())[:3])
    save_file(values, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(InputError, match="missing") as refused:
        _load(tmp_path / "model-00001-of-00002.safetensors", tmp_path, Small(5))
    assert "join the files" in str(refused.value.hint)


def test_an_npz_file_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", **_small(), more=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"objects\.npz: more holds Python objects, and amctq executes none"):
        _load(tmp_path / "objects.npz", tmp_path, Small(5))


def test_an_npz_file_that_declares_more_than_it_has_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    write: Any = np.lib.format.write_array_header_1_0  # which has no types
    write(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 6)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("conv1.weight.npy", header.getvalue())
    with pytest.raises(InputError, match=r"conv1\.weight declares float32"):
        _load(tmp_path / "bomb.npz", tmp_path, Small(5))


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_no_damage_breaks_the_reader(kind: str, tmp_path: Path) -> None:
    values, packed = _torch_values(), io.BytesIO()
    np.savez(packed, **values)
    content = save(values) if kind == "safetensors" else packed.getvalue()
    path, network, refused = tmp_path / f"mutated.{kind}", Twin(), 0
    for damaged in byte_mutations(content, seed=17, number=MUTATIONS):
        path.write_bytes(damaged)
        try:
            _load(path, tmp_path, network)
        except InputError:
            refused += 1
    assert MUTATIONS / 4 < refused <= MUTATIONS


# PyTorch's names of MindSpore's cells.


class Zoo(nn.Cell):
    """Every cell whose parameters PyTorch calls otherwise, or has in another shape; and some that it calls the same."""

    def __init__(self) -> None:
        super().__init__()
        self.bn3d = nn.BatchNorm3d(2)
        self.prelu = nn.PReLU(2)
        self.table = nn.Embedding(3, 2)
        self.instance = nn.InstanceNorm2d(2)
        self.conv1d = nn.Conv1d(2, 3, 5, has_bias=True)
        self.back1d = nn.Conv1dTranspose(2, 3, 5)
        self.back2d = nn.Conv2dTranspose(2, 3, 5)
        self.encoder = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8)
        self.group = nn.GroupNorm(1, 2)
        self.steps = nn.SequentialCell(nn.Dense(2, 2), nn.BatchNorm1d(2))
        self.lstm = nn.LSTM(2, 3, bidirectional=True)


def test_the_cells_tell_the_names_of_pytorch() -> None:
    convention = pytorch_convention(Zoo())
    names, shapes = convention.names, convention.shapes
    changed = {own: name for own, name in names.items() if own != name}
    batch_norms = {"bn3d.bn2d": "bn3d", "instance": "instance", "steps.1": "steps.1"}
    expected = {
        f"{own}.{ours}": f"{name}.{theirs}" for own, name in batch_norms.items() for ours, theirs in BATCH_NORM.items()
    }
    for norm in ("group", "encoder.norm1", "encoder.norm2"):
        expected |= {f"{norm}.gamma": f"{norm}.weight", f"{norm}.beta": f"{norm}.bias"}
    for number in (1, 2):
        both = (f"encoder.dense{number}", f"encoder.linear{number}")
        expected |= {f"{both[0]}.{end}": f"{both[1]}.{end}" for end in ("weight", "bias")}
    expected |= {"table.embedding_table": "table.weight", "prelu.w": "prelu.weight"}
    assert changed == expected
    assert shapes["conv1d.weight"] == (3, 2, 5)
    assert shapes["back1d.weight"] == (2, 3, 5)
    assert shapes["back2d.weight"] == (2, 3, 5, 5)
    assert {"lstm.weight_ih_l0_reverse", "encoder.self_attn.in_proj_weight"} <= names.keys()


def test_the_weights_of_a_one_dimensional_convolution_load(tmp_path: Path) -> None:
    convention = pytorch_convention(Zoo())
    draw = np.random.default_rng(3)
    values = {
        convention.names[own]: np.abs(draw.standard_normal(shape)).astype(np.float32)
        for own, shape in convention.shapes.items()
    }
    save_file(values, tmp_path / "zoo.safetensors")
    found, _ = _load(tmp_path / "zoo.safetensors", tmp_path, Zoo())
    assert np.array_equal(found["conv1d.weight"], values["conv1d.weight"][:, :, None])
    assert np.array_equal(found["bn3d.bn2d.moving_mean"], values["bn3d.running_mean"])
