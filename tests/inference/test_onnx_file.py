"""ONNX files that a user names: weights in files beside them, and damage of every kind."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from amctq.errors import InputError
from amctq.inference.onnx_file import read_onnx
from amctq.inference.session import UserFileSession
from tests.arrays import image_spec, logits_of
from tests.byte_mutations import byte_mutations
from tests.mutations import mutation_count

MUTATIONS = mutation_count(400)
IMAGES = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)


def _model(seed: int) -> onnx.ModelProto:
    """Flatten and Gemm on images 3 x 4 x 4."""
    draw = np.random.default_rng(seed)
    weight = numpy_helper.from_array(draw.normal(size=(48, 5)).astype(np.float32), "weight")
    bias = numpy_helper.from_array(draw.normal(size=5).astype(np.float32), "bias")
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5])],
        [weight, bias],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _saved(folder: Path, seed: int, name: str = "model.onnx") -> Path:
    """The model with its weights in ``weights.bin``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    onnx.save(_model(seed), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def _edited(path: Path, change: Callable[[onnx.TensorProto], None]) -> Path:
    """The same file with a change of its first weight."""
    model = onnx.load(path, load_external_data=False)
    change(model.graph.initializer[0])
    path.write_bytes(model.SerializeToString())
    return path


def _set(key: str, value: str | None) -> Callable[[onnx.TensorProto], None]:
    def change(tensor: onnx.TensorProto) -> None:
        entries = {item.key: item.value for item in tensor.external_data if item.key != key}
        del tensor.external_data[:]
        for name, text in (entries | ({} if value is None else {key: value})).items():
            tensor.external_data.add(key=name, value=text)

    return change


def test_weights_come_from_the_folder_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _saved(tmp_path / "mine", 1)
    _saved(tmp_path / "other", 2)
    monkeypatch.chdir(tmp_path / "other")
    for given in (path, Path("../mine/model.onnx")):
        file = read_onnx(given, option="--onnx")
        logits = logits_of(file.session(), IMAGES)
        weight, bias = map(numpy_helper.to_array, _model(1).graph.initializer)
        expected = IMAGES.reshape(2, -1) @ weight + bias
        assert logits == pytest.approx(expected, rel=1e-5)
        assert [item.path.name for item in file.loaded] == ["model.onnx", "weights.bin"]
        for item in file.loaded:
            content = item.path.read_bytes()
            assert (item.bytes, item.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_right_checksum_is_taken(tmp_path: Path) -> None:
    path = _saved(tmp_path, 1)
    sha1 = hashlib.sha1((tmp_path / "weights.bin").read_bytes()).hexdigest()
    before = logits_of(read_onnx(path, option="--onnx").session(), IMAGES)
    assert np.array_equal(
        logits_of(read_onnx(_edited(path, _set("checksum", sha1.upper())), option="--onnx").session(), IMAGES), before
    )


def test_a_weight_may_have_a_file_of_its_own_in_a_folder_below(tmp_path: Path) -> None:
    path = _saved(tmp_path, 1)
    content = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "weight").write_bytes(content[: 48 * 5 * 4])

    def alone(tensor: onnx.TensorProto) -> None:
        for key, value in (("location", "parts/weight"), ("offset", None), ("length", None)):
            _set(key, value)(tensor)

    before = logits_of(read_onnx(path, option="--onnx").session(), IMAGES)
    assert np.array_equal(logits_of(read_onnx(_edited(path, alone), option="--onnx").session(), IMAGES), before)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("location", "../weights.bin"), "expected a file in the model's folder"),
        (_set("location", "/etc/hostname"), "expected a file in the model's folder"),
        (_set("location", "inside/../../weights.bin"), "expected a file in the model's folder"),
        (_set("location", ""), "expected a file in the model's folder"),
        (_set("location", None), "expected a file in the model's folder"),
        (_set("location", "a\0b"), "expected a file in the model's folder"),
        (_set("location", "*/_ORT_MEM_ADDR_/*"), "cannot read"),
        (_set("location", "link.bin"), "a link out of the model's folder"),
        (_set("location", "folder/weights.bin"), "a link out of the model's folder"),
        (_set("location", "circle"), "circle"),
        (_set("location", "none.bin"), "none.bin: No such file"),
        (_set("location", "queue"), "queue: it is a named pipe (FIFO)"),
        (_set("location", "pointer.bin"), "pointer.bin is a pointer of git-lfs"),
        (_set("location", "short.bin"), "960 bytes at 0 of a file of 500 bytes, expected 960"),
        (_set("length", "956"), "956 bytes at 0 of a file of 980 bytes, expected 960"),
        (_set("length", None), "980 bytes at 0 of a file of 980 bytes, expected 960"),
        (_set("length", "-1"), "the length of its external data is '-1'"),
        (_set("offset", "9" * 5000), "expected a number of bytes"),
        (_set("offset", "100"), "960 bytes at 100 of a file of 980 bytes"),
        (_set("checksum", "0" * 40), "expected 0000000000000000000000000000000000000000"),
        (_set("checksum", ""), "the SHA-1 of"),
        (lambda tensor: tensor.dims.append(1 << 40), "expected 1,055,531,162,664,960"),
        (lambda tensor: tensor.dims.append(-1), "no external data can hold that"),
        (lambda tensor: setattr(tensor, "data_type", TensorProto.STRING), "no external data can hold that"),
        (lambda tensor: setattr(tensor, "data_type", 77), "no external data can hold that"),
    ],
)
def test_external_data_lie_in_the_folder_and_have_their_size(
    change: Callable[[onnx.TensorProto], None], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    path = _saved(folder, 1)
    _saved(tmp_path, 2)
    (folder / "short.bin").write_bytes(bytes(500))
    (folder / "pointer.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 980\n")
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "queue")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as found:
        read_onnx(_edited(path, change), option="--onnx")
    assert says in found.value.message
    assert found.value.message.startswith(str(path))


@pytest.mark.parametrize(
    ("rest", "refused"), [(b"", False), (bytes(100), False), (b"\0\1", True), (bytes(1 << 16), True)]
)
def test_external_data_have_no_more_than_the_tensors(rest: bytes, refused: bool, tmp_path: Path) -> None:
    """Zeros that fill up a page are no data."""
    path, weights = _saved(tmp_path, 1), tmp_path / "weights.bin"
    weights.write_bytes(weights.read_bytes() + rest)
    if refused:
        with pytest.raises(InputError, match=rf"weights\.bin have {len(rest):,} bytes after the 980 of its tensors"):
            read_onnx(path, option="--onnx")
    else:
        assert read_onnx(path, option="--onnx").session()


@pytest.mark.parametrize(("key", "refused"), [("amctq.preprocessing", True), ("author", False)])
def test_duplicate_keys_of_metadata(key: str, refused: bool, tmp_path: Path) -> None:
    """Readers differ in which of the two they take; what amctq does not read is no matter."""
    model = _model(1)
    for value in ("one", "two"):
        model.metadata_props.add(key=key, value=value)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    if refused:
        with pytest.raises(InputError, match=f"model.onnx: its metadata have a duplicate key: {key}"):
            read_onnx(path, option="--onnx")
    else:
        assert read_onnx(path, option="--onnx").session()


def test_no_damage_breaks_the_reader(tmp_path: Path) -> None:
    """What is still a model may run; whatever else it is, it is refused."""
    path, refused = tmp_path / "mutated.onnx", 0
    for content in byte_mutations(_model(1).SerializeToString(), seed=15, number=MUTATIONS):
        path.write_bytes(content)
        try:
            session = read_onnx(path, option="--onnx").session()
            session.check_input(image_spec(3, 4, 4))
            logits_of(UserFileSession(session, path), IMAGES)
        except InputError:
            refused += 1
    assert MUTATIONS / 4 < refused < MUTATIONS
