"""``--auto``: try networks in which some layers fall back, on the tuning samples, and keep the best."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from amctq.choices import WeightAlgo
from amctq.runtime import cpu_model, versions
from amctq.services.fallback.ranking import costs_of_layers, ranking_samples
from amctq.services.fallback.result import Fallback, Try
from amctq.services.fallback.search import Choice, Search
from amctq.services.fallback.tries import Measured, TriesFile
from amctq.services.run.sensitivity import names_of_layers

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.choices import Runtime
    from amctq.data.samples import Batches
    from amctq.inference.metrics.score import Metric, Score
    from amctq.inference.session import Session
    from amctq.progress import Reporter
    from amctq.quant.config import QuantConfig
    from amctq.quant.integer import IntegerWeights

TUNING_ACCURACY, FLOAT_TUNING = "tries on tuning samples", "float accuracy on tuning samples"


def wider_weights(quant: QuantConfig, bits: int, algo: WeightAlgo) -> QuantConfig | None:
    """The configuration with wider weights where they are narrower; None where none are.

    Args:
        quant: the configuration asked for.
        bits: the wider width.
        algo: how weights of that width are rounded.
    """
    if all(layer.weight.bits >= bits for layer in quant.enabled.values()):
        return None
    return quant.with_widths({name: bits for name, item in quant.enabled.items() if item.weight.bits < bits}, algo)


@dataclass(kw_only=True, eq=False)
class Tuning:
    """Tries networks.

    Attributes:
        quantized: the network as it was asked for; the last of its ``choices`` has wider weights where these were
            narrower.
        quant: its configuration.
        bits: width of the wider weights.
        algo: how these are rounded.
        session: runs the float network.
        runtime: runs the networks that are tried.
        samples: the tuning samples.
        metric: how good a network is.
        target: the largest drop allowed.
        seed: of the run.
        file: keeps what is measured.
        reporter: shows the phases.
    """

    quantized: QuantizedNetwork
    quant: QuantConfig
    bits: int
    algo: WeightAlgo
    session: Session
    runtime: Runtime
    samples: Batches
    metric: Metric
    target: float
    seed: int
    file: TriesFile
    reporter: Reporter

    def fall_back(self) -> Fallback:
        """Find the layers.

        Raises:
            InputError: the tries to resume from are those of another run; a network gives NaN.
            WriteError: the tries cannot be kept.
        """
        known = self.file.begin(self._identity(), names_of_layers(self.quantized))
        if known:
            self.reporter.info(f"{known} tries are known from {self.file.path}")
        tries: list[Try] = []

        def meets(choice: Choice) -> bool:
            found = self._measured(choice)
            tries.append(Try(choice=choice, measured=found, kept=found.drop <= self.target))
            self.reporter.info(self._told(len(tries), tries[-1]))
            return tries[-1].kept

        weights = self._weights
        wider = () if self._wider is None else self._wider.layers
        narrow = {item.layer.name for item in wider if item.weight.bits > self._bits_of[item.layer.name]}
        found = Search(meets=meets, rank=self._costs, weights=weights, narrow=narrow).find()
        by_choice = {item.choice: item for item in tries}
        chosen = min(tries, key=lambda item: item.measured.drop) if found is None else by_choice[found]
        return Fallback(
            target=self.target,
            metric=self.metric.name,
            samples=self.samples.images,
            seed=self.seed,
            bits=self.bits,
            tries=tuple(tries),
            chosen=chosen,
            met=found is not None,
            weights=weights,
            network=self._network(chosen.choice),
            quant=self._configured(chosen),
        )

    @cached_property
    def _before(self) -> Score:
        from amctq.inference.metrics.measure import measure

        with self.reporter.phase(FLOAT_TUNING, self.samples.images) as advance:
            return measure(self.session, self.samples, self.metric, advance).score

    @property
    def _wider(self) -> IntegerWeights | None:
        return self.quantized.choices[-1] if self.quantized.choices else None

    @cached_property
    def _bits_of(self) -> dict[str, int]:
        return {item.layer.name: item.weight.bits for item in self.quantized.layers}

    @cached_property
    def _weights(self) -> dict[str, int]:
        found = {item.layer.name: item.weight.values.size for item in self.quantized.layers}
        return found | {item.table.name: item.weight.values.size for item in self.quantized.tables}

    def _costs(self) -> Mapping[str, float]:
        if self.file.costs is None:
            self.file.rank(costs_of_layers(self.quantized, ranking_samples(self.samples), self.reporter))
        assert self.file.costs is not None
        return self.file.costs

    def _network(self, choice: Choice) -> QuantizedNetwork:
        network = self.quantized
        if self._wider is not None:
            network = network.with_weights(self._wider.only(choice.wider))
        if choice.in_float:
            pools = {pool.name for pool in network.record.pools}
            network = network.only({*names_of_layers(network), *pools} - choice.in_float, stored=True)
        return network

    def _measured(self, choice: Choice) -> Measured:
        from amctq.inference.metrics.measure import measure
        from amctq.inference.paired import paired_difference
        from amctq.inference.runtimes import open_onnx

        known = self.file.known(choice)
        if known is None:
            content = self._network(choice).onnx_graph().SerializeToString(deterministic=True)
            session = open_onnx(content, self.runtime)
            with self.reporter.phase(TUNING_ACCURACY, self.samples.images) as advance:
                after = measure(session, self.samples, self.metric, advance).score
            difference = paired_difference(self._before, after)
            known = Measured(drop=difference.drop, interval=difference.interval)
            self.file.add(choice, known)
        return known

    def _identity(self) -> dict[str, Any]:
        """All that decides what a try measures: the integers, the samples and what the float network makes of these."""
        wider = () if self._wider is None else (self.quantized.with_weights(self._wider),)
        networks = (self.quantized, *wider)
        graphs = [network.onnx_graph().SerializeToString(deterministic=True) for network in networks]
        return {
            "network": [hashlib.sha256(graph).hexdigest() for graph in graphs],
            "samples": self.samples.samples.indices_sha256,
            "sources": list(self.samples.samples.sources),
            "metric": self.metric.name.data(),
            "float": self._before.value,
            "runtime": [self.runtime.value, versions()["onnxruntime"], cpu_model()],
        }

    def _configured(self, chosen: Try) -> QuantConfig:
        """The configuration that says the same, with the reason where a layer is in float."""
        quant = self.quant.with_widths(dict.fromkeys(chosen.choice.wider, self.bits), self.algo)
        reason = (
            f"left in float by --auto: --max-drop {self.target:g} needs it on {self.samples.images:,} tuning samples"
        )

        def said(layer: Any) -> Any:
            return replace(layer, enabled=False, why_in_float=reason) if layer.name in chosen.choice.in_float else layer

        return replace(quant, layers=tuple(map(said, quant.layers)), tables=tuple(map(said, quant.tables)))

    def _told(self, number: int, made: Try) -> str:
        choice = made.choice
        wider = f"{len(choice.wider)} layers at {self.bits} bits, " if self._wider is not None else ""
        drop = self.metric.name.text_beside(made.measured.drop, self.target)
        return f"try {number}: {wider}{len(choice.in_float)} in float: drop {drop}{'' if made.kept else ', too much'}"
