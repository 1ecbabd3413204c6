"""What a network takes: the parameters of construct(), matched with what the dataset gives."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from amctq.data.inputs import IMAGE, InputSpec, described, unnamed
from amctq.errors import InputError

_HINT = "a dataset gives one array, a tuple in the order of the network's inputs, or a dict with their names"


def input_names(cell: Any, given: Mapping[str, InputSpec]) -> dict[str, str]:
    """The names of a network's inputs, in its order, by the names that the samples have.

    Images alone are called ``image``, whatever the parameter is called; other arrays without names get those of the
    parameters.

    Args:
        cell: ``mindspore.nn.Cell``.
        given: the inputs of a sample; with positions as names ("0", "1" …) where they have none.

    Raises:
        InputError: the network needs other inputs.
    """
    parameters = inspect.signature(cell.construct).parameters
    kinds = inspect.Parameter
    positional = {kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD}
    named = [name for name, item in parameters.items() if item.kind in positional]
    required = {*positional, kinds.KEYWORD_ONLY}
    needed = [name for name, item in parameters.items() if item.kind in required and item.default is kinds.empty]
    takes_more = any(item.kind is kinds.VAR_POSITIONAL for item in parameters.values())
    names = matched(given, named, needed, takes_more=takes_more, who="construct() of the network")
    return {IMAGE: IMAGE} if list(given) == [IMAGE] and given[IMAGE].is_image else names


def matched(
    given: Mapping[str, InputSpec], named: list[str], needed: list[str], *, takes_more: bool, who: str
) -> dict[str, str]:
    """The names of a network's inputs, in its order, by the names that the samples have.

    Args:
        given: the inputs of a sample; with positions as names where they have none.
        named: the inputs of the network, in its order.
        needed: those that it cannot do without.
        takes_more: it takes further inputs without names.
        who: what takes them, for messages.

    Raises:
        InputError: the network needs other inputs.
    """
    if unnamed(given):
        fits = len(needed) <= len(given) and (takes_more or len(given) <= len(named))
        if not fits or set(needed) - set(named):
            raise _refused(given, named, needed, who)
        names = [*named, *(f"input_{index}" for index in range(len(named), len(given)))]
        return dict(zip(given, names, strict=False))
    # Tensors are passed in order, so that a parameter may be left out only behind all that are given.
    wanted = named[: len(given)]
    if set(given) != set(wanted) or set(needed) - set(wanted):
        raise _refused(given, named, needed, who)
    return {name: name for name in wanted}


def _refused(given: Mapping[str, InputSpec], named: list[str], needed: list[str], who: str) -> InputError:
    takes = ", ".join(needed) or "nothing"
    optional = [name for name in named if name not in needed]
    if optional:
        takes += f" and, if given, {', '.join(optional)}"
    message = f"{who} takes {takes}, and the dataset gives {described(given)}"
    unknown = [] if unnamed(given) else [name for name in given if name not in named]
    near = [(name, found[0]) for name in unknown if (found := difflib.get_close_matches(name, named, n=1))]
    hint = f"{near[0][0]} may be {near[0][1]}" if near else _HINT
    return InputError(message, hint=hint)
