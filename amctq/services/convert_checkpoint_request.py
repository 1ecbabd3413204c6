"""The request of ``amctq convert-checkpoint``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from amctq.errors import UsageError
from amctq.services.option import Option, Request
from amctq.services.request import FORCE, MODEL, NAME_MAP, NUM_CLASSES

_SUFFIX = ".ckpt"


@dataclass(frozen=True, kw_only=True)
class ConvertCheckpointRequest(Request):
    """The request of ``amctq convert-checkpoint``.

    Attributes:
        source: a checkpoint in any format that ``--ckpt`` takes.
        target: the MindSpore checkpoint to write.
        model: the network whose names it gets.
        num_classes: of the network; None means the number of its own checkpoint.
        name_map: None for a checkpoint with the names of MindSpore or PyTorch.
        force: replace ``target``.

    Raises:
        UsageError: a value is out of its range, or the target has no name that MindSpore reads.
    """

    source: Annotated[Path, Option(positional=True, metavar="IN", help="Checkpoint to read: any that --ckpt takes.")]
    target: Annotated[Path, Option(positional=True, metavar="OUT.ckpt", help="MindSpore checkpoint to write.")]
    model: Annotated[str, MODEL] = "resnet50"
    num_classes: Annotated[int | None, NUM_CLASSES] = None
    name_map: Annotated[Path | None, NAME_MAP] = None
    force: Annotated[bool, FORCE] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target.suffix != _SUFFIX:
            message = f"{self.target} does not end in {_SUFFIX}, as MindSpore's checkpoints do"
            raise UsageError(message, hint=f"write {self.target.with_suffix(_SUFFIX).name or 'OUT.ckpt'}")
