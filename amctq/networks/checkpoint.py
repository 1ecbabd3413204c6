"""Loading a MindSpore checkpoint into a network, or saying exactly why it does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.download.sums import Summing
from amctq.errors import InputError, first_line
from amctq.files import reading, writing
from amctq.networks.registry import REGISTRY
from amctq.signals import signals_held

# What MindSpore's training callbacks and optimizers, and amctq's training, store beside the network's own parameters.
_TRAINING_STATE = frozenset(
    {
        "learning_rate",
        "global_step",
        "epoch_num",
        "step_num",
        "loss_scale",
        "momentum",
        "current_iterator_step",
    }
)
_TRAINING_STATE_PREFIXES = ("moments.", "momentum.", "accum.", "moment1.", "moment2.", "stat.", "scale_sense", "amctq.")
_TRAINING_STATE_SUFFIXES = (".clip_max", ".clip_min")  # of amctq's own retraining, which the record holds
_SUFFIX = ".ckpt"
_BLOCK = 1 << 20
_SHOWN = 5  # differences named in a message; the rest is counted


def check_readable(path: Path) -> None:
    """Refuse a checkpoint that cannot be one, before MindSpore is imported.

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
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        message = f"cannot read the checkpoint {path}: {error.strerror}"
        raise InputError(message, hint="check the file's permissions") from error
    if empty:
        message = f"the checkpoint {path} is empty"
        raise InputError(message, hint="copy or download it again")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file, read once: what is hashed is what is loaded, whatever becomes of the file meanwhile.

    Attributes:
        path: what the user calls it.
        copy: its content, in a folder of the run's own.
        bytes: its size.
        sha256: of its content.
    """

    path: Path
    copy: Path
    bytes: int
    sha256: str

    def load_into(self, network: Any, *, model: str, num_classes: int) -> None:
        """Load every parameter of ``network``.

        Optimizer state that is stored with a training run is left aside, and so are the clips of a retrained network.

        Args:
            network: ``mindspore.nn.Cell``.
            model: its name, for messages.
            num_classes: that it was built with, for messages.

        Raises:
            InputError: the file is damaged, holds NaN or infinity, or its parameters are not the network's.
        """
        import mindspore

        try:
            with signals_held():  # MindSpore takes whatever is raised meanwhile for a damaged file, and says so
                parameters = mindspore.load_checkpoint(str(self.copy))
        except Exception as error:
            message = f"{self.path} is damaged or not a MindSpore checkpoint ({self.bytes:,} bytes)"
            raise InputError(message, hint="copy or download it again, and compare its checksum") from error
        _refuse_other(parameters, network, path=self.path, model=model, num_classes=num_classes)
        try:
            mindspore.load_param_into_net(network, parameters)
        except Exception as error:
            message = f"MindSpore cannot load {self.path} into {model}: {first_line(error)}"
            raise InputError(message, hint="the parameters have other types than the network's") from error


def read_checkpoint(path: Path, scratch: Path) -> Checkpoint:
    """Read a checkpoint file, from its first byte to its last.

    Args:
        path: the file.
        scratch: where its content is kept for MindSpore, which reads files only.

    Raises:
        InputError: the file has another name than MindSpore reads, or cannot be read.
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
    with reading(f"--ckpt {path}"), path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _refuse_other(parameters: Mapping[str, Any], network: Any, *, path: Path, model: str, num_classes: int) -> None:
    import numpy as np

    expected = _shapes(network)
    found = {
        name: tuple(value.shape)
        for name, value in parameters.items()
        if name in expected or not _is_training_state(name)
    }
    if found != expected:
        message = f"{path} does not fit {model} with {num_classes} classes: {_difference(found, expected)}"
        raise InputError(message, hint=_what_fits(found, expected))
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
    for differences in (reshaped, missing, unknown):
        if differences:
            more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            parts.append(", ".join(differences[:_SHOWN]) + more)
    return "; ".join(parts)


def _what_fits(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    head = found.get("end_point.bias")
    classes = head[0] if head else 10
    if head and found.keys() == expected.keys() and head != expected.get("end_point.bias"):
        return f"the checkpoint has {classes} classes: pass --num-classes {classes}"
    for spec in REGISTRY.values():
        if _shapes(spec.build(classes)) == found:
            return f"this checkpoint fits --model {spec.name} --num-classes {classes}"
    return "no model that amctq knows has these parameters; check --model"
