"""The weights and biases of a quantized network, as far as they depend on what the layers read.

While the network is calibrated, the inputs of every layer are watched: how they are correlated (GPTQ), and their means
(bias correction). They are those of the float network, so that one calibration serves weights of any width. The layers
that GPTAQ rounds come after all others, one after another, each with passes of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from amctq.backends.layer_inputs import AnyWatcher, Readers, by_tensor, gram_bytes, passes
from amctq.backends.ptq_config import PtqConfig
from amctq.backends.rounded_weights import Rounded, WeightChoice
from amctq.graph.float_graph import FloatGraph
from amctq.graph.windows import windows_of
from amctq.progress import Advance, Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import Topology
from amctq.quant.numerics import QParams
from amctq.quant.rounding.columns import Windows
from amctq.quant.rounding.inputs import InputWatcher
from amctq.quant.rounding.pairs import PairWatcher

WatchAgain = Callable[[Mapping[str, tuple[InputWatcher, ...]]], object]
WatchBoth = Callable[[Mapping[str, FusedParameters], Mapping[str, tuple[PairWatcher, ...]]], None]
ROUNDING = "rounding"  # the phase


class WeightRounding:
    """Rounds each weight alone, watches what the layers read, and then rounds the weights by that.

    Args:
        graph: the float network.
        topology: the layers that are quantized.
        fused: by layer, its float parameters.
        config: how the network is quantized, and with which other weights.
        reporter: gets progress, and warnings of layers that GPTQ cannot round.
    """

    def __init__(
        self,
        graph: FloatGraph,
        topology: Topology,
        fused: Mapping[str, FusedParameters],
        config: PtqConfig,
        reporter: Reporter,
    ) -> None:
        self._fused, self._reporter = fused, reporter
        self._costs: dict[str, int] = {}
        self._spent = self._done = 0
        others = (replace(config, quant=quant) for quant in config.others)
        # What is said of a layer at one width holds for the others.
        self._own = WeightChoice(topology, fused, config, reporter)
        self._choices = (self._own, *(WeightChoice(topology, fused, each, Reporter()) for each in others))
        with reporter.phase("weights", len(topology.layers), "layers") as advance:
            for done, layer in enumerate(topology.layers, 1):
                for choice in self._choices:
                    choice.round_alone(layer)
                advance(done)
        in_order = self._own.in_order
        watched = frozenset().union(*(choice.second_order | choice.corrected for choice in self._choices))
        self._passes = tuple(passes(self._read(graph, topology, watched - in_order, _watcher)))
        self._ordered = tuple(self._read(graph, topology, in_order, _pair_watcher))

    @property
    def while_calibrating(self) -> Mapping[str, FusedParameters]:
        """By layer, its parameters: rounded as in AMCT, but in float where weights wait for what they read."""
        return self._fused if self._own.second_order else self._own.alone

    @property
    def watchers(self) -> Mapping[str, tuple[InputWatcher, ...]]:
        """By tensor, who watches it while the network is calibrated."""
        return by_tensor(self._passes[0]) if self._passes else {}

    def finish(
        self, activations: Mapping[str, QParams], watch_again: WatchAgain, watch_both: WatchBoth
    ) -> tuple[Rounded, ...]:
        """Round the weights and correct the biases: as configured, and as each of ``others`` has it.

        Args:
            activations: by layer, how its input is quantized.
            watch_again: shows the images once more, to layers that the first pass had no memory for.
            watch_both: shows them to the float network and to one that is rounded in part.
        """
        for choice in self._choices:
            choice.choose_alone(activations)
        every: Iterator[Readers[Any]] = itertools.chain(*self._passes, self._ordered)
        self._costs = {name: self._cost(name) for item in every for name in item.layers}
        for index, readers in enumerate(self._passes):
            if index:
                watch_again(by_tensor(readers))
            with self._phase() as advance:
                self._choose(readers, activations, advance)
        if self._ordered:
            with self._phase() as advance:
                for tensor in dict.fromkeys(item.tensor for item in self._ordered):
                    readers_of_one = [item for item in self._ordered if item.tensor == tensor]
                    watch_both(self._own.so_far, by_tensor(readers_of_one))
                    self._choose(readers_of_one, activations, advance)
        return tuple(choice.found for choice in self._choices)

    def _phase(self) -> AbstractContextManager[Advance]:
        return self._reporter.phase(ROUNDING, 100, "%", done=100 * self._spent // self._total)

    def _choose(self, readers: Sequence[Readers[Any]], activations: Mapping[str, QParams], advance: Advance) -> None:
        """Round what some layers have, whose inputs are known now."""
        for item in readers:
            known = item.watcher.finish()
            for name in item.layers:
                for choice in self._choices:
                    choice.choose(name, known, activations[name])
                self._spent, self._done = self._spent + self._costs[name], self._done + 1
                advance(100 * self._spent // self._total, f"{self._done} of {len(self._costs)} layers")

    @property
    def _total(self) -> int:
        return max(sum(self._costs.values()), 1)

    def _read(
        self,
        graph: FloatGraph,
        topology: Topology,
        watched: Container[str],
        watcher_of: Callable[[Windows | None, bool], AnyWatcher],
    ) -> Iterator[Readers[AnyWatcher]]:
        """Which of some layers read what, in the order of execution."""
        nodes = {node.name: node for node in graph.model.graph.node}
        second_order = frozenset().union(*(choice.second_order for choice in self._choices))
        found: dict[tuple[str, Windows | None], list[str]] = {}
        for layer in topology.layers:
            if layer.name in watched:
                windows = windows_of(nodes[layer.node], self._fused[layer.name].weight.shape[2:])
                found.setdefault((layer.input, windows), []).append(layer.name)
        for (tensor, windows), names in found.items():
            gram = not second_order.isdisjoint(names)
            watcher = watcher_of(windows, gram)
            size = gram_bytes(self._fused[names[0]].weight, 1 if windows is None else windows.groups) if gram else 0
            yield Readers(tensor=tensor, layers=tuple(names), watcher=watcher, gram_bytes=size)

    def _cost(self, name: str) -> int:
        return max(choice.cost(name) for choice in self._choices)


def _watcher(windows: Windows | None, gram: bool) -> InputWatcher:
    return InputWatcher(windows, second=gram)


def _pair_watcher(windows: Windows | None, gram: bool) -> PairWatcher:
    assert gram  # GPTAQ rounds by second moments
    return PairWatcher(windows)
