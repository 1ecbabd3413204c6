"""The identity of a run: everything that decides its result. ``--resume`` continues only the same run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from amctq.errors import InputError, listed
from amctq.runtime import cpu_count, cpu_instructions, cpu_model, versions

if TYPE_CHECKING:
    from amctq.training.recipe import Recipe
    from amctq.training.store import Found

_SHOWN = 5  # differences named in a message


def refuse_other_run(found: Found, identity: Mapping[str, Any]) -> None:
    """Refuse to continue from a checkpoint of another run.

    Args:
        found: the checkpoint.
        identity: the identity of this run, or a part of it.

    Raises:
        InputError: the checkpoint belongs to another run; the message names the differences.
    """
    known = found.snapshot.state.identity
    differences = list(_differences({key: known.get(key) for key in identity}, identity, ""))
    if not differences:
        return
    message = f"--resume: {found.path} belongs to another run: {listed(differences, _SHOWN, '; ')}"
    raise InputError(message, hint="give the options of that run, or begin anew with --force or another --output-dir")


def refuse_other_length(found: Found, recipe: Recipe) -> None:
    """Refuse to continue from a checkpoint behind the end of a run: the training would never end.

    Raises:
        InputError: it has more steps, or more evaluations, than the run.
    """
    state = found.snapshot.state
    if state.step > recipe.steps or state.evaluated > recipe.epochs:
        message = (
            f"--resume: {found.path} says step {state.step:,} and {state.evaluated:,} evaluations, and this run has "
            f"{recipe.steps:,} steps and {recipe.epochs:,} epochs"
        )
        raise InputError(message, hint="the file is damaged: remove it, or begin anew with --force")


def made_on() -> dict[str, Any]:
    """The environment of a training: its last bits depend on this too."""
    known = versions()
    return {
        "mindspore": known["mindspore"],
        "numpy": known["numpy"],
        "cpu": cpu_model(),
        "instructions": " ".join(cpu_instructions()),
        "cores": cpu_count(),
    }


def _differences(found: Any, expected: Any, name: str) -> Iterator[str]:
    """Name the differences between two JSON values, by dotted key."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in dict.fromkeys([*found, *expected]):
            yield from _differences(found.get(key), expected.get(key), f"{name}.{key}" if name else key)
    elif _plain(found) != _plain(expected):
        yield f"{name} is {_format(found)} in it, {_format(expected)} here"


def _plain(value: Any) -> Any:
    """Convert tuples to lists, as JSON does."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _format(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "…"
