"""``--hyper-parameters``: a file whose values stand behind every option that is not given.

Precedence: command line, environment, file, default. Click's map of defaults keeps it, so that nobody compares values
with defaults to find out what was said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from amctq.cli.options import TRAINING, option

# Options that the file must not contradict: one of the pair on the command line takes the other out of the file.
_INSTEAD = {"max_steps": "epochs", "save_every_steps": "save_checkpoint_epochs"}


def _read(context: typer.Context, value: Path | None) -> Any:
    if value is None or context.resilient_parsing:
        return None
    from amctq.training.hyper_parameters import read_hyper_parameters

    found = read_hyper_parameters(value)
    context.default_map = {**(context.default_map or {}), **found.values}
    return found


HyperParametersFile = Annotated[
    Any,
    option(
        "--hyper-parameters",
        panel=TRAINING,
        metavar="FILE",
        parser=Path,
        is_eager=True,
        callback=_read,
        help="The sample's retrain_config.py, read and not executed; options win over it.",
    ),
]


def over_file(command: type[TyperCommand]) -> type[TyperCommand]:
    """A command class in which ``--max-steps`` wins over the file's epochs, as every option does over its own key."""

    class CommandOverFile(command):  # type: ignore[misc, valid-type]
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            left: list[str] = super().parse_args(ctx, args)
            for said, other in _INSTEAD.items():
                source = ctx.get_parameter_source(other)
                if ctx.params.get(said) is not None and source is not None and source.name == "DEFAULT_MAP":
                    ctx.params[other] = None
            return left

    return CommandOverFile
