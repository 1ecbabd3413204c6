"""The message for a checkpoint that does not fit a network: what differs, and what would fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from amctq.networks.checkpoint_match import Match, without_wrapper
from amctq.networks.name_map import OPTION
from amctq.networks.parameter_names import own_convention, pytorch_convention
from amctq.networks.registry import REGISTRY
from amctq.networks.tensor_file import Shape, StoredTensor, shown

_SHOWN = 5  # differences that a message names; the others are counted
_MOST_COMPARED = 2000  # names, of which the nearest is looked for


def difference(matched: Match, stored: Mapping[str, StoredTensor]) -> str:
    """What differs, by the checkpoint's names."""
    missing = {matched.names[own]: shape for own, shape in matched.shapes.items() if own not in matched.tags}
    own_names = {name: own for own, name in matched.names.items()}
    unread = {name: stored[f"{matched.prefix}{name}"].type for name in missing if f"{matched.prefix}{name}" in stored}
    found, unknown = {}, dict(matched.unknown)
    for own, tag in matched.tags.items():
        if stored[tag].shape != matched.shapes[own]:
            found[matched.names[own]] = f"is {stored[tag].shape}, expected {matched.shapes[own]}"
    parts = [
        [f"{shown(name)} has the type {kind}, which amctq does not load" for name, kind in unread.items()],
        [f"{name} {differs}" for name, differs in found.items()],
        [
            f"missing {_both(name, own_names[name])} {shape}{_near(name, unknown)}"
            for name, shape in _first(missing, unread)
        ],
        [f"unknown {shown(name)} {shape}{_near(name, missing)}" for name, shape in _first(unknown)],
    ]
    counts = [len(unread), len(found), len(missing) - len(unread), len(unknown)]
    return "; ".join(
        ", ".join(said[:_SHOWN]) + (f" and {count - _SHOWN} more" if count > _SHOWN else "")
        for said, count in zip(parts, counts, strict=True)
        if said
    )


def _first(shapes: Mapping[str, Shape], without: Iterable[str] = ()) -> list[tuple[str, Shape]]:
    left = set(without)
    return [pair for pair in shapes.items() if pair[0] not in left][:_SHOWN]


def _both(name: str, own: str) -> str:
    return name if name == own else f"{name} ({own} of the network)"


def _near(name: str, names: Mapping[str, Shape]) -> str:
    near = difflib.get_close_matches(name, list(names)[:_MOST_COMPARED], n=1, cutoff=0.4)
    return f" (nearest: {shown(near[0])})" if near else ""


def hint(matched: Match, stored: Mapping[str, StoredTensor], modules: Mapping[str, str]) -> str:
    """What would fit: another number of classes, another network, or other names.

    Args:
        matched: what was found.
        stored: the tensors of the checkpoint.
        modules: pickled modules beside them.
    """
    if modules:
        name, kind = next(iter(modules.items()))
        return f"{shown(name)} in it is a whole pickled {shown(kind)}, which is not read: save its state_dict() instead"
    found, expected = matched.found(stored), matched.expected
    plain = without_wrapper(found)
    head = plain.get("end_point.bias")
    classes = head[0] if head else 10
    if head and plain.keys() == expected.keys() and head != expected.get("end_point.bias"):
        return f"the checkpoint has {classes} classes: pass --num-classes {classes}"
    for spec in REGISTRY.values():
        if spec.parameters == len(plain) and _has(spec.build(classes), plain):
            return f"this checkpoint fits --model {spec.name} --num-classes {classes}"
    return f"no model that amctq knows has these parameters; check --model, or say with {OPTION} which name is which"


def _has(network: Any, shapes: Mapping[str, Shape]) -> bool:
    return any(convention.expected == shapes for convention in (own_convention(network), pytorch_convention(network)))
