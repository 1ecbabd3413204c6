"""The report of ``amctq qat``, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amctq.services import report

if TYPE_CHECKING:
    from amctq.services.qat import QatAccuracy, QatResult


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
        "simulation": report.own_forward(result.own_forward),
        "files": report.model_files(result.exports),
        "checks": report.checks(result.checks),
        "warnings": list(result.warnings),
        "timing": {
            "seconds": {phase: round(value, 3) for phase, value in result.seconds.items()},
            "parts": {part: round(value, 3) for part, value in result.parts.items()},
            "resumed_at_step": result.trained.resumed_at,
            "operators": result.operators,  # the bits are the same with and without a compiler
        },
    }
    if result.accuracy is not None:
        made["timing"]["images_per_second"] = report.speed(result.exports.measured.name, result.accuracy.exported.speed)
    return made


def _quantization(result: QatResult) -> dict[str, Any]:
    plan, request, quantized = result.plan, result.plan.request, result.quantized
    skipped = {layer.name for layer in result.config.layers if not layer.enabled}
    return {
        "backend": plan.backend.name.value,
        "backend_reason": plan.backend_reason,
        "placement": quantized.activations.plan.placement.value,
        "isa": plan.target.isa.value,
        "isa_reason": plan.target.reason,
        "started_from": "record" if request.record else "calibration",
        "layers": [report.quantized_layer(layer, quantized.record[layer.name]) for layer in quantized.topology.layers],
        "left_in_float": [
            *({"name": name, "reason": "skipped"} for name in sorted(skipped)),
            *({"name": layer.name, "reason": layer.reason} for layer in result.proved.network.topology.left_in_float),
        ],
    }


def _training(result: QatResult) -> dict[str, Any]:
    recipe, state = result.recipe, result.trained.state
    return {
        "recipe": recipe.data(),
        "epochs": recipe.epochs,
        "devices": result.plan.place.size,
        "steps": state.step,
        "exported_epoch": result.trained.epoch,
        "selected": result.plan.request.select.value,
        "best": None if state.best is None else {"epoch": state.best.epoch, "top1": round(state.best.top1, 4)},
        "last": None if state.last is None else {"epoch": state.last.epoch, "top1": round(state.last.top1, 4)},
    }


def _accuracy(result: QatResult, accuracy: QatAccuracy) -> dict[str, Any]:
    measured = report.accuracy(accuracy.exported)
    agreeing = measured["images"] - accuracy.disagreements
    return {
        "file": result.exports.measured.name,
        **measured,
        "ptq": report.ranks(accuracy.ptq_ranks),
        "training_network": report.ranks(accuracy.training.ranks),
        "agreement": {
            "argmax_differences": accuracy.disagreements,
            "percent": round(100 * agreeing / measured["images"], 4),
        },
    }
