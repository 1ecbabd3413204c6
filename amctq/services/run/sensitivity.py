"""What each layer costs when it is quantized: alone, and as one of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from amctq.errors import InputError

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.backends.layer_errors import LayerErrors, Sums
    from amctq.data.inputs import Inputs
    from amctq.data.samples import Batches, Targets
    from amctq.inference.changed_graph import ReferenceGraph
    from amctq.inference.metrics.score import Metric, Score
    from amctq.inference.output_change import OutputChange
    from amctq.inference.session import Outputs
    from amctq.progress import Reporter
    from amctq.quant.channel_ranges import ChannelRanges

LAYERS, ALONE, LEFT_IN_FLOAT = "errors of layers", "each layer quantized alone", "each layer left in float"


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSensitivity:
    """What one layer costs.

    Attributes:
        name: of the layer or the embedding table.
        operator: its type.
        weight_bits: width of its weights.
        elements: number of its weights.
        alone: the network with this layer quantized and all others in float.
        left_in_float: the network with all layers quantized but this one.
        errors: at its own output; None for an embedding table.
        weights: the channels of its float weights.
    """

    name: str
    operator: str
    weight_bits: int
    elements: int
    alone: OutputChange
    left_in_float: OutputChange
    errors: LayerErrors | None
    weights: ChannelRanges


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensitivity:
    """What each layer costs.

    Attributes:
        layers: the worst first.
        samples: on how many samples it was measured.
        before: score of the network in float on these; None without a metric.
        whole: the network with all layers quantized.
    """

    layers: tuple[LayerSensitivity, ...]
    samples: int
    before: Score | None
    whole: OutputChange

    @property
    def order(self) -> str:
        """The figure by which the layers are sorted."""
        return "sqnr_db" if self.whole.kl is None else "kl"

    def data(self) -> list[dict[str, Any]]:
        """The layers, ready for JSON."""
        return [_data(layer, self.before) for layer in self.layers]

    def summary(self) -> dict[str, Any]:
        """What belongs to all layers, ready for JSON."""
        return {
            "samples": self.samples,
            "order": self.order,
            "metric": None if self.before is None else self.before.metric.data(),
            "float": None if self.before is None else dict(self.before.figures),
            "quantized": None if self.whole.score is None else dict(self.whole.score.figures),
            **_change(self.whole),
        }


def measure_layers(
    quantized: QuantizedNetwork, tuning: Batches, metric: Metric | None, reporter: Reporter
) -> Sensitivity:
    """Measure every layer on training samples that have not calibrated.

    At its own output: one pass for all layers. At the network's output: two runs for each layer, of what comes behind
    it; their values are those of whole runs.

    Args:
        quantized: the quantized network; none of its layers is equalized.
        tuning: the samples.
        metric: how good a network is; None where nothing says it.
        reporter: shows the phases.

    Raises:
        InputError: the network gives NaN, or its outputs and targets are not what the metric reads.
    """
    from amctq.backends.layer_errors import layer_errors
    from amctq.inference.changed_graph import ReferenceGraph
    from amctq.inference.output_change import output_change
    from amctq.quant.channel_ranges import ranges_of

    inputs, targets = kept_samples(tuning)
    # Numbers (N, k) that are compared with targets of their own are no scores of classes.
    classes = tuning.samples.classified or all(wanted is None for wanted in targets)
    compare = partial(output_change, targets=targets, metric=metric, classes=classes)
    whole = quantized.only(all_names(quantized))
    with reporter.phase(LAYERS, tuning.images) as advance:
        errors = layer_errors(whole, inputs, advance)
        floats = ReferenceGraph(quantized.network.graph.model, inputs)
        refuse_nan(floats.outputs, inputs)
        integers = ReferenceGraph(whole.onnx_graph(), inputs)

    def change(reference: ReferenceGraph, names: set[str], *, attention: bool) -> OutputChange:
        variant = quantized.only(names, attention=attention).onnx_graph()
        return compare(floats.outputs, reference.outputs_of(variant))

    places = names_of_layers(quantized)
    alone, left = {}, {}
    with reporter.phase(ALONE, len(places), "layers") as advance:
        for done, name in enumerate(places, 1):
            alone[name] = change(floats, {name}, attention=False)
            advance(done)
    with reporter.phase(LEFT_IN_FLOAT, len(places), "layers") as advance:
        for done, name in enumerate(places, 1):
            left[name] = change(integers, all_names(quantized) - {name}, attention=True)
            advance(done)
    before = compare(floats.outputs, floats.outputs)
    after = compare(floats.outputs, integers.outputs)
    found = [
        LayerSensitivity(
            name=item.layer.name,
            operator=item.layer.kind.value,
            weight_bits=item.weight.bits,
            elements=item.weight.values.size,
            alone=alone[item.layer.name],
            left_in_float=left[item.layer.name],
            errors=errors[item.layer.name],
            weights=errors[item.layer.name].weight,
        )
        for item in quantized.layers
    ]
    found += [
        LayerSensitivity(
            name=item.table.name,
            operator="Embedding",
            weight_bits=item.weight.bits,
            elements=item.weight.values.size,
            alone=alone[item.table.name],
            left_in_float=left[item.table.name],
            errors=None,
            weights=ranges_of(quantized.network.graph.arrays[item.table.weight]),
        )
        for item in quantized.tables
    ]
    return Sensitivity(
        layers=tuple(sorted(found, key=lambda layer: _worst_first(layer.alone))),
        samples=tuning.images,
        before=before.score,
        whole=after,
    )


def names_of_layers(quantized: QuantizedNetwork) -> tuple[str, ...]:
    """The quantized layers and embedding tables, in the order of execution."""
    return (*(item.layer.name for item in quantized.layers), *(item.table.name for item in quantized.tables))


def all_names(quantized: QuantizedNetwork) -> set[str]:
    """Of the layers, tables and means over windows that are quantized."""
    return {*names_of_layers(quantized), *(pool.name for pool in quantized.record.pools)}


def kept_samples(tuning: Batches) -> tuple[Sequence[Inputs], Sequence[Targets]]:
    """Inputs and targets of the samples by batch, prepared once.

    Raises:
        InputError: a sample holds NaN or infinity.
    """
    from amctq.data.inputs import samples_in
    from amctq.data.samples import check_finite

    inputs, targets, done = [], [], 0
    for some, wanted in tuning:
        check_finite(some, done, "--dataset")
        inputs.append(some)
        targets.append(wanted)
        done += samples_in(some)
    return inputs, targets


def refuse_nan(floats: Sequence[Outputs], inputs: Sequence[Inputs]) -> None:
    """Refuse a float network that gives NaN on these samples.

    Raises:
        InputError: it does.
    """
    from amctq.data.inputs import samples_in
    from amctq.inference.metrics.measure import samples_with_nan

    wrong = sum(samples_with_nan(outputs, samples_in(some)) for outputs, some in zip(floats, inputs, strict=True))
    if wrong:
        message = f"the network gives NaN for {wrong} of the samples that measure its layers"
        raise InputError(message, hint="its parameters, or how the images are prepared, do not fit")


def _worst_first(change: OutputChange) -> tuple[float, float]:
    """A key to sort by: the divergence of the classes, which says more of them than the values do; else the values."""
    figure = -change.sqnr_db if change.kl is None else change.kl
    return (-math.inf if math.isnan(figure) else -figure, change.sqnr_db)


def _data(layer: LayerSensitivity, before: Score | None) -> dict[str, Any]:
    errors = layer.errors
    score = layer.alone.score
    return {
        "layer": layer.name,
        "operator": layer.operator,
        "weight_bits": layer.weight_bits,
        "elements": layer.elements,
        "score_drop": None if before is None or score is None else _round(before.drop_to(score)),
        **_change(layer.alone),
        "left_in_float": _change(layer.left_in_float),
        "output": None if errors is None else _output(errors),
        "weights": _channels(layer.weights),
        "activation": None if errors is None else _activation(errors),
    }


def _change(change: OutputChange) -> dict[str, Any]:
    return {
        "class_changes": change.class_changes,
        "kl": _round(change.kl),
        "sqnr_db": _round(change.sqnr_db),
    }


def _output(errors: LayerErrors) -> dict[str, Any]:
    def sqnr(sums: Sums | None) -> float | None:
        return None if sums is None else _round(sums.sqnr_db)

    return {
        "sqnr_db": sqnr(errors.both),
        "cosine": _round(errors.both.cosine, 6),
        "weights_only_sqnr_db": sqnr(errors.weights),
        "activations_only_sqnr_db": sqnr(errors.activations),
        "accumulated_sqnr_db": sqnr(errors.accumulated),
        "accumulated_cosine": _round(errors.accumulated.cosine, 6),
    }


def _activation(errors: LayerErrors) -> dict[str, Any]:
    low, high = (None, None) if errors.clip is None else map(_round, errors.clip)
    return {
        **_channels(errors.read),
        "clip_min": low,
        "clip_max": high,
        "clipped_share": _round(errors.clipped_share),
    }


def _channels(channels: ChannelRanges) -> Mapping[str, Any]:
    low, high = channels.range
    return {
        "min": _round(low),
        "max": _round(high),
        "outlier_ratio": _round(channels.outlier_ratio),
        "dead_channels": channels.dead,
    }


def _round(value: float | None, digits: int = 4) -> float | None:
    """To so many significant digits; None for what is no finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")
