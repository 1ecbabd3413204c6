"""Loading a MindSpore checkpoint into a network, with the exact reason where it does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.download.sums import Summing
from amctq.errors import InputError, first_line
from amctq.files import blocks_of, reading, writing
from amctq.networks.registry import REGISTRY
from amctq.signals import signals_held

# State of MindSpore's training callbacks and optimizers, and of amctq's training, that a checkpoint may also hold.
_TRAINING_STATE = frozenset(
    "learning_rate global_step epoch_num step_num loss_scale momentum current_iterator_step".split()
)
_TRAINING_STATE_PREFIXES = ("moments.", "momentum.", "accum.", "moment1.", "moment2.", "stat.", "scale_sense", "amctq.")
_TRAINING_STATE_SUFFIXES = (".clip_max", ".clip_min")  # of amctq's retraining; the record holds them
_SUFFIX = ".ckpt"
_SHOWN = 5  # differences that a message names; the others are counted


def check_readable(path: Path) -> None:
    """Refuse a file that cannot be a checkpoint, before MindSpore is imported.

    Raises:
        InputError: the file is missing, a folder, unreadable or empty.
    """
    if not path.exists():
        message = f"no checkpoint at {path}"
        raise InputError(message, hint="check the path given with --ckpt")
    if not path.is_file():
        message = f"the checkpoint {path} is a folder, expected a .ckpt file"
        raise InputError(message, hint="give --ckpt the file itself")
    try:
        path.open("rb").close()
    except OSError as error:
        message = f"cannot read the checkpoint {path}: {error.strerror}"
        raise InputError(message, hint="check the file's permissions") from error
    if path.stat().st_size == 0:
        message = f"the checkpoint {path} is empty"
        raise InputError(message, hint="copy or download it again")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file, read once: the loaded content is the hashed content, even if the file changes later.

    Attributes:
        path: as the user gave it.
        copy: a copy of the file in a folder of the run.
        bytes: its size.
        sha256: of its content, lower-case hexadecimal.
    """

    path: Path
    copy: Path
    bytes: int
    sha256: str

    def load_into(self, network: Any, *, model: str, num_classes: int) -> None:
        """Load every parameter of ``network``.

        The state of an optimizer and the clips of a retrained network are ignored.

        Args:
            network: ``mindspore.nn.Cell``.
            model: its name, for messages.
            num_classes: the number it was built with, for messages.

        Raises:
            InputError: the file is damaged, holds NaN or infinity, or its parameters are not the network's.
        """
        import mindspore

        try:
            with signals_held():  # MindSpore would report a signal's exception as a damaged file
                parameters = mindspore.load_checkpoint(str(self.copy))
        except Exception as error:
            message = f"{self.path} is damaged or not a MindSpore checkpoint ({self.bytes:,} bytes)"
            raise InputError(message, hint="copy or download it again, and compare its checksum") from error
        _check_parameters(parameters, network, path=self.path, model=model, num_classes=num_classes)
        try:
            mindspore.load_param_into_net(network, parameters)
        except Exception as error:
            message = f"MindSpore cannot load {self.path} into {model}: {first_line(error)}"
            raise InputError(message, hint="the parameters have other types than the network's") from error


def read_checkpoint(path: Path, scratch: Path) -> Checkpoint:
    """Read a checkpoint file, and copy it for MindSpore.

    Args:
        path: the file.
        scratch: folder for the copy.

    Raises:
        InputError: the file's name does not end in ``.ckpt``, or the file cannot be read.
        WriteError: there is no room for the copy.
    """
    if path.suffix != _SUFFIX:
        message = f"{path} does not end in {_SUFFIX}, and MindSpore reads no other name"
        raise InputError(message, hint="rename the file if it is a MindSpore checkpoint")
    copy, summing = scratch / f"checkpoint{_SUFFIX}", Summing(md5=False)
    with writing(scratch), copy.open("wb") as target:
        for block in _blocks(path):
            summing.add(block)
            target.write(block)
    sums = summing.sums()
    return Checkpoint(path=path, copy=copy, bytes=sums.bytes, sha256=sums.sha256)


def _blocks(path: Path) -> Iterator[bytes]:
    with reading(f"--ckpt {path}"):
        yield from blocks_of(path)


def _check_parameters(parameters: Mapping[str, Any], network: Any, *, path: Path, model: str, num_classes: int) -> None:
    import numpy as np

    expected = _shapes(network)
    found = {
        name: tuple(value.shape)
        for name, value in parameters.items()
        if name in expected or not _is_training_state(name)
    }
    if found != expected:
        message = f"{path} does not fit {model} with {num_classes} classes: {_difference(found, expected)}"
        raise InputError(message, hint=_hint(found, expected))
    for name in expected:
        if not np.isfinite(parameters[name].asnumpy()).all():
            message = f"{path}: parameter {name} holds NaN or infinity"
            raise InputError(message, hint="the training run diverged or the file is damaged; use another checkpoint")


def _shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {parameter.name: tuple(parameter.shape) for parameter in network.get_parameters()}


def _is_training_state(name: str) -> bool:
    return (
        name in _TRAINING_STATE or name.startswith(_TRAINING_STATE_PREFIXES) or name.endswith(_TRAINING_STATE_SUFFIXES)
    )


def _difference(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    missing = [f"missing {name} {shape}" for name, shape in expected.items() if name not in found]
    unknown = [f"unknown {name} {shape}" for name, shape in found.items() if name not in expected]
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


def _hint(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    head = found.get("end_point.bias")
    classes = head[0] if head else 10
    if head and found.keys() == expected.keys() and head != expected.get("end_point.bias"):
        return f"the checkpoint has {classes} classes: pass --num-classes {classes}"
    for spec in REGISTRY.values():
        if spec.parameters == len(found) and _shapes(spec.build(classes)) == found:
            return f"this checkpoint fits --model {spec.name} --num-classes {classes}"
    return "no model that amctq knows has these parameters; check --model"
