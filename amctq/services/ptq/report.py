"""report.json of ``amctq ptq``."""

from __future__ import annotations

from typing import Any

from amctq.choices import BackendName
from amctq.services.ptq.result import PtqResult
from amctq.services.run import report as report_parts
from amctq.services.run.report import (
    accuracy,
    checks,
    environment,
    model,
    model_files,
    quantized_layer,
    samples,
    simulation,
    speed,
)


def ptq_report(result: PtqResult) -> dict[str, Any]:
    """The report of a PTQ run, ready for JSON."""
    plan = result.plan
    request = plan.request
    report: dict[str, Any] = {
        "schema": report_parts.SCHEMA,
        "command": "ptq",
        "environment": environment(plan.device),
        "model": model(request, plan.spec.name, result.split.calibration)
        | {"checkpoint": str(request.ckpt), "checkpoint_sha256": result.checkpoint_sha256},
        "data": {
            "dataset": str(request.dataset),
            "kind": plan.data.kind,
            "split": result.split.note,
            "seed": request.seed,
            "calibration": samples(result.split.calibration),
            "evaluation": None if result.split.evaluation is None else samples(result.split.evaluation),
        },
        "quantization": _quantization(result),
        "accuracy": None
        if result.accuracy is None
        else {"file": result.exports.measured.name} | accuracy(result.accuracy),
        "simulation": simulation(result.simulation, measured=result.accuracy is not None),
        "files": model_files(result.exports.files, result.compared),
        "atc": None if result.atc is None else result.atc.data(),
        "not_run": list(result.exports.not_run),
        "checks": checks(result.checks),
        "warnings": list(result.warnings),
        "timing": {
            "seconds": {phase: round(value, 3) for phase, value in result.seconds.items()},
            "parts": {part: round(value, 3) for part, value in result.parts.items()},
        },
    }
    if result.accuracy is not None and result.accuracy.speed is not None:
        report["timing"]["images_per_second"] = speed(result.exports.measured.name, result.accuracy.speed)
    return report


def _quantization(result: PtqResult) -> dict[str, Any]:
    request, enabled = result.plan.request, None if result.quant is None else result.quant.enabled
    layers = []
    for layer in result.quantized.topology.layers:
        entry = result.quantized.record[layer.name]
        algos = {
            "act_algo": None if enabled is None else enabled[layer.name].activation.algo.value,
            "weight_algo": None if enabled is None else enabled[layer.name].weight.algo.value,
        }
        layers.append(quantized_layer(layer, entry) | algos)
    quantized = {layer["name"] for layer in layers}
    topology = result.verified.network.topology
    own = request.record is None and result.plan.backend.name is BackendName.NATIVE
    return {
        "backend": result.plan.backend.name.value,
        "backend_reason": result.plan.backend_reason,
        "placement": request.resolved_placement.value,
        "from": "record" if request.record else "config" if request.config else "options",
        "ifmr_variant": request.ifmr_variant.value if own else None,
        "arq_rule": request.arq_rule.value if own else None,
        "act_type": request.act_type.value,
        "weight_storage": request.weight_storage.value,
        "isa": result.plan.target.isa.value,
        "isa_reason": result.plan.target.reason,
        "layers": layers,
        "left_in_float": [
            *({"name": item.name, "reason": "skipped"} for item in topology.layers if item.name not in quantized),
            *({"name": layer.name, "reason": layer.reason} for layer in topology.left_in_float),
        ],
    }
