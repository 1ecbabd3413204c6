"""Loading a checkpoint into a network, with the exact reason where it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.download.sums import Summing
from amctq.errors import InputError, first_line
from amctq.files import blocks_of, reading, writing
from amctq.input_file import LoadedFile
from amctq.networks.checkpoint_fit import difference, hint
from amctq.networks.checkpoint_format import HEAD, SUFFIXES, Format, kind_of, one_of_several, open_tensors
from amctq.networks.checkpoint_match import Match, best_match
from amctq.networks.name_map import NameMap
from amctq.networks.parameter_names import own_convention, pytorch_convention
from amctq.networks.tensor_file import CheckpointError, DamagedCheckpointError, TensorFile
from amctq.regular_file import why_no_file
from amctq.signals import signals_held

_AGAIN = "copy or download it again, and compare its checksum"
_DIVERGED = "the training run diverged or the file is damaged; use another checkpoint"
_VARIANCES = frozenset({"moving_variance", "running_var"})  # of MindSpore's BatchNorm; the second of mindspore.mint


def check_readable(path: Path) -> None:
    """Refuse a file that cannot be a checkpoint, before MindSpore is imported.

    Raises:
        InputError: the file is missing, no regular file, unreadable, empty, or of another kind.
    """
    if not path.exists():
        message = f"no checkpoint at {path}"
        raise InputError(message, hint="check the path given with --ckpt")
    found = why_no_file(path)
    if found is not None:
        message = f"the checkpoint {path}: {found}: a .ckpt file, or one of {SUFFIXES}"
        raise InputError(message, hint="give --ckpt the file itself")
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        message = f"cannot read the checkpoint {path}: {error.strerror}"
        raise InputError(message, hint="check the file's permissions") from error
    if not head:
        message = f"the checkpoint {path} is empty"
        raise InputError(message, hint="copy or download it again")
    kind_of(path, head)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file, read once: the loaded content is the hashed content, even if the file changes later.

    Attributes:
        path: as the user gave it.
        file: its tensors, in a copy of the file in a folder of the run.
        kind: its format.
        bytes: its size.
        sha256: of its content, lower-case hexadecimal.
    """

    path: Path
    file: TensorFile
    kind: Format
    bytes: int
    sha256: str

    @property
    def loaded(self) -> LoadedFile:
        """Which file it is, for a report."""
        return LoadedFile(path=self.path, bytes=self.bytes, sha256=self.sha256)

    def load_into(self, network: Any, *, model: str, num_classes: int, name_map: NameMap | None = None) -> Match:
        """Load every parameter of ``network``.

        The state of an optimizer and the clips of a retrained network are passed over.

        Args:
            network: ``mindspore.nn.Cell``.
            model: its name, for messages.
            num_classes: the number it was built with, for messages.
            name_map: a user's names; None for those of MindSpore or PyTorch.

        Returns:
            What was taken and what was passed over.

        Raises:
            InputError: the file holds NaN, infinity or a negative variance, or its parameters are not the network's.
        """
        import mindspore

        matched = self._matched(network, model=model, num_classes=num_classes, name_map=name_map)
        try:
            stored = self.file.read(set(matched.tags.values()))
        except CheckpointError as defect:
            raise _refusal(self.path, self.bytes, self.kind, defect) from defect
        own = {parameter.name: parameter for parameter in network.get_parameters()}
        parameters = {}
        for name, tag in matched.tags.items():
            self._check_values(name, stored[tag])
            kind = own[name].dtype
            values = self._converted(name, stored[tag], mindspore.dtype_to_nptype(kind)).reshape(own[name].shape)
            parameters[name] = mindspore.Parameter(mindspore.Tensor(values, kind), name=name)
        try:
            with signals_held():  # MindSpore would report a signal's exception as a damaged file
                mindspore.load_param_into_net(network, parameters)
        except Exception as error:
            message = f"MindSpore cannot load {self.path} into {model}: {first_line(error)}"
            raise InputError(message, hint="the parameters have other types than the network's") from error
        return matched

    def _matched(self, network: Any, *, model: str, num_classes: int, name_map: NameMap | None) -> Match:
        tensors = self.file.tensors
        conventions = (own_convention(network), pytorch_convention(network))
        trained = [parameter.name for parameter in network.trainable_params()]
        if name_map is not None:
            name_map.check(conventions[0].names, tensors)
        try:
            matched = best_match(conventions, trained, tensors, name_map)
        except InputError as error:
            message = f"{self.path} does not fit {model}: {error.message}"
            raise InputError(message, hint=error.hint) from error
        if not matched.is_whole(tensors):
            found = difference(matched, tensors)
            message = f"{self.path} does not fit {model} with {num_classes} classes: {found}"
            joined = one_of_several(self.path) if len(matched.tags) < len(matched.names) else None
            raise InputError(message, hint=joined or hint(matched, tensors, self.file.modules))
        return matched

    def _check_values(self, name: str, values: NDArray[Any]) -> None:
        with np.errstate(over="ignore"):  # float64 may be beyond float32, which the network has
            numbers = values.astype(np.float32, copy=False)
        if not np.isfinite(numbers).all():
            message = f"{self.path}: parameter {name} holds NaN or infinity"
            raise InputError(message, hint=_DIVERGED)
        # Runtimes disagree about the root of a negative number.
        if name.rpartition(".")[2] in _VARIANCES and (numbers < 0).any():
            message = f"{self.path}: parameter {name} holds negative variances"
            raise InputError(message, hint=_DIVERGED)

    def _converted(self, name: str, values: NDArray[Any], kind: Any) -> NDArray[Any]:
        """The values in the type of the network's parameter; a whole number stays what it is."""
        target = np.dtype(kind)
        if target.kind not in "biu":  # bfloat16 too, which MindSpore makes of float32
            target = target if target.kind == "f" else np.dtype(np.float32)
        same = "iu" if target.kind in "iu" else target.kind
        with np.errstate(over="ignore"):
            converted = values.astype(target, copy=False)
        if values.dtype.kind not in same or (target.kind in "iu" and not np.array_equal(converted, values)):
            message = f"{self.path}: parameter {name} is {values.dtype}, and the network's is {target}"
            raise InputError(message, hint="save it in the type of the network")
        return converted


def read_checkpoint(path: Path, scratch: Path) -> Checkpoint:
    """Read a checkpoint file, copy it, and check every tensor in the copy.

    Args:
        path: the file.
        scratch: folder for the copy.

    Raises:
        InputError: the file cannot be read, is of another kind, or is damaged.
        WriteError: there is no room for the copy.
    """
    copy, summing, head = scratch / "checkpoint", Summing(md5=False), b""
    with writing(scratch), copy.open("wb") as target:
        for block in _blocks(path):
            if summing.bytes == 0:
                head = block[:HEAD]
                kind_of(path, head)
            summing.add(block)
            target.write(block)
    sums = summing.sums()
    kind = kind_of(path, head)
    try:
        file = open_tensors(path, copy, kind)
    except CheckpointError as defect:
        raise _refusal(path, sums.bytes, kind, defect) from defect
    return Checkpoint(path=path, file=file, kind=kind, bytes=sums.bytes, sha256=sums.sha256)


def _refusal(path: Path, size: int, kind: Format, defect: CheckpointError) -> InputError:
    if isinstance(defect, DamagedCheckpointError):
        message = f"{path} is damaged or not a {kind.value} checkpoint ({size:,} bytes): {defect}"
        return InputError(message, hint=_AGAIN)
    return InputError(f"{path} {defect}", hint=defect.hint)


def _blocks(path: Path) -> Iterator[bytes]:
    with reading(f"--ckpt {path}"):
        yield from blocks_of(path)
