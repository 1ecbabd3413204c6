"""Loading a MindSpore checkpoint into a network, with the exact reason where it does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.download.sums import Summing
from amctq.errors import InputError, first_line
from amctq.files import blocks_of, reading, writing
from amctq.input_file import LoadedFile, refuse_pointer
from amctq.networks.checkpoint_content import DamagedCheckpointError, Shape, StoredTensor, read_tensors, shown
from amctq.networks.checkpoint_match import Match, match, without_wrapper
from amctq.networks.registry import REGISTRY
from amctq.signals import signals_held

_SUFFIX, _SAFETENSORS = ".ckpt", ".safetensors"
_AGAIN = "copy or download it again, and compare its checksum"
_DIVERGED = "the training run diverged or the file is damaged; use another checkpoint"
_VARIANCE = "moving_variance"  # of MindSpore's BatchNorm
_HEAD = 1024  # bytes that show what a file is
_SHOWN = 5  # differences that a message names; the others are counted


def check_readable(path: Path) -> None:
    """Refuse a file that cannot be a checkpoint, before MindSpore is imported.

    Raises:
        InputError: the file is missing, no regular file, unreadable, empty, or of another kind.
    """
    if not path.exists():
        message = f"no checkpoint at {path}"
        raise InputError(message, hint="check the path given with --ckpt")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no regular file"
        message = f"the checkpoint {path} is {found}, expected a .ckpt file"
        raise InputError(message, hint="give --ckpt the file itself")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        message = f"cannot read the checkpoint {path}: {error.strerror}"
        raise InputError(message, hint="check the file's permissions") from error
    if not head:
        message = f"the checkpoint {path} is empty"
        raise InputError(message, hint="copy or download it again")
    _check_kind(path, head)


def _check_kind(path: Path, head: bytes) -> None:
    """Refuse a file of another kind by what it is.

    Raises:
        InputError: it is a pointer of git-lfs, or no MindSpore checkpoint by its name or its first bytes.
    """
    refuse_pointer(head, f"the checkpoint {path}")
    is_safetensors = path.suffix == _SAFETENSORS or head[7:10] == b'\0{"'  # the length of the JSON before it
    if is_safetensors:
        message = f"{path} is a safetensors file, and amctq reads checkpoints only as {_SUFFIX} so far"
        hint = (
            f"convert it: mindspore.save_checkpoint(mindspore.load_checkpoint({path.name!r}, format='safetensors'), "
            f"{path.with_suffix(_SUFFIX).name!r})"
        )
        raise InputError(message, hint=hint)
    if head.startswith((b"PK\3\4", b"\x80\2")):
        message = f"{path} is a zip archive or a pickle, as PyTorch writes them, and not a MindSpore checkpoint"
        raise InputError(message, hint="convert its parameters to MindSpore's names, and save them as a .ckpt")
    if path.suffix != _SUFFIX:
        message = f"{path} does not end in {_SUFFIX}, as MindSpore's checkpoints do"
        raise InputError(message, hint="rename the file if it is a MindSpore checkpoint")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file, read once: the loaded content is the hashed content, even if the file changes later.

    Attributes:
        path: as the user gave it.
        copy: a copy of the file in a folder of the run.
        bytes: its size.
        sha256: of its content, lower-case hexadecimal.
        tensors: what it holds, by name; all are complete.
    """

    path: Path
    copy: Path
    bytes: int
    sha256: str
    tensors: Mapping[str, StoredTensor]

    @property
    def loaded(self) -> LoadedFile:
        """Which file it is, for a report."""
        return LoadedFile(path=self.path, bytes=self.bytes, sha256=self.sha256)

    def load_into(self, network: Any, *, model: str, num_classes: int) -> Match:
        """Load every parameter of ``network``.

        The state of an optimizer and the clips of a retrained network are passed over.

        Args:
            network: ``mindspore.nn.Cell``.
            model: its name, for messages.
            num_classes: the number it was built with, for messages.

        Returns:
            What was taken and what was passed over.

        Raises:
            InputError: the file holds NaN, infinity or a negative variance, or its parameters are not the network's.
        """
        import mindspore

        matched = self._matched(network, model=model, num_classes=num_classes)
        taken = set(matched.tags.values())
        try:
            with signals_held():  # MindSpore would report a signal's exception as a damaged file
                # Only what was checked and is needed: MindSpore would copy the others too.
                stored = mindspore.load_checkpoint(str(self.copy), choice_func=taken.__contains__)
            parameters = {name: stored[tag] for name, tag in matched.tags.items()}
        except Exception as error:
            message = f"MindSpore cannot read {self.path} ({self.bytes:,} bytes): {first_line(error)}"
            raise InputError(message, hint=_AGAIN) from error
        self._check_values(parameters)
        try:
            mindspore.load_param_into_net(network, parameters)
        except Exception as error:
            message = f"MindSpore cannot load {self.path} into {model}: {first_line(error)}"
            raise InputError(message, hint="the parameters have other types than the network's") from error
        return matched

    def _matched(self, network: Any, *, model: str, num_classes: int) -> Match:
        expected = _shapes(network)
        trained = [parameter.name for parameter in network.trainable_params()]
        try:
            matched = match(expected, trained, self.tensors)
        except InputError as error:
            message = f"{self.path} does not fit {model}: {error.message}"
            raise InputError(message, hint=error.hint) from error
        found = {name: self.tensors[tag].shape for name, tag in matched.tags.items()} | matched.unknown
        if found != expected:
            message = f"{self.path} does not fit {model} with {num_classes} classes: {_difference(found, expected)}"
            raise InputError(message, hint=_hint(found, expected))
        return matched

    def _check_values(self, parameters: Mapping[str, Any]) -> None:
        import numpy as np

        for name, parameter in parameters.items():
            with np.errstate(over="ignore"):  # float64 may be beyond float32, which the network has
                values = parameter.asnumpy().astype(np.float32)
            if not np.isfinite(values).all():
                message = f"{self.path}: parameter {name} holds NaN or infinity"
                raise InputError(message, hint=_DIVERGED)
            if name.rpartition(".")[2] == _VARIANCE and (values < 0).any():  # runtimes disagree about its root
                message = f"{self.path}: parameter {name} holds negative variances"
                raise InputError(message, hint=_DIVERGED)


def read_checkpoint(path: Path, scratch: Path) -> Checkpoint:
    """Read a checkpoint file, copy it for MindSpore, and check every tensor in the copy.

    Args:
        path: the file.
        scratch: folder for the copy.

    Raises:
        InputError: the file cannot be read, is of another kind, or is damaged.
        WriteError: there is no room for the copy.
    """
    copy, summing = scratch / f"checkpoint{_SUFFIX}", Summing(md5=False)
    with writing(scratch), copy.open("wb") as target:
        for block in _blocks(path):
            if summing.bytes == 0:
                _check_kind(path, block)
            summing.add(block)
            target.write(block)
    sums = summing.sums()
    try:
        tensors = read_tensors(copy.read_bytes())
    except DamagedCheckpointError as defect:
        message = f"{path} is damaged or not a MindSpore checkpoint ({sums.bytes:,} bytes): {defect}"
        raise InputError(message, hint=_AGAIN) from defect
    return Checkpoint(path=path, copy=copy, bytes=sums.bytes, sha256=sums.sha256, tensors=tensors)


def _blocks(path: Path) -> Iterator[bytes]:
    with reading(f"--ckpt {path}"):
        yield from blocks_of(path)


def _shapes(network: Any) -> dict[str, Shape]:
    return {parameter.name: tuple(parameter.shape) for parameter in network.get_parameters()}


def _difference(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str:
    missing = [f"missing {name} {shape}" for name, shape in expected.items() if name not in found]
    unknown = [f"unknown {shown(name)} {shape}" for name, shape in found.items() if name not in expected]
    reshaped = [
        f"{name} is {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    parts = []
    for differences in filter(None, (reshaped, missing, unknown)):
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        parts.append(", ".join(differences[:_SHOWN]) + more)
    return "; ".join(parts)


def _hint(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str:
    plain = without_wrapper(found)
    head = plain.get("end_point.bias")
    classes = head[0] if head else 10
    if head and plain.keys() == expected.keys() and head != expected.get("end_point.bias"):
        return f"the checkpoint has {classes} classes: pass --num-classes {classes}"
    for spec in REGISTRY.values():
        if spec.parameters == len(plain) and _shapes(spec.build(classes)) == plain:
            return f"this checkpoint fits --model {spec.name} --num-classes {classes}"
    return "no model that amctq knows has these parameters; check --model"
