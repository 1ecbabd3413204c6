"""Options that contradict the target of a file."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import Any

from amctq.choices import Target
from amctq.errors import UsageError
from amctq.export.targets import why_not
from amctq.services.option import Request


def refuse_other_target(target: Target, request: Request) -> None:
    """Refuse an option of ``request`` that contradicts a target. An option at its default says nothing.

    Raises:
        UsageError: there is one.
    """
    options = request.options()
    for item in fields(request):
        given, option = getattr(request, item.name), options[item.name][1]
        if option is None or given == item.default:
            continue
        for value in given if isinstance(given, tuple) else (given,):
            reason = why_not(target, item.name, value)
            if reason is None and item.name == "layer_bits":  # a pattern and its width
                reason = why_not(target, "weight_bits", value[1])
            if reason is not None:
                name = option.spelling(item.name)
                message = f"--target {target.value} and {name}{_shown(value)}: {reason}"
                raise UsageError(message, hint=f"leave {name} out, or choose another --target")


def _shown(value: Any) -> str:
    """A value behind its option; nothing for a switch."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, tuple):
        return f" {'='.join(map(str, value))}"
    return f" {value.value if isinstance(value, Enum) else value}"
