"""Which layer of a network a file of AMCT means, whichever of AMCT's front ends has written it.

    front end    names a layer by               conv1       layer1.0.down_sample_layer.0                  end_point
    MindSpore    the cell                       conv1       layer1.0.down_sample_layer.0                  end_point
    PyTorch      the module                     conv1       layer1.0.downsample.0                         fc
    ONNX         the node, PyTorch's export     /conv1/Conv /layer1/layer1.0/downsample/downsample.0/Conv /fc/Gemm
    ONNX         the node, MindSpore's export   5Conv       32Conv                                        130Gemm

Nodes that are numbered by kind (Conv_0, from PyTorch before 1.13) say nothing of the layer, and are not guessed at.
Those of MindSpore's export are numbered in the order of execution, so that all of them together can be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from amctq.quant.layers import QuantizableLayer, Topology

# Cells and modules around the network itself.
_AROUND = frozenset({"module", "model", "net", "network", "_network", "backbone", "_backbone"})
_SHORTCUT = frozenset({"down_sample_layer", "downsample", "down_sample", "shortcut"})
_HEAD = frozenset({"end_point", "fc", "linear", "classifier", "head", "dense"})
_HEAD_NAME = "(head)"
_NUMBERED = re.compile(r"([0-9]{1,9})(Conv|Gemm)")


@dataclass(frozen=True, kw_only=True)
class MatchedNames:
    """What the names of a file mean.

    Attributes:
        layers: the network's own name by the file's, for those that mean a layer.
        unknown: the others, in the file's order; two that mean one layer are both among them.
    """

    layers: dict[str, str]
    unknown: tuple[str, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """Those that the network spells in another way."""
        return {name: own for name, own in self.layers.items() if name != own}


def match_names(names: Iterable[str], topology: Topology) -> MatchedNames:
    """Find the layer that each name means: the cell, its exported node, or another front end's word for it."""
    given = list(names)
    numbered = _numbered(given, topology)
    own = {layer.name for layer in topology.layers}
    dense = [layer.name for layer in _amcts(topology) if layer.kind.is_dense]
    head = dense[0] if len(dense) == 1 else None
    spelled: dict[str, list[str]] = {}
    for name in own:
        spelled.setdefault(_HEAD_NAME if name == head else spelling(name), []).append(name)
    found: dict[str, str] = {}
    for name in given:
        alike = spelled.get(spelling(name), [])
        meant = name if name in own else numbered.get(name) or (alike[0] if len(alike) == 1 else None)
        if meant is not None:
            found[name] = meant
    meanings = list(found.values())
    certain = {name: meant for name, meant in found.items() if meanings.count(meant) == 1}
    return MatchedNames(layers=certain, unknown=tuple(name for name in given if name not in certain))


def _numbered(names: Iterable[str], topology: Topology) -> dict[str, str]:
    """The layers that nodes of MindSpore's export mean: their numbers are in the order of execution.

    Empty where they are not exactly the layers of the network, kind by kind: with one left out, any could be meant.
    """
    found = sorted((match for name in names if (match := _NUMBERED.fullmatch(name))), key=lambda match: int(match[1]))
    layers = _amcts(topology)
    if [match[2] for match in found] != ["Gemm" if layer.kind.is_dense else "Conv" for layer in layers]:
        return {}
    return {match[0]: layer.name for match, layer in zip(found, layers, strict=True)}


def _amcts(topology: Topology) -> list[QuantizableLayer]:
    return [layer for layer in topology.layers if layer.beyond_amct is None]


def spelling(name: str) -> str:
    """One spelling of what front ends spell differently."""
    words = _module_of(name).split(".")
    while len(words) > 1 and words[0] in _AROUND:
        del words[0]
    if len(words) == 1 and words[0] in _HEAD:
        return _HEAD_NAME
    return ".".join("(shortcut)" if word in _SHORTCUT else word for word in words)


def _module_of(name: str) -> str:
    """``/layer1/layer1.0/conv1/Conv`` as ``layer1.0.conv1``: PyTorch's exporter names the child of a list whole."""
    if not name.startswith("/"):
        return name
    steps: list[str] = []
    for step in name.strip("/").split("/")[:-1]:
        if steps and step.startswith(f"{steps[-1]}."):
            steps.pop()
        steps.append(step)
    return ".".join(steps)
