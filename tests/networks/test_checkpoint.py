"""Checkpoints: what is read is checked first, and what the network needs is found in what training leaves."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.networks.checkpoint import Checkpoint, check_readable, read_checkpoint
from amctq.networks.registry import REGISTRY
from tests.backends.networks import Small
from tests.byte_mutations import byte_mutations
from tests.mutations import mutation_count

MUTATIONS = mutation_count(400)
CONV = "conv1.weight"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ``Small``."""
    import mindspore

    mindspore.set_seed(3)
    path = tmp_path_factory.mktemp("trained") / "small.ckpt"
    mindspore.save_checkpoint(Small(10), str(path))
    return path


def _load(path: Path, scratch: Path, network: Any = None) -> tuple[Any, str]:
    """A network with the checkpoint, and what was said of it."""
    network = network or Small(10)
    said = str(read_checkpoint(path, scratch).load_into(network, model="small", num_classes=10))
    return network, said


def _values(network: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}


def _changed(source: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """The checkpoint with a change of its protobuf message."""
    from mindspore.train.checkpoint_pb2 import Checkpoint as Message

    message = Message.FromString(source.read_bytes())
    change(message)
    target.write_bytes(message.SerializeToString())
    return target


def _first(message: Any) -> Any:
    return next(value for value in message.value if value.tag == CONV)


def _content(change: Callable[[bytes], bytes]) -> Callable[[Any], None]:
    def changed(message: Any) -> None:
        _first(message).tensor.tensor_content = change(_first(message).tensor.tensor_content)

    return changed


def _dims(*dims: int) -> Callable[[Any], None]:
    def changed(message: Any) -> None:
        _first(message).tensor.dims[:] = dims

    return changed


def _set(name: str, value: object) -> Callable[[Any], None]:
    return lambda message: setattr(_first(message).tensor, name, value)


def _map_parameter(message: Any) -> None:
    tensor = _first(message).tensor
    keep = tensor.tensor_content
    for _ in range(3):
        item = _first(message).maptensor.tensor.add()
        item.dims[:], item.tensor_type, item.tensor_content = [len(keep) // 4], "float32", keep


def _again_at_the_end(message: Any) -> None:
    message.value.add().CopyFrom(_first(message))


def _second_part(message: Any) -> None:
    """The whole tensor, and after it a second part of it."""
    values = [value for value in message.value]
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    index = next(number for number, value in enumerate(values) if value.tag == CONV)
    del message.value[:]
    message.value.extend([*copies[: index + 1], copies[index], *copies[index + 1 :]])


DEFECTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "longer": (_content(lambda content: content + bytes(1 << 20)), "holds 1,049,440 bytes, expected 864 for Float32"),
    "one-byte-longer": (_content(lambda content: content + b"\0"), "holds 865 bytes, expected 864"),
    "shorter": (_content(lambda content: content[:8]), "holds 8 bytes, expected 864"),
    "empty": (_content(lambda _: b""), "holds 0 bytes, expected 864"),
    "larger-shape": (_dims(800, 3, 3, 3), "holds 864 bytes, expected 86,400"),
    "negative": (_dims(-8, -3, 3, 3), "has the shape [-8, -3, 3, 3]"),
    "huge": (_dims(1 << 62, 4), "has the shape [4611686018427387904, 4]"),
    "product-overflows": (_dims(1 << 32, 1 << 32, 216), "has the shape [4294967296, 4294967296, 216]"),
    "many-axes": (_dims(*[1] * 1000), "1,000 axes"),
    "scalar-without-value": (
        lambda message: (_dims(0)(message), _content(lambda _: b"")(message))[0],
        f"{CONV} is (0,), expected (8, 3, 3, 3)",
    ),
    "unknown-type": (_set("tensor_type", "Float8"), "has the unknown type 'Float8'"),
    "smaller-type": (_set("tensor_type", "Float16"), "holds 864 bytes, expected 432 for Float16"),
    "no-type": (_set("tensor_type", ""), "has the unknown type ''"),
    "map-parameter": (_map_parameter, f"{CONV} is a MapParameter"),
    "no-tensor": (lambda message: _first(message).ClearField("tensor"), f"{CONV} has no tensor"),
    "no-name": (lambda message: setattr(_first(message), "tag", ""), "a tensor has no name"),
    "long-name": (lambda message: setattr(_first(message), "tag", "a." * 500_000), "has 1,000,000 characters"),
    "two-places": (_again_at_the_end, f"{CONV} occurs in two places"),
    "two-parts": (_second_part, "holds 1,728 bytes, expected 864"),
    "unknown-field": (
        lambda message: _first(message).tensor.MergeFromString(b"\x7a\x01x"),
        f"{CONV} has fields that MindSpore does not write",
    ),
    "name-of-bytes": (lambda message: None, "the name of a tensor is no UTF-8"),
    "type-of-bytes": (lambda message: None, "has the unknown type"),
    "nothing": (lambda message: message.Clear(), "it holds no tensor"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_tensor_is_checked_before_mindspore_reads_it(defect: str, trained: Path, tmp_path: Path) -> None:
    change, says = DEFECTS[defect]
    path = _changed(trained, tmp_path / "changed.ckpt", change)
    if defect == "name-of-bytes":
        path.write_bytes(path.read_bytes().replace(b"conv1.weight", b"conv\xff.weight"))
    if defect == "type-of-bytes":
        path.write_bytes(path.read_bytes().replace(b"Float32", b"Float\xff2", 1))
    with pytest.raises(InputError) as found:
        _load(path, tmp_path)
    # Some versions of protobuf refuse what is no UTF-8 at once, and some give it as bytes.
    unparsed = defect.endswith("of-bytes") and "it cannot be parsed" in found.value.message
    assert unparsed or says in found.value.message
    assert len(found.value.message) < 500


def test_a_checksum_at_the_end_counts(trained: Path, tmp_path: Path) -> None:
    import mindspore

    network = Small(10)
    path = tmp_path / "summed.ckpt"
    mindspore.save_checkpoint(network, str(path), crc_check=True)
    loaded, said = _load(path, tmp_path)
    assert said == ""
    assert all(np.array_equal(value, _values(network)[name]) for name, value in _values(loaded).items())
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # within the first weights: still a complete message
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(InputError, match="the CRC-32 at its end differ"):
        _load(path, tmp_path)


def test_parts_of_one_tensor_are_added_up(trained: Path, tmp_path: Path) -> None:
    """MindSpore divides what is larger than 512 MiB; each part names the whole shape."""

    def divide(message: Any) -> None:
        whole = [type(value).FromString(value.SerializeToString()) for value in message.value]
        del message.value[:]
        for value in whole:
            content = value.tensor.tensor_content
            for piece in (content[:12], content[12:16], content[16:]):
                part = message.value.add()
                part.CopyFrom(value)
                part.tensor.tensor_content = piece

    before, _ = _load(trained, tmp_path)
    after, said = _load(_changed(trained, tmp_path / "parts.ckpt", divide), tmp_path)
    assert said == ""
    assert all(np.array_equal(value, _values(before)[name]) for name, value in _values(after).items())


def test_a_part_of_another_shape_is_refused(trained: Path, tmp_path: Path) -> None:
    def change(message: Any) -> None:
        _second_part(message)
        _first(message).tensor.dims[:] = [216]

    with pytest.raises(InputError, match="parts of different shapes"):
        _load(_changed(trained, tmp_path / "parts.ckpt", change), tmp_path)


def test_no_damage_breaks_the_reader(trained: Path, tmp_path: Path) -> None:
    path, network, refused = tmp_path / "mutated.ckpt", Small(10), 0
    for content in byte_mutations(trained.read_bytes(), seed=15, number=MUTATIONS):
        path.write_bytes(content)
        try:
            check_readable(path)
            _load(path, tmp_path, network)
        except InputError:
            refused += 1
    assert MUTATIONS / 2 < refused < MUTATIONS


# What a training run leaves.


def _optimizers() -> dict[str, Callable[[Any], Any]]:
    from mindspore import nn

    def lars(parameters: Any) -> Any:
        return nn.LARS(nn.Momentum(parameters, 0.1, 0.9), epsilon=1e-8, coefficient=0.02)

    def grouped(parameters: Any) -> Any:
        some, others = parameters[:2], parameters[2:]
        return nn.Adam([{"params": some, "lr": 0.01}, {"params": others, "lr": [0.1, 0.2]}], 0.1)

    simple = (
        *("SGD", "Adam", "AdamWeightDecay", "AdamOffload", "LazyAdam", "RMSProp", "Adadelta", "Adagrad"),
        *("FTRL", "AdaMax", "ASGD", "Rprop", "AdaFactor", "ProximalAdagrad"),
    )
    return {
        **{name: getattr(nn, name) for name in simple},
        "Lamb": lambda parameters: nn.Lamb(parameters, 0.1),
        "Momentum": lambda parameters: nn.Momentum(parameters, 0.1, 0.9),
        "Momentum-schedule": lambda parameters: nn.Momentum(parameters, [0.1, 0.2, 0.3], 0.9),
        "Adam-amsgrad": lambda parameters: nn.Adam(parameters, use_amsgrad=True),
        "RMSProp-centered": lambda parameters: nn.RMSProp(parameters, centered=True),
        "LARS": lars,
        "groups": grouped,
    }


OPTIMIZERS = (
    *("SGD", "Adam", "AdamWeightDecay", "AdamOffload", "Lamb", "LazyAdam", "RMSProp", "Adadelta", "Adagrad", "FTRL"),
    *("AdaMax", "ASGD", "Rprop", "AdaFactor", "ProximalAdagrad", "Momentum", "Momentum-schedule", "Adam-amsgrad"),
    *("RMSProp-centered", "LARS", "groups"),
)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_state_of_every_optimizer_is_passed_over(optimizer: str, tmp_path: Path) -> None:
    import mindspore
    from mindspore import nn

    network = Small(10)
    made = _optimizers()[optimizer](network.trainable_params())
    scale = nn.DynamicLossScaleUpdateCell(loss_scale_value=2**12, scale_factor=2, scale_window=100)
    loss = nn.WithLossCell(network, nn.SoftmaxCrossEntropyWithLogits(sparse=True))
    cell = nn.TrainOneStepWithLossScaleCell(loss, made, scale_sense=scale)
    path = tmp_path / "training.ckpt"
    mindspore.save_checkpoint(
        cell, str(path), append_dict={"epoch_num": 3, "step_num": 90, "best_acc": 0.5, "by": "me"}
    )
    loaded, said = _load(path, tmp_path)
    assert all(np.array_equal(value, _values(network)[name]) for name, value in _values(loaded).items())
    assert said.startswith("passed over, not of the network: ")


def test_the_state_of_thor_is_passed_over(tmp_path: Path) -> None:
    """It replaces the layers of the network by its own, which hold its state."""
    import mindspore
    from mindspore import nn

    network, loaded = (REGISTRY["resnet8"].build(10) for _ in range(2))
    made = nn.thor(network, mindspore.Tensor(0.1), mindspore.Tensor(0.1), 0.9)
    cell = nn.TrainOneStepCell(nn.WithLossCell(network, nn.SoftmaxCrossEntropyWithLogits(sparse=True)), made)
    mindspore.save_checkpoint(cell, str(tmp_path / "training.ckpt"))
    checkpoint = read_checkpoint(tmp_path / "training.ckpt", tmp_path)
    said = str(checkpoint.load_into(loaded, model="resnet8", num_classes=10))
    trained = _values(network)
    assert all(np.array_equal(value, trained[name]) for name, value in _values(loaded).items())
    assert "*.matrix_a_cov (7)" in said


def test_a_number_beyond_float32_is_refused(tmp_path: Path) -> None:
    values = {name: value.astype(np.float64) for name, value in _named("").items()}
    values["conv1.weight"].flat[0] = 1e300
    path = _saved(tmp_path / "large.ckpt", **values)
    with pytest.raises(InputError, match=r"large\.ckpt: parameter conv1\.weight holds NaN or infinity"):
        _load(path, tmp_path)


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    """MindSpore and onnxruntime differ in what they make of it, which is no fault of amctq."""
    values = _named("")
    values["bn1.moving_variance"][0] = -1e-3
    path = _saved(tmp_path / "negative.ckpt", **values)
    with pytest.raises(InputError, match=r"parameter bn1\.moving_variance holds negative variances"):
        _load(path, tmp_path)


def _saved(path: Path, **parameters: np.ndarray[Any, Any]) -> Path:
    import mindspore

    values = [{"name": name, "data": mindspore.Tensor(value)} for name, value in parameters.items()]
    mindspore.save_checkpoint(values, str(path))
    return path


def _named(prefix: str, scale: float = 1) -> dict[str, np.ndarray[Any, Any]]:
    return {f"{prefix}{name}": (value * scale).astype(np.float32) for name, value in _values(Small(10)).items()}


@pytest.mark.parametrize("prefix", ["network.", "module.", "backbone.", "_backbone.", "my_cell.", "network.network."])
def test_the_cell_around_a_network_is_found(prefix: str, tmp_path: Path) -> None:
    own = _named(prefix)
    state = {f"moments.{name}": value for name, value in own.items()} | {"loss_fn.weight": np.ones(4, np.float32)}
    loaded, said = _load(_saved(tmp_path / "wrapped.ckpt", **state, **own), tmp_path)
    assert all(np.array_equal(value, own[f"{prefix}{name}"]) for name, value in _values(loaded).items())
    assert f"begin with {prefix} in it" in said
    assert "loss_fn.*" in said


def test_weights_that_are_kept_besides_are_not_taken(tmp_path: Path) -> None:
    own, averages = _named(""), _named("ema.", 3)
    loaded, said = _load(_saved(tmp_path / "ema.ckpt", **averages, **own), tmp_path)
    assert all(np.array_equal(value, own[name]) for name, value in _values(loaded).items())
    assert f"ema.* ({len(own)})" in said


def test_two_networks_are_not_mistaken_for_one(tmp_path: Path) -> None:
    path = _saved(tmp_path / "two.ckpt", **_named("student."), **_named("teacher.", 2))
    with pytest.raises(InputError, match=r"holds the network 2 times, under student\., teacher\."):
        _load(path, tmp_path)


@pytest.mark.parametrize("name", ["more.conv1.weight", "scale", "conv1.scale", "my_optimizer.conv1.weight"])
def test_a_part_of_another_network_is_not_passed_over(name: str, tmp_path: Path) -> None:
    own = _named("")
    path = _saved(tmp_path / "more.ckpt", **own, **{name: own[CONV] if "weight" in name else np.ones(1, np.float32)})
    with pytest.raises(InputError, match=rf"unknown {name}"):
        _load(path, tmp_path)


def test_a_network_is_not_found_within_another_by_chance(tmp_path: Path) -> None:
    """A Dense alone is the last layer of many networks."""
    from mindspore import nn

    path = _saved(tmp_path / "small.ckpt", **_named(""))
    with pytest.raises(InputError, match=r"unknown conv1\.weight"):
        _load(path, tmp_path, nn.Dense(2048, 10))


def test_what_is_missing_behind_a_prefix_is_named(tmp_path: Path) -> None:
    own = _named("module.")
    del own[f"module.{CONV}"]
    with pytest.raises(InputError, match=r"missing conv1\.weight \(8, 3, 3, 3\)$"):
        _load(_saved(tmp_path / "less.ckpt", **own), tmp_path)


def test_only_what_the_network_needs_must_be_finite(tmp_path: Path) -> None:
    own = _named("")
    _load(_saved(tmp_path / "inf.ckpt", **own, **{f"moments.{CONV}": own[CONV] * np.inf}), tmp_path)
    own[CONV][0] = np.nan
    with pytest.raises(InputError, match=r"conv1\.weight holds NaN"):
        _load(_saved(tmp_path / "nan.ckpt", **own), tmp_path)


# Which file it is.

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 94512345\n"

IS_PICKLE = "is a pickle that torch.save has not written"
PICKLED = ({"w": np.ones(3)}, OrderedDict(w=1.0), [1.0], np.ones(3), functools.partial(os.system, "true"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.ckpt", POINTER, "is a pointer of git-lfs, expected the file itself (94512345 bytes)"),
        ("model.pth", POINTER, "is a pointer of git-lfs"),
        ("model.pth", b"\x0a\x04abcd", "does not end in .ckpt"),
        ("model.h5", b"\x89HDF\r\n", "is an HDF5 file"),
        ("model.ckpt", b"\x1f\x8b\x08", "is compressed with gzip"),
        ("model.pth.tar", bytes(257) + b"ustar\0", "is a tar archive"),
        ("model.pkl", b"\x80\x04\x95", IS_PICKLE),
        *(("model.pth", pickle.dumps(value, protocol), IS_PICKLE) for protocol in range(5) for value in PICKLED),
        ("model.pth", b"(cos\nsystem\n(S'true'\ntR.", IS_PICKLE),
        ("model.pth", b"conv1.weight\nconv1.bias\nbn1.gamma\n", "does not end in .ckpt"),
        ("model.json", b'{"a": 1}', "is JSON"),
        ("model.safetensors.index.json", b'{"metadata": {"total_size": 1}}', "is the index of a checkpoint in several"),
    ],
)
def test_another_kind_of_file_is_refused_by_what_it_is(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (check_readable, lambda path: read_checkpoint(path, tmp_path)):
        with pytest.raises(InputError) as found:
            read(path)
        assert says in found.value.message
        assert "\n" not in found.value.message


def test_the_sum_is_that_of_what_was_loaded(trained: Path, tmp_path: Path) -> None:
    path, scratch = tmp_path / "mine.ckpt", tmp_path / "scratch"
    scratch.mkdir()
    content = trained.read_bytes()
    path.write_bytes(content)
    checkpoint: Checkpoint = read_checkpoint(path, scratch)
    path.write_bytes(b"another")
    first, again = Small(10), Small(10)
    checkpoint.load_into(first, model="small", num_classes=10)
    path.unlink()
    checkpoint.load_into(again, model="small", num_classes=10)
    assert (checkpoint.sha256, checkpoint.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert all(np.array_equal(value, _values(again)[name]) for name, value in _values(first).items())
