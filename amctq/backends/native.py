"""amctq's own engine: NumPy mathematics on the graph that MindSpore exports; runs anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx

from amctq.backends.base import (
    Backend,
    Capabilities,
    FloatNetwork,
    PtqConfig,
    QuantizedNetwork,
)
from amctq.backends.calibration import observe_activations
from amctq.choices import ActType, BackendName, Device, ExportFormat
from amctq.data.batches import Batches
from amctq.errors import CheckError
from amctq.export.qdq_onnx import build_qdq
from amctq.progress import Narrator
from amctq.quant.integer import IntegerLayer, integer_layers, make_record
from amctq.quant.observers import OBSERVERS
from amctq.quant.record import QuantRecord
from amctq.quant.topology import FloatGraph, LayerKind, fuse
from amctq.quant.weights import arq_scale, quantize_weight


@dataclass(frozen=True, kw_only=True, eq=False)
class NativeQuantizedNetwork(QuantizedNetwork):
    """What the native engine makes of a network.

    Attributes:
        record: scales and offsets of its layers.
        layers: the integers on these scales.
        graph: the float network that they replace layers of.
        act_type: integer type of the activations.
    """

    record: QuantRecord
    layers: tuple[IntegerLayer, ...]
    graph: FloatGraph
    act_type: ActType

    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write QDQ ONNX, the one format so far, and check it."""
        del form
        model = build_qdq(self.graph, self.layers, act_type=self.act_type, metadata=metadata)
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            message = f"the exported ONNX model is not valid: {str(error).splitlines()[0]}"
            raise CheckError(message, hint="please report this with the network; nothing was written") from error
        path.write_bytes(model.SerializeToString(deterministic=True))


class NativeBackend(Backend):
    """ARQ weights, observers over float activations, placement ``ascend``."""

    name: ClassVar[BackendName] = BackendName.NATIVE
    capabilities: ClassVar[Capabilities] = Capabilities(
        formats=frozenset({ExportFormat.ONNX}),
        act_algos=frozenset(OBSERVERS),
        act_types=frozenset(ActType),
        devices=frozenset({Device.CPU, Device.ASCEND}),
    )

    def quantize(
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, narrator: Narrator
    ) -> NativeQuantizedNetwork:
        """BatchNorm fusion, weight scales, calibration behind fake-quantized weights, integers (reference §4.8)."""
        graph, topology = network.graph, network.topology
        with narrator.phase("weights", len(topology.layers), "layers") as advance:
            fused = fuse(graph, topology)
            scales = {
                layer.name: arq_scale(fused[layer.name].weight, channel_wise=layer.kind is LayerKind.CONV)
                for layer in topology.layers
            }
            fake = {name: quantize_weight(fused[name].weight, scale).dequantized() for name, scale in scales.items()}
            advance(len(topology.layers))
        activations = observe_activations(
            graph,
            topology,
            weights=fake,
            biases={name: parameters.bias for name, parameters in fused.items()},
            observers={tensor: OBSERVERS[config.act_algo]() for tensor in topology.inputs},
            batches=calibration,
            narrator=narrator,
        )
        record = make_record(topology, fused, scales, activations)
        return NativeQuantizedNetwork(
            record=record,
            layers=integer_layers(topology, fused, record),
            graph=graph,
            act_type=config.act_type,
        )
