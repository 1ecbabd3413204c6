"""A quantized network with other widths of its weights, on training samples that do not calibrate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from amctq.services.run.sensitivity import all_names, kept_samples, refuse_nan

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.data.inputs import Inputs
    from amctq.data.samples import Batches, Targets
    from amctq.inference.metrics.score import Metric, Score
    from amctq.inference.output_change import OutputChange
    from amctq.inference.session import Outputs
    from amctq.progress import Reporter
    from amctq.quant.integer import IntegerWeights
    from amctq.services.ptq.layer_sizes import LayerSizes

COSTS, TRIES = "widths of each layer", "sizes tried"  # the phases
PROBES = 5  # points of the frontier that are measured beside the choice
# Beyond this width a layer alone costs so little that the error of its own output says it better.
MEASURED_WIDTHS = 4
MEASURED_SAMPLES = 256  # of each layer; all samples measure whole networks


@dataclass(frozen=True, kw_only=True, eq=False)
class WidthTrials:
    """The network and the samples.

    Attributes:
        whole: the network with its widest weights.
        weights: by width, those of all layers.
        inputs: of the samples, by batch.
        targets: of the samples, by batch.
        floats: the outputs of the float network.
        classes: outputs of the shape of scores are scores of classes.
        metric: how good a network is; None where nothing says it.
        before: of the float network on these samples; None without a metric.
    """

    whole: QuantizedNetwork
    weights: Mapping[int, IntegerWeights]
    inputs: Sequence[Inputs]
    targets: Sequence[Targets]
    floats: Sequence[Outputs]
    classes: bool
    metric: Metric | None
    before: Score | None

    def with_widths(self, network: QuantizedNetwork, widths: Mapping[str, int]) -> QuantizedNetwork:
        """``network``, of the same calibration, with these widths."""
        chosen: dict[int, list[str]] = {}
        for name, bits in widths.items():
            chosen.setdefault(bits, []).append(name)
        return network.with_weights(*(self.weights[bits].only(names) for bits, names in chosen.items()))

    def measured(self, widths: Mapping[str, int]) -> OutputChange:
        """The network with these widths against the float network."""
        from amctq.inference.onnx_session import OnnxSession
        from amctq.inference.output_change import output_change

        session = OnnxSession(self.with_widths(self.whole, widths).onnx_graph())
        outputs = (session.run(some) for some in self.inputs)
        return output_change(self.floats, outputs, self.targets, self.metric, classes=self.classes)

    def costs(self, sizes: LayerSizes, reporter: Reporter) -> Mapping[str, Mapping[int, float]]:
        """By layer and width, what this layer alone costs in the network whose other layers have their widest weights.

        Narrow widths are measured, in runs of what comes behind the layer; wider ones follow from the errors.
        """
        from amctq.data.inputs import samples_in
        from amctq.inference.changed_graph import ReferenceGraph
        from amctq.inference.output_change import output_change
        from amctq.quant.width_cost import costs_of

        count, samples = 0, 0
        while count < len(self.inputs) and samples < MEASURED_SAMPLES:
            samples += samples_in(self.inputs[count])
            count += 1
        reference = ReferenceGraph(self.whole.onnx_graph(), self.inputs[:count])
        compare = partial(
            output_change, reference.outputs, targets=self.targets[:count], metric=None, classes=self.classes
        )
        found = {}
        with reporter.phase(COSTS, len(sizes.by_width), "layers") as advance:
            for done, (name, own) in enumerate(sizes.by_width.items(), 1):
                narrow = [bits for bits in own if bits <= max(MEASURED_WIDTHS, min(own))]
                measured = {}
                for bits in narrow:
                    variant = self.with_widths(self.whole, {name: bits}).onnx_graph()
                    measured[bits] = compare(after=reference.outputs_of(variant)).cost
                found[name] = costs_of({bits: self.weights[bits].errors[name] for bits in own}, measured)
                advance(done)
        return found


def width_trials(quantized: QuantizedNetwork, tuning: Batches, metric: Metric | None) -> WidthTrials:
    """Prepare the samples, and run the float network on them.

    Raises:
        InputError: a sample is no number, the network gives NaN, or the metric cannot read outputs and targets.
    """
    from amctq.inference.onnx_session import OnnxSession
    from amctq.inference.output_change import output_change

    inputs, targets = kept_samples(tuning)
    # Numbers (N, k) that are compared with targets of their own are no scores of classes.
    classes = tuning.samples.classified or all(wanted is None for wanted in targets)
    session = OnnxSession(quantized.network.graph.model)
    floats = [session.run(some) for some in inputs]
    refuse_nan(floats, inputs)
    return WidthTrials(
        whole=quantized.only(all_names(quantized)),
        weights={each.layers[0].weight.bits: each for each in quantized.choices},
        inputs=inputs,
        targets=targets,
        floats=floats,
        classes=classes,
        metric=metric,
        before=output_change(floats, floats, targets, metric, classes=classes).score,
    )
