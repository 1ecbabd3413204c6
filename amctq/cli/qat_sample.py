"""What ``qat`` and ``launch-distributed`` understand of the sample: its scripts' words, and its retrain_config.py.

The values of a ``--hyper-parameters`` file replace the defaults of options. Precedence: command line, environment,
file, default. Click keeps these values in its map of defaults, so only Click has to know which values the user gave.
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

# What the sample calls --dataset beside --train_dataset: which of its two readers.
_READERS = ("cifar10", "imagenet2012")
# Options that the file must not contradict: one of the pair on the command line takes the other out of the file.
_INSTEAD = {"max_steps": "epochs", "save_every_steps": "save_checkpoint_epochs"}


def qat_command(
    request: Callable[[], type[Asked]], *words: str, more_options: bool = False
) -> Callable[[Callable[..., CommandResult]], Command[Asked]]:
    """As ``command``, for a request that is one of ``qat`` or holds one.

    Args:
        request: gives the class of the request.
        words: in the order of the sample's script, the option that each of its words is the value of.
        more_options: what follows ``--`` are further options, as a script may add them.
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
    """Take apart what the file gave, and leave out what the sample says without meaning a path."""
    file, dataset = given["hyper_parameters"], given["dataset"]
    if file is not None:
        given.update(hyper_parameters=file.path, unused_hyper_parameters=file.unused)
    if given["train_dataset"] is not None and dataset is not None and dataset.lower() in _READERS:
        given["dataset"] = None


def _over_file(plain: type[TyperCommand]) -> type[TyperCommand]:
    """A command class in which ``--max-steps`` wins over the file's epochs, as every option does over its own key."""

    class CommandOverFile(plain):  # type: ignore[misc, valid-type]
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            left: list[str] = super().parse_args(ctx, args)
            for said, other in _INSTEAD.items():
                source = ctx.get_parameter_source(other)
                if ctx.params.get(said) is not None and source is not None and source.name == "DEFAULT_MAP":
                    ctx.params[other] = None
            return left

    return CommandOverFile
