"""Files of torch.save, read without PyTorch: real ones of every kind; malicious, damaged, endless ones refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.networks import torch_pickle, torch_tensors
from amctq.networks.checkpoint import check_readable, read_checkpoint
from amctq.networks.tensor_file import CheckpointError, DamagedCheckpointError
from amctq.networks.torch_file import MAGIC, TorchFile
from tests.byte_mutations import byte_mutations
from tests.mutations import mutation_count

FILES = Path(__file__).parent / "torch_files"
MUTATIONS = mutation_count(400)
NAMES = (
    *("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked"),
    *("fc.weight", "fc.bias"),
)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray[Any, Any]]:
    """What PyTorch itself said of the tensors in these files."""
    with np.load(FILES / "values.npz") as values:
        return {name: values[name] for name in values.files}


def _read(path: Path, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    file = TorchFile(path)
    wanted = [name for name in file.tensors if name.startswith(prefix)]
    values = file.read(wanted)
    assert all(values[name].shape == file.tensors[name].shape for name in wanted)
    return {name.removeprefix(prefix): value for name, value in values.items()}


def _same(found: dict[str, np.ndarray[Any, Any]], expected: dict[str, np.ndarray[Any, Any]]) -> bool:
    return all(
        found[name].dtype == expected[name].dtype and np.array_equal(found[name], expected[name]) for name in found
    )


@pytest.mark.parametrize("name", ["state", "legacy", "protocol4", "parameters"])
def test_the_tensors_are_those_of_pytorch(name: str, expected: dict[str, np.ndarray[Any, Any]]) -> None:
    found = _read(FILES / f"{name}.pth")
    assert tuple(found) == NAMES
    assert _same(found, expected)


@pytest.mark.parametrize("name", ["views", "views_legacy"])
def test_strides_offsets_and_shared_storages(name: str, expected: dict[str, np.ndarray[Any, Any]]) -> None:
    """All tensors lie in one storage, with gaps between the elements, and their axes in the other order."""
    found = _read(FILES / f"{name}.pth")
    assert set(found) == set(NAMES) - {"bn.num_batches_tracked"}
    assert _same(found, expected)
    assert all(value.flags.c_contiguous for value in found.values())


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_other_types(kind: str, expected: dict[str, np.ndarray[Any, Any]]) -> None:
    found = _read(FILES / f"{kind}.pth")
    assert found["conv.weight"].dtype == ("float32" if kind == "bfloat16" else kind)
    epsilon = {"bfloat16": 2**-8, "float16": 2**-10, "float64": 0}[kind]
    assert all(np.allclose(value, expected[name], rtol=epsilon, atol=epsilon) for name, value in found.items())
    if kind == "bfloat16":  # no bit below the upper half
        assert not (found["conv.weight"].view(np.uint32) & 0xFFFF).any()


def test_what_a_run_keeps_beside_its_tensors_is_left_unmade(expected: dict[str, np.ndarray[Any, Any]]) -> None:
    found = _read(FILES / "run.pth", "state_dict.module.")
    assert tuple(found) == NAMES
    assert _same(found, expected)
    assert {"rng_state", "optimizer.state.0.exp_avg"} <= set(TorchFile(FILES / "run.pth").tensors)


REFUSED = {
    "module.pth": "holds a whole pickled module of class __main__.Net, expected tensors by name",
    "module_legacy.pth": "holds a whole pickled module of class __main__.Net",
    "module_in_run.pth": "holds no tensor by name; model in it is a whole pickled __main__.Net",
    "script.pt": "is a TorchScript archive",
    "tensor.pth": "holds a tensor without a name",
    "no_tensor.pth": "holds no tensor by name",
    "malicious.pth": "holds a call of posix.system",
    "malicious_legacy.pth": "holds a call of builtins.eval",
    "calls.pth": "holds a call of builtins.print",
    "plain.pkl": "is a pickle that torch.save has not written",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_what_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as found:
        read_checkpoint(FILES / name, tmp_path)
    assert REFUSED[name] in found.value.message
    assert found.value.hint
    assert not (tmp_path / "owned").exists()


def test_a_sparse_tensor_is_no_number() -> None:
    file = TorchFile(FILES / "sparse.pth")
    assert not file.tensors["fc.weight"].is_number
    assert file.tensors["fc.bias"].is_number


# What is made to break a reader.


def _zipped(path: Path, content: bytes, *, storage: bytes = bytes(16), compress: int = zipfile.ZIP_STORED) -> Path:
    """An archive as torch.save writes it, with another pickle."""
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/byteorder", "little")
        archive.writestr("x/data/0", storage)
    return path


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _whole(number: int) -> bytes:
    return pickle.dumps(number, protocol=2)[2:-1]


def _tensor(
    *, elements: int = 4, offset: int = 0, shape: tuple[int, ...] = (2, 2), strides: tuple[int, ...] = (2, 1)
) -> bytes:
    """A tensor in a storage, as torch.save pickles it."""
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu") + _whole(elements) + b"tQ"
    axes = [b"(" + b"".join(map(_whole, numbers)) + b"t" for numbers in (shape, strides)]
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _whole(offset) + b"".join(axes) + b"\x89}tR"


def _state(tensor: bytes) -> bytes:
    return b"\x80\x02}" + _text("w") + tensor + b"s."


def test_the_pickles_of_these_tests_are_right(tmp_path: Path) -> None:
    values = np.arange(4, dtype=np.float32)
    found = _read(_zipped(tmp_path / "right.pth", _state(_tensor()), storage=values.tobytes()))
    assert np.array_equal(found["w"], values.reshape(2, 2))
    found = _read(_zipped(tmp_path / "t.pth", _state(_tensor(strides=(1, 2))), storage=values.tobytes()))
    assert np.array_equal(found["w"], values.reshape(2, 2).T)


DAMAGED = {
    "negative-size": _tensor(shape=(-2, 2)),
    "huge-size": _tensor(shape=(1 << 62, 1 << 62)),
    "endless-size": _tensor(shape=(10**5000,), strides=(1,)),
    "negative-stride": _tensor(strides=(-2, 1)),
    "negative-offset": _tensor(offset=-1),
    "beyond-by-offset": _tensor(offset=1),
    "beyond-by-stride": _tensor(strides=(3, 1)),
    "beyond-by-shape": _tensor(shape=(2, 3)),
    "storage-too-long": _tensor(elements=5),
    "storage-too-short": _tensor(elements=3, shape=(1,), strides=(1,)),
    "storage-negative": _tensor(elements=-4),
    "storage-endless": _tensor(elements=10**400),
    "fewer-strides": _tensor(strides=(1,)),
    "many-axes": _tensor(shape=(1,) * 100, strides=(1,) * 100),
    "no-storage": b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00)(K\x01t\x89}tR",
    "no-arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
}


@pytest.mark.parametrize("defect", DAMAGED)
def test_no_tensor_goes_beyond_its_storage(defect: str, tmp_path: Path) -> None:
    path = _zipped(tmp_path / "damaged.pth", _state(DAMAGED[defect]))
    with pytest.raises(DamagedCheckpointError) as found:
        TorchFile(path)
    assert len(str(found.value)) < 400


BOMBS = {
    "lists-in-lists": b"\x80\x02}" + _text("w") + b"]q\x000" + b"".join(
        b"](h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1]) + b"0" for level in range(100)
    ) + b"h\x64s.",
    "hash-of-tuples": b"\x80\x02}" + b")q\x000" + b"".join(
        b"h" + bytes([level]) + b"h" + bytes([level]) + b"\x86q" + bytes([level + 1]) + b"0" for level in range(100)
    ) + b"h\x64K\x01s.",
    "deep": b"\x80\x02}" + _text("w") + b"]" * 100_000 + b"a" * 99_999 + b"s.",
    "itself": b"\x80\x02}q\x00" + _text("w") + b"h\x00s.",
    "many-steps": b"\x80\x02}" + b"N0" * 20_000 + b".",
    "wide-lists": b"\x80\x02}" + _text("w") + b"]q\x000" + b"".join(
        b"](" + 10 * (b"h" + bytes([level])) + b"eq" + bytes([level + 1]) + b"0" for level in range(20)
    ) + b"h\x14s.",
    "copied-lists": b"\x80\x02](" + b"N" * 10_000 + b"eq\x000ctorch\nSize\nq\x010" + b"h\x01(h\x00tR0" * 1000 + b"}.",
    "long-names": b"\x80\x02}(" + _text("a" * 100_000) + b"q\x00]" + b"h\x00]" * 1000 + b"u.",
    "long-text": b"\x80\x02\x8d" + struct.pack("<Q", 1 << 40) + b"a.",
    "long-number": b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"a.",
    "no-stop": b"\x80\x02}",
    "nothing-on-the-stack": b"\x80\x02sss.",
    "extension": b"\x80\x02\x82\x01.",
    "out-of-band": b"\x80\x05\x97.",
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "_MOST_STEPS", 30_000)  # the real ones take seconds
    monkeypatch.setattr(torch_tensors, "_MOST_VISITS", 30_000)
    with pytest.raises(CheckpointError):
        TorchFile(_zipped(tmp_path / "bomb.pth", BOMBS[kind]))


CALLS = {
    "reduce": b"cnumpy\nload\n(" + _text("x") + b"tR",
    "stack-global": _text("os") + _text("system") + b"\x93(" + _text("touch owned") + b"tR",
    "instance": b"(" + _text("touch owned") + b"ios\nsystem\n",
    "object": b"(cshutil\nrmtree\n" + _text(".") + b"o",
    "new-object": b"csubprocess\nPopen\n(" + _text("touch owned") + b"t\x81",
    "getattr": b"cbuiltins\ngetattr\n(cbuiltins\nint\n" + _text("real") + b"tR",
    "named-only": b"cposix\nsystem\n",
    "other-torch": b"ctorch.hub\nload\n(" + _text("x") + b"tR",
    "nested-name": _text("torch._utils") + _text("sys.modules") + b"\x93)R",
    "object-called": b"cmine\nClass\n)\x81)R",
    "python-2": b"c__builtin__\neval\n(" + _text("1") + b"tR",
}


@pytest.mark.parametrize("call", CALLS)
def test_no_call_is_made(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _zipped(tmp_path / "hostile.pth", b"\x80\x04}(" + _text("w") + _tensor() + _text("x") + CALLS[call] + b"u.")
    with pytest.raises(CheckpointError, match=r"holds a call of [\w.]+, which no tensor needs; it was not called"):
        TorchFile(path)
    stream = MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + b"\x80\x04" + CALLS[call] + b"."
    (tmp_path / "stream.pth").write_bytes(stream)
    with pytest.raises(CheckpointError, match="it was not called"):
        TorchFile(tmp_path / "stream.pth")
    assert not (tmp_path / "owned").exists()


def test_an_archive_that_is_compressed_is_refused(tmp_path: Path) -> None:
    path = _zipped(tmp_path / "zip.pth", _state(_tensor()), compress=zipfile.ZIP_DEFLATED, storage=bytes(1 << 24))
    with pytest.raises(CheckpointError, match="has the compressed member"):
        TorchFile(path)


def test_an_archive_with_a_changed_storage_is_refused(tmp_path: Path) -> None:
    content = (FILES / "state.pth").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
        stored = archive.read(info)
    changed = tmp_path / "changed.pth"
    changed.write_bytes(content.replace(stored[:16], bytes(16), 1))
    with pytest.raises(DamagedCheckpointError, match="CRC"):
        TorchFile(changed)


@pytest.mark.parametrize("name", ["state.pth", "legacy.pth", "run.pth"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_cut_off_file_is_refused(name: str, share: float, tmp_path: Path) -> None:
    content = (FILES / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"is damaged or not a PyTorch (or NumPy )?checkpoint .* bytes\)"):
        read_checkpoint(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["state.pth", "legacy.pth", "views.pth", "run.pth"])
def test_no_damage_breaks_the_reader(name: str, tmp_path: Path) -> None:
    _try_mutations(name, (FILES / name).read_bytes(), tmp_path, lambda content: content)


def test_no_damage_of_a_pickle_breaks_the_reader(tmp_path: Path) -> None:
    """The archive around it is whole: without that, its CRC would hide most damages."""
    with zipfile.ZipFile(FILES / "run.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))

    def repacked(content: bytes) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, member in (members | {pickled: content}).items():
                archive.writestr(name, member)
        return packed.getvalue()

    _try_mutations("run.pth", members[pickled], tmp_path, repacked)


def _try_mutations(name: str, content: bytes, tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    path, scratch, refused = tmp_path / name, tmp_path / "scratch", 0
    scratch.mkdir()
    for damaged in byte_mutations(content, seed=17, number=MUTATIONS):
        path.write_bytes(packed(damaged))
        try:
            check_readable(path)
            file = read_checkpoint(path, scratch).file
            file.read([tag for tag, tensor in file.tensors.items() if tensor.is_number])
        except (InputError, CheckpointError):
            refused += 1
        (scratch / "checkpoint").unlink(missing_ok=True)
    assert refused > MUTATIONS / 4
