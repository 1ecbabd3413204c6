"""What the target computes in float between integer layers, for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.choices import ExportFormat, Placement, Target
from amctq.services.run.float_parts import why_skipped

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.files import OutputDirectory
    from amctq.inference.between_integers import FloatOperator
    from amctq.services.ptq.plan import PtqPlan
    from amctq.services.ptq.prepare import Prepared
    from amctq.services.run.finish import Finished


def float_operators(
    plan: PtqPlan, quantized: QuantizedNetwork, prepared: Prepared, finished: Finished, output: OutputDirectory
) -> tuple[FloatOperator, ...]:
    """What is computed in float between integer layers; nothing with placement ``ascend``.

    onnxruntime and OpenVINO say it themselves. For TensorRT, which is not here, it is read off the file.
    """
    import onnx

    from amctq.inference import openvino_operators, optimised, qdq_operators
    from amctq.inference.openvino_session import OpenVinoSession
    from amctq.services.run.exports import ExportedFile

    placed = quantized.activations.plan
    if placed.placement is not Placement.ORT or ExportFormat.ONNX not in finished.files:
        return ()
    whole, integer = prepared.verified.network.topology, {layer.name for layer in quantized.topology.layers}
    reasons = {layer.name: layer.reason for layer in (*whole.left_in_float, *placed.float_layers)}
    reasons = why_skipped(whole, integer, prepared.quant) | reasons
    for layer in whole.layers:
        if layer.name in reasons:
            reasons |= dict.fromkeys((layer.node, layer.raw_output, layer.output), reasons[layer.name])
    file = finished.files[ExportFormat.ONNX]
    assert isinstance(file, ExportedFile)
    if isinstance(file.session, OpenVinoSession):
        nodes = prepared.verified.network.graph.model.graph.node
        operators = {name: node.op_type for node in nodes for name in (node.name, *node.output)}
        operators |= {layer.name: operators[layer.node] for layer in whole.layers}
        return openvino_operators.float_operators(file.session, reasons, operators, integer)
    content = output.staged(file.name).read_bytes()
    if plan.request.target is Target.TENSORRT:
        return qdq_operators.float_operators(onnx.load_model_from_string(content), reasons)
    return optimised.float_operators(content, reasons)
