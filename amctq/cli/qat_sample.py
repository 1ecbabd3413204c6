"""Sample compatibility of ``qat`` and ``launch-distributed``: the words of its scripts, and its retrain_config.py.

The values of a ``--hyper-parameters`` file replace the defaults of options. Precedence: command line, environment,
file, default. The values go into Click's map of defaults, so Click itself decides which value wins.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from amctq.cli.aliases import more_after_dashes, sample_line
from amctq.cli.from_request import Asked, Command, command
from amctq.cli.output import CommandResult
from amctq.cli.qat_tables import failure_tables

# With --train_dataset, the sample's --dataset is not a path: it names one of these two readers.
_READERS = ("cifar10", "imagenet2012")
# If the first option of a pair is given, the file's value for the second is ignored.
_INSTEAD = {"max_steps": "epochs", "save_every_steps": "save_checkpoint_epochs"}


def qat_command(
    request: Callable[[], type[Asked]], *words: str, more_options: bool = False
) -> Callable[[Callable[..., CommandResult]], Command[Asked]]:
    """Decorate the function of a command, like ``command``, for a request that is or holds a request of ``qat``.

    Args:
        request: returns the class of the request.
        words: for each positional word of the sample's script, in order, the option that it is the value of.
        more_options: words after ``--`` are further options, because a script may add them there.
    """

    def understand(plain: type[TyperCommand]) -> type[TyperCommand]:
        return _over_file(sample_line(more_after_dashes(plain) if more_options else plain, *words))

    settings = {"hyper_parameters": {"parser": Path, "is_eager": True, "callback": _read}}
    return command(request, understand=understand, settings=settings, adapt=_adapt, failure_tables=failure_tables)


def _read(context: typer.Context, value: Path | None) -> Any:
    if value is None or context.resilient_parsing:
        return None
    from amctq.training.hyper_parameters import read_hyper_parameters

    found = read_hyper_parameters(value)
    context.default_map = {**(context.default_map or {}), **found.values}
    return found


def _adapt(given: dict[str, Any]) -> None:
    """Split the value of ``--hyper-parameters`` into its fields, and drop a ``--dataset`` that is not a path."""
    file, dataset = given["hyper_parameters"], given["dataset"]
    if file is not None:
        given.update(hyper_parameters=file.path, unused_hyper_parameters=file.unused)
    if given["train_dataset"] is not None and dataset is not None and dataset.lower() in _READERS:
        given["dataset"] = None


def _over_file(plain: type[TyperCommand]) -> type[TyperCommand]:
    """Make a command class in which ``--max-steps`` and ``--save-every-steps`` win over the file's epochs."""

    class CommandOverFile(plain):  # type: ignore[misc, valid-type]
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            left: list[str] = super().parse_args(ctx, args)
            for said, other in _INSTEAD.items():
                source = ctx.get_parameter_source(other)
                if ctx.params.get(said) is not None and source is not None and source.name == "DEFAULT_MAP":
                    ctx.params[other] = None
            return left

    return CommandOverFile
