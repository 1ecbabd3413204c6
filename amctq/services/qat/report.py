"""The report of ``amctq qat``, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amctq.backends.base import OpaqueNetwork, QuantizedNetwork
from amctq.choices import Placement
from amctq.services.run import report

if TYPE_CHECKING:
    from amctq.services.qat.finish import QatAccuracy
    from amctq.services.qat.result import QatResult


def qat_report(result: QatResult) -> dict[str, Any]:
    """Everything that a run has measured; what differs between equal runs stands under ``timing``."""
    plan, request, images = result.plan, result.plan.request, result.images
    made: dict[str, Any] = {
        "schema": report.SCHEMA,
        "command": "qat",
        "environment": report.environment(plan.device),
        "model": report.model(request, plan.spec.name, images.training)
        | {"checkpoint": str(request.ckpt), "checkpoint_sha256": result.checkpoint_sha256},
        "data": {
            "dataset": str(request.train_dataset or request.dataset),
            "evaluation_dataset": str(request.eval_dataset or request.dataset),
            "split": images.split.note,
            "seed": request.seed,
            "training": report.samples(images.training),
            "calibration": None if request.record else report.samples(images.split.calibration),
            "evaluation": None if images.evaluation is None else report.samples(images.evaluation),
        },
        "quantization": _quantization(result),
        "training": _training(result),
        "accuracy": None if result.accuracy is None else _accuracy(result, result.accuracy),
        "simulation": report.simulation(result.simulation),
        "files": report.model_files(result.files, result.compared),
        "atc": None if result.atc is None else result.atc.data(),
        "not_run": [file.name for file in result.files.values()] if result.exports is None else [],
        "checks": report.checks(result.checks),
        "warnings": list(result.warnings),
        "timing": {
            "seconds": {phase: round(value, 3) for phase, value in result.seconds.items()},
            "parts": {part: round(value, 3) for part, value in result.parts.items()},
            "resumed_at_step": result.trained.resumed_at,
            "operators": result.operators,  # the bits are the same with and without a compiler
        },
    }
    exported = None if result.accuracy is None else result.accuracy.exported
    if result.exports is not None and exported is not None and exported.speed is not None:
        made["timing"]["images_per_second"] = report.speed(result.exports.measured.name, exported.speed)
    return made


def _quantization(result: QatResult) -> dict[str, Any]:
    plan, request, quantized = result.plan, result.plan.request, result.quantized
    quantized_layers = {layer.name for layer in quantized.topology.layers}
    skipped = {layer.name for layer in result.config.layers if layer.name not in quantized_layers}
    return {
        "backend": plan.backend.name.value,
        "backend_reason": plan.backend_reason,
        "placement": Placement.ASCEND.value,
        "isa": plan.target.isa.value,
        "isa_reason": plan.target.reason,
        "started_from": "record" if request.record else "calibration",
        "layers": _layers(quantized),
        "left_in_float": [
            *({"name": name, "reason": "skipped"} for name in sorted(skipped)),
            *({"name": layer.name, "reason": layer.reason} for layer in result.verified.network.topology.left_in_float),
        ],
    }


def _training(result: QatResult) -> dict[str, Any]:
    recipe, state, file = result.recipe, result.trained.state, result.plan.request.hyper_parameters
    return {
        "recipe": recipe.data(),
        "hyper_parameters": None if file is None else str(file),
        "epochs": recipe.epochs,
        "devices": result.plan.worker.size,
        "steps": state.step,
        "exported_epoch": result.trained.epoch,
        "selected": result.plan.request.select.value,
        "best": None if state.best is None else {"epoch": state.best.epoch, "top1": round(state.best.top1, 4)},
        "last": None if state.last is None else {"epoch": state.last.epoch, "top1": round(state.last.top1, 4)},
    }


def _accuracy(result: QatResult, accuracy: QatAccuracy) -> dict[str, Any]:
    stages = {
        "ptq": report.ranks(accuracy.ptq_label_ranks),
        "training_network": report.ranks(accuracy.training.ranks),
    }
    if result.exports is None or accuracy.exported is None:  # nothing here can run the file: no figure is given for it
        images = len(accuracy.float_label_ranks.ranks)
        return {
            "file": None,
            "images": images,
            "float": report.ranks(accuracy.float_label_ranks),
            "int8": None,
            **stages,
        }
    measured = report.accuracy(accuracy.exported)
    agreeing = measured["images"] - (accuracy.disagreements or 0)
    return {
        "file": result.exports.measured.name,
        **measured,
        **stages,
        "agreement": {
            "argmax_differences": accuracy.disagreements,
            "percent": round(100 * agreeing / measured["images"], 4),
        },
    }


def _layers(network: QuantizedNetwork | OpaqueNetwork) -> list[dict[str, Any]]:
    if isinstance(network, QuantizedNetwork):
        return [report.quantized_layer(layer, network.record[layer.name]) for layer in network.topology.layers]
    return [{"name": layer.name, "type": layer.kind.value, "weight_bits": 8} for layer in network.topology.layers]
