"""Sizes for a MindIR file that leaves some open: pads and shapes in its graph are known only with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amctq.data.inputs import InputSpec, described
from amctq.errors import InputError
from amctq.inference.session import Port
from amctq.networks.mindir import export_plain


def leaves_sizes_open(inputs: tuple[Port, ...]) -> bool:
    """Whether an axis other than the batch has no size."""
    return any(not isinstance(size, int) for port in inputs for size in port.shape[1:])


def with_sizes(content: bytes, inputs: Mapping[str, InputSpec], scratch: Path, *, batch: int | None) -> Any:
    """The protobuf of a file with the sizes of the samples: MindSpore follows its graph once more, from these.

    Args:
        content: of the file, which MindSpore loads.
        inputs: what the samples have, in the order of the file's inputs.
        scratch: folder for a file, which is removed.
        batch: the only one that the file takes; None for a dynamic one.

    Raises:
        InputError: its graph does not fit these sizes, or MindSpore cannot follow it.
        OSError: there is no room for the file.
    """
    from amctq.inference.mindir_session import graph_cell, parse_mindir

    path = scratch / "sizes.mindir"
    try:
        export_plain(graph_cell(content), inputs, path, batch=batch)
        return parse_mindir(path.read_bytes())
    except InputError as error:
        message = f"it leaves sizes open, and with those of the samples, {described(inputs)}, {error.message}"
        hint = "give samples of a size that it can have, or export it for one size and no other"
        raise InputError(message, hint=hint) from error
    finally:
        path.unlink(missing_ok=True)
