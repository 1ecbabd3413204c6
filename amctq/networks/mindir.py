"""MindIR files of float networks, as MindSpore itself exports them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amctq.data.inputs import InputSpec, zeros
from amctq.errors import InputError
from amctq.networks.exporting import exporting

_LARGEST = 1 << 30  # bytes of parameters that MindSpore writes into one file
_SAMPLES = 2  # that the trial runs


def refuse_large(network: Any) -> None:
    """Refuse a network that MindSpore would split into several files.

    Raises:
        InputError: its parameters are too large for one file.
    """
    if sum(parameter.nbytes for parameter in network.get_parameters()) > _LARGEST:
        message = "MindSpore splits this network into several MindIR files, because its parameters exceed 1 GiB"
        raise InputError(message, hint="use --export onnx")


def export_plain(network: Any, inputs: Mapping[str, InputSpec], target: Path, *, batch: int | None) -> None:
    """Export a network as MindSpore does.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode.
        inputs: what it takes, in the order of construct().
        target: the file, which ends in ``.mindir``.
        batch: the only number of samples that the file takes at a time; None for a dynamic batch.

    Raises:
        InputError: MindSpore cannot export the network, or would split it into several files.
        OSError: there is no room for the file.
    """
    import mindspore

    refuse_large(network)
    examples = [
        mindspore.Tensor(shape=[batch, *spec.shape], dtype=getattr(mindspore, spec.mindspore_dtype))
        if batch is None
        else mindspore.Tensor(array)
        for spec, array in zip(inputs.values(), zeros(inputs, batch or 1).values(), strict=True)
    ]
    with exporting(network, target, "MindIR") as path:
        mindspore.export(network, *examples, file_name=path, file_format="MINDIR")


def possible_batch(network: Any, inputs: Mapping[str, InputSpec], scratch: Path) -> int | None:
    """The batch that a MindIR file of the network can have: None for a dynamic one where MindSpore can, else 1.

    A network that reads sizes in construct() may have a graph for one batch only; of others, MindSpore exports a
    dynamic graph that it cannot run itself.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode.
        inputs: what it takes, in the order of construct().
        scratch: folder for a file, which is removed.

    Raises:
        InputError: neither is possible.
        OSError: there is no room for the file.
    """
    from amctq.inference.mindir_session import MindirSession

    path = scratch / "trial.mindir"
    first: InputError | None = None
    for batch in (None, 1):
        try:
            export_plain(network, inputs, path, batch=batch)
            MindirSession(path.read_bytes()).run(zeros(inputs, _SAMPLES))
        except InputError as error:
            first = first or error
        else:
            return batch
        finally:
            path.unlink(missing_ok=True)
    assert first is not None
    raise first
