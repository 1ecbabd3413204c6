"""Which format a checkpoint has: told by its first bytes, and by its name only where these say nothing."""

from __future__ import annotations

import re
import zipfile
from enum import Enum
from pathlib import Path

from amctq.errors import InputError
from amctq.input_file import refuse_pointer
from amctq.networks.tensor_file import TensorFile

HEAD = 1024  # bytes that show what a file is
SUFFIXES = ".ckpt, .safetensors, .npz, .pth, .pt"
_CKPT, _SAFETENSORS = ".ckpt", ".safetensors"
_TAR = slice(257, 262)  # where a tar archive says so
_STREAM = b"\x80\x02\x8a\n"  # torch.save before 1.6 begins with a number of ten bytes
# How a pickle begins: from protocol 2 on with its number; before, with what it holds: a call, or a container.
_PICKLE = re.compile(rb"\x80[\0-\x05]|\(*c[\w.]+\n[\w.]+\n(p\d+\n|q.|[()])|(\([dl]|\]|\})(p\d+\n|q.)", re.DOTALL)
_SHARD = re.compile(r"\d{5}-of-(\d{5})")
_TENSORS = "in PyTorch: torch.save(model.state_dict(), 'weights.pth')"
# Formats that amctq does not read, by their first bytes.
_OTHERS = (
    (b"\x89HDF", "an HDF5 file, as Keras writes it", "save the weights with numpy.savez(path, **tensors)"),
    (b"GGUF", "a GGUF file, whose weights are quantized already", "give the float weights"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it: gzip -d"),
    (b"BZh", "compressed with bzip2", "unpack it: bzip2 -d"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it: xz -d"),
)


class Format(Enum):
    """A format of checkpoints; the value is its name for people."""

    MINDSPORE = "MindSpore"
    SAFETENSORS = "safetensors"
    ZIP = "PyTorch or NumPy"  # PyTorch's or NumPy's: the directory at its end says which
    STREAM = "PyTorch"


def kind_of(path: Path, head: bytes) -> Format:
    """The format of a file.

    Args:
        path: the file.
        head: its first bytes.

    Raises:
        InputError: it is a pointer of git-lfs, or no checkpoint by its first bytes or its name.
    """
    refuse_pointer(head, f"the checkpoint {path}")
    if head.startswith(b"PK\3\4"):
        return Format.ZIP
    if head.startswith(_STREAM):
        return Format.STREAM
    if head[7:10] == b'\0{"':  # the length of the JSON before it
        return Format.SAFETENSORS
    _refuse_others(path, head)
    if path.suffix == _SAFETENSORS:
        return Format.SAFETENSORS
    if path.suffix != _CKPT:
        message = (
            f"{path} does not end in {_CKPT}, as MindSpore's checkpoints do, and its first bytes are of no other kind"
        )
        hint = f"rename the file if it is a MindSpore checkpoint; else give one of {SUFFIXES}"
        raise InputError(message, hint=hint)
    return Format.MINDSPORE


def _refuse_others(path: Path, head: bytes) -> None:
    _refuse_index(path, head)
    for begin, what, hint in _OTHERS:
        if head.startswith(begin):
            message = f"{path} is {what}, expected a checkpoint ({SUFFIXES})"
            raise InputError(message, hint=hint)
    if head[_TAR] == b"ustar":
        message = f"{path} is a tar archive, expected a checkpoint ({SUFFIXES})"
        hint = f"unpack it; or, if PyTorch before 0.2 wrote it, load it and save it again {_TENSORS}"
        raise InputError(message, hint=hint)
    if _PICKLE.match(head):
        message = f"{path} is a pickle that torch.save has not written, and amctq runs none"
        raise InputError(message, hint=f"{_TENSORS}; or save arrays with numpy.savez(path, **arrays)")


def _refuse_index(path: Path, head: bytes) -> None:
    if head.lstrip()[:1] == b"{":
        is_index = b"weight_map" in head or b"total_size" in head or ".index" in path.suffixes
        what = "the index of a checkpoint in several files" if is_index else "JSON"
        message = f"{path} is {what}, expected a checkpoint in one file ({SUFFIXES})"
        raise InputError(message, hint=_join("*.safetensors") if is_index else "give the file with the weights")


def _join(pattern: str) -> str:
    return (
        "join the files: safetensors.numpy.save_file({name: tensor for file in sorted(pathlib.Path('.')"
        f".glob({pattern!r})) for name, tensor in safetensors.numpy.load_file(file).items()}}, 'joined.safetensors')"
    )


def one_of_several(path: Path) -> str | None:
    """How to join the files of a checkpoint, of which this is one by its name; None where it is whole."""
    found = _SHARD.search(path.name)
    return None if found is None or int(found[1]) < 2 else _join(f"*{path.suffix}")


def open_tensors(path: Path, copy: Path, kind: Format) -> TensorFile:
    """The tensors of a file.

    Args:
        path: what messages call it.
        copy: where it is read.
        kind: its format.

    Raises:
        CheckpointError: it is damaged, or of a kind that amctq does not read.
        InputError: the same of an ``.npz`` file.
    """
    if kind is Format.MINDSPORE:
        from amctq.networks.mindspore_file import MindSporeFile

        return MindSporeFile(copy)
    if kind is Format.SAFETENSORS:
        from amctq.networks.safetensors_file import SafetensorsFile

        return SafetensorsFile(copy)
    if kind is Format.ZIP and _is_npz(copy):
        from amctq.networks.npz_tensors import NpzTensors

        return NpzTensors(copy, str(path))
    from amctq.networks.torch_file import TorchFile

    return TorchFile(copy)


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged, which PyTorch's reader says
        return False
    return any(name.endswith(".npy") for name in names) and not any(name.endswith("data.pkl") for name in names)
