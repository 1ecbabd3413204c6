"""The native engine's retraining: quantizer cells in the live network, and integers after training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from amctq.backends.ascend import end_half_precision, on_npu
from amctq.backends.base import QuantizedNetwork, RetrainingNetwork
from amctq.backends.compiled import compile_library, kernels
from amctq.backends.exchange import LayerPlace, layer_places
from amctq.backends.native_network import NativeQuantizedNetwork, on_record, reasons
from amctq.backends.native_retraining_cells import (
    EVALUATED,
    ActivationQuantizer,
    Operators,
    RetrainingProduct,
    WeightQuantizer,
)
from amctq.backends.replaced_ranges import warn_of_replaced_weights
from amctq.backends.replacement import Replacement, Slot
from amctq.choices import ActType, WeightType
from amctq.errors import InputError, first_line
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import place_ascend
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.config import LayerConfig
from amctq.quant.integer import make_record
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.record import QuantRecord
from amctq.quant.replaced import replaced_channels, weights_warning
from amctq.quant.retrain_config import RetrainConfig, UlqConfig
from amctq.quant.rounded_start import kept_scale, rounded_start
from amctq.quant.trained import EvaluatedLayer, evaluated_layer, trained_layer
from amctq.quant.ulq import NARROWEST, Clips, arq_retrain_scale, clips_of


class NativeRetrainingNetwork(RetrainingNetwork):
    """A float network in which quantizer cells take the places of the layers' operators.

    Args:
        network: the float network; its cell is changed in place until ``finish``.
        config: which layers are quantized, and how.
        initial: initial clips of the layers for which ``config`` gives none, and the scales that weights of GPTQ keep.
        reporter: gets a warning of every range that is not zero and is replaced.

    Raises:
        InputError: config or record do not fit the network, or a layer's operator cannot be exchanged.
    """

    def __init__(self, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, reporter: Reporter) -> None:
        self.cell = network.cell
        self.topology = config.selected(network.topology)
        self._network = network
        self._config = config
        self._reporter = reporter
        self._operators, self.operators = _operators()
        clips = initial_clips(network, config, initial)
        self._quantizer_of: dict[str, ActivationQuantizer] = {}
        for site in place_ascend(self.topology, clips).sites:
            nonnegative = _after_relu(site.tensor, network.graph)
            quantizer = ActivationQuantizer(
                site.like, clips[site.like], nonnegative=nonnegative, operators=self._operators
            )
            self._quantizer_of |= dict.fromkeys(site.layers, quantizer)
        self._places = check_places(network, self.topology)
        self._kept = self._kept_scales(initial)
        self._warn_of_narrow_clips()
        self._warn_of_small_weights()
        self._replacement = Replacement(self.cell, self._substitutes())

    def begin_at(self, start: QuantizedNetwork) -> None:
        """Give the weights that keep a scale what ``quant.rounded_start`` finds, with their biases or means."""
        import mindspore

        assert isinstance(start, NativeQuantizedNetwork)
        parameters, arrays = self.cell.parameters_dict(), self._network.graph.arrays
        rounded = {item.layer.name: item for item in start.layers}
        for layer in self.topology.layers:
            scale = self._kept_scale(layer)
            if scale is not None:
                for name, value in rounded_start(layer, rounded[layer.name], scale, arrays).items():
                    parameters[name].set_data(mindspore.Tensor(value))

    def state(self) -> Mapping[str, Any]:
        """All parameters except the quantized weights and biases for evaluation."""
        return {
            parameter.name: parameter
            for parameter in self.cell.get_parameters()
            if not parameter.name.endswith(EVALUATED)
        }

    def finish(self, *, weight_type: WeightType = WeightType.INT8) -> NativeQuantizedNetwork:
        """Remove the quantizers, and quantize the trained network with the scales of the training."""
        arrays = {name: parameter.asnumpy() for name, parameter in self.state().items()}
        activations = {layer.name: self._activation(layer) for layer in self.topology.layers}
        self._replacement.undo()
        end_half_precision(self.cell)
        self.cell.set_train(False)
        network = FloatNetwork(
            cell=self.cell, graph=self._network.graph.with_arrays(arrays), topology=self._network.topology
        )
        weights = {layer.name: self._config.enabled[layer.name].weight for layer in self.topology.layers}
        trained = {
            layer.name: trained_layer(layer, weights[layer.name], network.graph.arrays, self._kept_scale(layer))
            for layer in self.topology.layers
        }
        record = make_record(
            self.topology,
            {name: layer.fused for name, layer in trained.items()},
            {name: layer.scale for name, layer in trained.items()},
            activations,
            {name: weight.bits for name, weight in weights.items()},
        )
        self._warn_of_narrow_clips()
        warn_of_replaced_weights({name: layer.fused for name, layer in trained.items()}, record, self._reporter)
        return on_record(network, record, act_type=ActType.UINT8, weight_type=weight_type)

    def _kept_scales(self, initial: QuantRecord) -> dict[str, Any]:
        """By layer whose weight is rounded by GPTQ, the parameter with its scale.

        A weight that its layer computes in every step cannot start on the integers of GPTQ, nor can one that something
        else reads too.
        """
        from mindspore import Parameter, Tensor

        readers = self._network.graph.consumers
        found = {}
        for layer in self.topology.layers:
            config = self._config.enabled[layer.name].weight
            alone = all(len(readers[name]) == 1 for name in _replaced(layer))
            if config.algo.by_inputs and alone and self._places[layer.name].weight is not None:
                scale = kept_scale(layer, config, initial[layer.name].weight_scale, self._network.graph.arrays)
                found[layer.name] = Parameter(Tensor(scale), name=f"{layer.name}.weight_scale", requires_grad=False)
        return found

    def _kept_scale(self, layer: QuantizableLayer) -> Float32Array | None:
        scale = self._kept.get(layer.name)
        return None if scale is None else scale.asnumpy()

    def _warn_of_narrow_clips(self) -> None:
        for quantizer in dict.fromkeys(self._quantizer_of.values()):
            if quantizer.clips.is_widened:
                found, least = f"{quantizer.clip_max.name} is {quantizer.clips.high:.3g}", f"{NARROWEST:.3g}"
                self._reporter.warn(f"{found}, and {least} takes its place: the narrowest range of ULQ")

    def _warn_of_small_weights(self) -> None:
        """Warn of weights that are zero in training; they are quantized before BatchNorm is folded in."""
        found = {}
        for layer in self.topology.layers:
            if layer.name in self._kept:  # the calibration has warned already
                continue
            weight = layer.by_channel(self._network.graph.arrays[layer.weight]).astype(np.float32)
            config = self._config.enabled[layer.name].weight
            scale = arq_retrain_scale(weight, channel_wise=config.channel_wise, bits=config.bits)
            found[layer.name] = replaced_channels(weight, scale, bits=config.bits), len(scale)
        warning = weights_warning(found)
        if warning is not None:
            self._reporter.warn(f"while training, {warning}")

    def _substitutes(self) -> dict[Slot, Any]:
        parameters = self.cell.parameters_dict()
        substitutes: dict[Slot, Any] = {}
        for layer in self.topology.layers:
            place = self._places[layer.name]
            norm = layer.batch_norm
            weight = WeightQuantizer(
                None if place.weight is None else place.weight.value,
                None if norm is None else parameters[norm.gamma],
                shape=self._network.graph.arrays[layer.weight].shape,
                channel_axis=layer.channel_axis,
                config=self._config.enabled[layer.name].weight,
                scale=self._kept.get(layer.name),
                operators=self._operators,
            )
            evaluated = None if place.weight is None else partial(self._evaluated, layer, parameters)
            substitutes[place.operator] = RetrainingProduct(
                layer, place.operator.value, self._quantizer_of[layer.name], weight, evaluated
            )
        return substitutes

    def _evaluated(self, layer: QuantizableLayer, parameters: Mapping[str, Any]) -> EvaluatedLayer:
        norm = layer.batch_norm
        names = [layer.weight, *filter(None, [layer.bias])]
        names += [] if norm is None else [norm.gamma, norm.beta, norm.mean, norm.variance]
        arrays = {name: parameters[name].asnumpy() for name in names}
        weight, activation = self._config.enabled[layer.name].weight, self._activation(layer)
        return evaluated_layer(layer, weight, arrays, activation, self._kept_scale(layer))

    def _activation(self, layer: QuantizableLayer) -> QParams:
        quantizer = self._quantizer_of[layer.name]
        clips = quantizer.clips
        if not (np.isfinite(clips.high) and np.isfinite(clips.low)):
            found = f"{quantizer.clip_max.name} is {clips.high} and {quantizer.clip_min.name} {clips.low}"
            message = f"layer {layer.name}: {found} after training"
            hint = "the training diverged: lower the learning rate, or go back to a checkpoint"
            raise InputError(message, hint=hint)
        return clips.qparams


def _replaced(layer: QuantizableLayer) -> tuple[str, ...]:
    """The parameters that a start on rounded weights gives new values."""
    norm = layer.batch_norm
    return tuple(filter(None, [layer.weight, layer.bias if norm is None else norm.mean]))


def _operators() -> tuple[Operators, str]:
    """The operators that compute the quantizers, and why these."""
    if on_npu():
        return Operators(kernels=None, npu=True), "MindSpore's own, on the NPU"
    library = compile_library()
    description = library.description
    try:
        compiled = kernels(library)
    except TypeError as error:
        compiled, description = None, first_line(error)
    if compiled is None:
        description = f"MindSpore's own: {description}"
    return Operators(kernels=compiled, npu=False), description


def _after_relu(tensor: str, graph: FloatGraph) -> bool:
    """Whether the node that makes the tensor is a ReLU; AMCT looks no further."""
    node = graph.producers.get(tensor)
    return node is not None and node.op_type == "Relu"


def check_places(network: FloatNetwork, topology: Topology) -> Mapping[str, LayerPlace]:
    """By layer, the operator that a quantizer cell takes the place of.

    Raises:
        InputError: a layer has no such operator.
    """
    places = layer_places(network.cell, network.graph, topology.layers)
    if places.missing:
        message = f"the network cannot be retrained: {reasons(places.missing)}"
        raise InputError(message, hint="set retrain_enable of that layer to false, or use --skip-layer")
    return places.found


def initial_clips(network: FloatNetwork, config: RetrainConfig, initial: QuantRecord) -> dict[str, Clips]:
    """Initial clips by layer: those of the configuration, else those of the record.

    Raises:
        InputError: neither has those of a layer.
    """
    return {
        layer.name: _initial_clips(layer, config.enabled[layer.name], initial, network.graph)
        for layer in config.selected(network.topology).layers
    }


def _initial_clips(
    layer: QuantizableLayer, config: LayerConfig[UlqConfig], initial: QuantRecord, graph: FloatGraph
) -> Clips:
    activation = config.activation
    fixed_min = _after_relu(layer.input, graph) if activation.fixed_min is None else activation.fixed_min
    if activation.clip_max is not None and activation.clip_min is not None:
        return Clips(high=activation.clip_max, low=0.0 if fixed_min else activation.clip_min, fixed_min=fixed_min)
    try:
        entry = initial[layer.name]
    except KeyError:
        message = f"the record lacks layer {layer.name}, which is to be retrained"
        hint = "calibrate all layers, or set clip_max and clip_min in the configuration, or retrain_enable to false"
        raise InputError(message, hint=hint) from None
    return clips_of(entry.activation, fixed_min=fixed_min)
