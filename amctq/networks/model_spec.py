"""What amctq knows of a network before it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amctq.data.preprocess import Preprocessing

if TYPE_CHECKING:
    from amctq.networks.model_file import ModelFile


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A network that can be built.

    Attributes:
        name: its name for ``--model``, with which its files begin.
        build: makes a new ``mindspore.nn.Cell`` in inference mode from the number of classes; images (N, C, H, W) to
            logits (N, classes). No file has cells.
        preprocessing: gives the default preprocessing of its images from the number of classes.
        parameters: how many tensors its checkpoint holds, which rules it out without building it; None if unknown.
        num_classes: of its checkpoint, where nobody says it; a file knows its own.
        file: gives the file with the network and its weights, always the same one; None where it has cells.
    """

    name: str
    build: Callable[[int], Any]
    preprocessing: Callable[[int], Preprocessing]
    parameters: int | None = None
    num_classes: int = 10
    file: Callable[[], ModelFile] | None = None
