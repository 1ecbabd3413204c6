"""The state of a training run in a file: everything that the rest of the run depends on.

The file is a MindSpore checkpoint, so ``mindspore.load_checkpoint`` reads it too. It holds the network's parameters and
the momentum under their own names, and one more tensor of bytes, ``amctq.state``: step, progress and identity of the
run as JSON, with a SHA-256 over all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.errors import AmctqError
from amctq.files import Artifact, reading, write_whole
from amctq.regular_file import open_regular

SCHEMA = 1
STATE = "amctq.state"
_LARGEST = 1e300  # of a figure; NaN and infinity are beyond it
Array = NDArray[np.generic]


class DamagedSnapshotError(AmctqError):
    """A file is not a complete snapshot. The user does not see this: the snapshot before it is tried."""


@dataclass(frozen=True, kw_only=True)
class EpochScore:
    """What the metric said of the evaluation samples.

    Attributes:
        epoch: after which it was measured, from 1.
        metric: its key.
        figures: the value of the metric by its key, and what belongs to it, such as top-5.
    """

    epoch: int
    metric: str
    figures: Mapping[str, float]

    @property
    def value(self) -> float:
        """The value of the metric."""
        return self.figures[self.metric]


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How far a run is, without its arrays.

    Attributes:
        step: steps done; with the seed in ``identity`` it decides all further images.
        evaluated: number of epochs that have been evaluated.
        best: the best score so far, the first one of equals; None before the first evaluation.
        last: the score of the last evaluation.
        identity: what decides the result of the run; a run with another identity cannot resume here.
        made_on: what else the last bits depend on: CPU, threads, versions.
    """

    step: int
    evaluated: int
    best: EpochScore | None
    last: EpochScore | None
    identity: Mapping[str, Any]
    made_on: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """State and arrays of a run at one step.

    Attributes:
        state: how far the run is.
        arrays: by name, in the order of the network.
    """

    state: TrainingState
    arrays: Mapping[str, Array]


def write_snapshot(path: Path, snapshot: Snapshot) -> Artifact:
    """Write a snapshot; a former file of that name is replaced completely or not at all.

    Raises:
        WriteError: the file system refuses.
    """
    state = asdict(snapshot.state) | {"schema": SCHEMA}
    state["sha256"] = _digest(state, snapshot.arrays)
    stored = np.frombuffer(_json(state), np.uint8)
    return write_whole(path, _blocks({STATE: stored, **snapshot.arrays}))


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot and check that it is complete.

    Raises:
        DamagedSnapshotError: it is not, or it is another kind of file.
        InputError: it cannot be read.
    """
    with reading(str(path)), open_regular(path) as stream:
        content = stream.read()
    try:
        arrays = dict(_arrays(content))
        state = json.loads(arrays.pop(STATE).tobytes().decode(errors="surrogateescape"))
        expected = state.pop("sha256")
        whole = expected == _digest(state, arrays)
    except Exception as error:  # protobuf, json, NumPy: damage causes many kinds of errors
        message = f"{path} is damaged, or is not a checkpoint of a training run"
        raise DamagedSnapshotError(message) from error
    if not whole or state.pop("schema", None) != SCHEMA:
        message = f"{path} is damaged: its content and its checksum differ"
        raise DamagedSnapshotError(message)
    try:
        return Snapshot(state=_state(**state), arrays=arrays)
    except TypeError as error:
        message = f"{path} was not written by this version of amctq: {error}"
        raise DamagedSnapshotError(message) from error


def _state(
    *, step: object, evaluated: object, best: object, last: object, identity: object, made_on: object
) -> TrainingState:
    """A state of JSON values; TypeError where one has another type."""
    return TrainingState(
        step=_count("step", step),
        evaluated=_count("evaluated", evaluated),
        best=_score("best", best),
        last=_score("last", last),
        identity=_object("identity", identity),
        made_on=_object("made_on", made_on),
    )


def _score(name: str, value: object) -> EpochScore | None:
    if value is None:
        return None
    fields = _object(name, value)
    metric, figures = fields.get("metric"), fields.get("figures")
    if fields.keys() != {"epoch", "metric", "figures"} or not isinstance(figures, dict) or not isinstance(metric, str):
        message = f"{name} is no score"
        raise TypeError(message)
    if metric not in figures or not all(
        type(figure) in {int, float} and abs(figure) <= _LARGEST for figure in figures.values()
    ):
        message = f"{name} holds a figure that is no number"
        raise TypeError(message)
    return EpochScore(epoch=_count(f"{name}.epoch", fields["epoch"]), metric=metric, figures=figures)


def _count(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        message = f"{name} is no count"
        raise TypeError(message)
    return value


def _object(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        message = f"{name} is no object"
        raise TypeError(message)
    return value


def _digest(state: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(_json(state))
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _json(state: Mapping[str, Any]) -> bytes:
    return json.dumps(state, ensure_ascii=False, sort_keys=True).encode(errors="surrogateescape")


def _blocks(arrays: Mapping[str, Array]) -> Iterator[bytes]:
    """MindSpore's Checkpoint message, one value at a time: concatenated messages are one message."""
    from mindspore.train.checkpoint_pb2 import Checkpoint

    for name, array in arrays.items():
        message = Checkpoint()
        value = message.value.add()
        value.tag = name
        value.tensor.dims.extend(array.shape or (0,))  # as MindSpore writes a scalar
        value.tensor.tensor_type = _TYPES[array.dtype.name]
        value.tensor.tensor_content = np.ascontiguousarray(array).tobytes()
        yield message.SerializeToString(deterministic=True)


def _arrays(content: bytes) -> Iterator[tuple[str, Array]]:
    from mindspore.train.checkpoint_pb2 import Checkpoint

    message = Checkpoint()
    message.ParseFromString(content)
    known = {stored: name for name, stored in _TYPES.items()}
    for value in message.value:
        shape = tuple(value.tensor.dims)
        array = np.frombuffer(value.tensor.tensor_content, np.dtype(known[value.tensor.tensor_type]))
        yield value.tag, array.reshape(() if shape == (0,) else shape)


# MindSpore's names of types in checkpoints, by NumPy's: Float32, UInt8, Bool …
_NUMPY_TYPES = ("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
_TYPES = {name: name.capitalize().replace("Uint", "UInt") for name in _NUMPY_TYPES}
