"""report.json: everything that a run measured. What differs between two equal runs stands under ``timing`` alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from amctq.runtime import cpu_count, cpu_instructions, cpu_model, onednn_isa, versions

if TYPE_CHECKING:
    from amctq.data.cifar import Images
    from amctq.export.verify import Ranks
    from amctq.services.checks import Accuracy
    from amctq.services.ptq import PtqResult

SCHEMA = 1


def report_bytes(report: dict[str, Any]) -> bytes:
    """The report as UTF-8 JSON with a final newline.

    Where Python reads paths as ASCII, a Chinese one holds surrogates; "surrogateescape" gives its bytes back.
    """
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode(errors="surrogateescape")


def ptq_report(result: PtqResult) -> dict[str, Any]:
    """The report of a PTQ run, ready for JSON."""
    request, spec = result.request, result.spec
    isa, isa_reason = onednn_isa(result.device.kind)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "command": "ptq",
        "environment": {
            "versions": versions(),
            "cpu": cpu_model(),
            "cpu_instructions": list(cpu_instructions()),
            "cores": cpu_count(),
            "device": result.device.kind.value,
            "device_reason": result.device.reason,
            "onednn_max_cpu_isa": isa,
            "onednn_max_cpu_isa_reason": isa_reason,
        },
        "model": {
            "name": spec.name,
            "num_classes": request.num_classes,
            "image_size": spec.preprocessing.image_size,
            "mean": list(spec.preprocessing.mean),
            "std": list(spec.preprocessing.std),
            "checkpoint": str(request.ckpt),
            "checkpoint_sha256": result.checkpoint_sha256,
        },
        "data": {
            "dataset": str(request.dataset),
            "split": result.split.note,
            "seed": request.seed,
            "calibration": _images(result.split.calibration),
            "evaluation": None if result.split.evaluation is None else _images(result.split.evaluation),
        },
        "quantization": {
            "backend": result.backend.value,
            "backend_reason": result.backend_reason,
            "placement": "ascend",
            "act_algo": request.act_algo.value,
            "act_type": request.act_type.value,
            "weight_bits": 8,
            "layers": _layers(result),
            "left_in_float": [{"name": layer.name, "reason": layer.reason} for layer in result.topology.left_in_float],
        },
        "accuracy": None if result.accuracy is None else _accuracy(result.accuracy),
        "files": {
            "float_onnx_bytes": result.float_bytes,
            "int8_onnx_bytes": result.int8_bytes,
            "ratio": round(result.int8_bytes / result.float_bytes, 4),
        },
        "checks": [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in result.checks],
        "warnings": list(result.warnings),
        "timing": {"seconds": {phase: round(value, 3) for phase, value in result.seconds.items()}},
    }
    if result.accuracy is not None:
        speed = result.accuracy.speed
        report["timing"]["images_per_second"] = {
            "float": round(speed.float32, 1),
            "int8": round(speed.int8, 1),
            "ratio": round(speed.ratio, 3),
            "batch_size": speed.batch_size,
            "rounds": speed.rounds,
        }
    return report


def _images(images: Images) -> dict[str, Any]:
    return {
        "images": len(images),
        "files": [path.name for path in images.source],
        "indices_sha256": images.indices_sha256,
    }


def _layers(result: PtqResult) -> list[dict[str, Any]]:
    return [
        {
            "name": layer.name,
            "type": layer.kind.value,
            "scale_d": entry.activation.scale,
            "offset_d": entry.activation.offset,
            "weight_scales": len(entry.weight_scale),
            "scale_w_min": float(np.min(entry.weight_scale)),
            "scale_w_max": float(np.max(entry.weight_scale)),
            "batch_norm_folded": layer.batch_norm is not None,
        }
        for layer, entry in zip(result.topology.layers, result.record.layers, strict=True)
    ]


def _accuracy(accuracy: Accuracy) -> dict[str, Any]:
    difference = accuracy.difference
    return {
        "images": difference.images,
        "float": _ranks(accuracy.float_ranks),
        "int8": _ranks(accuracy.int8_ranks),
        "top1_drop": round(difference.drop, 4),
        "top1_drop_95": [round(end, 4) for end in difference.interval],
        "lost": difference.lost,
        "gained": difference.gained,
        "mcnemar_p": float(f"{difference.p_value:.4g}"),
    }


def _ranks(ranks: Ranks) -> dict[str, float]:
    return {"top1": round(ranks.top1, 4), "top5": round(ranks.top5, 4)}
