"""Sections of report.json. Only ``timing`` differs between two equal runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from amctq.json_value import strict_json
from amctq.quant.layers import Topology
from amctq.runtime import ResolvedDevice, cpu_count, cpu_instructions, cpu_model, versions

if TYPE_CHECKING:
    from amctq.choices import ExportFormat
    from amctq.data.samples import Samples
    from amctq.inference.fidelity import Fidelity
    from amctq.inference.metrics.score import Score
    from amctq.inference.speed import Speed
    from amctq.quant.integer import IntegerTable
    from amctq.quant.layers import QuantizableLayer
    from amctq.quant.record import LayerRecord, QuantRecord
    from amctq.services.run.accuracy import Accuracy, ComparedFile
    from amctq.services.run.check import Check
    from amctq.services.run.exports import WrittenFile
    from amctq.services.run.simulation import Simulation

SCHEMA = 1


def report_bytes(report: dict[str, Any]) -> bytes:
    """Encode the report as UTF-8 JSON with a final newline."""
    return (json.dumps(strict_json(report), indent=2, ensure_ascii=False) + "\n").encode()


def environment(device: ResolvedDevice) -> dict[str, Any]:
    """The environment: what else the figures of a run depend on, apart from its inputs."""
    return {
        "versions": versions(),
        "cpu": cpu_model(),
        "cpu_instructions": list(cpu_instructions()),
        "cores": cpu_count(),
        "device": device.kind.value,
        "device_reason": device.reason,
        "onednn_max_cpu_isa": device.onednn_isa,
        "onednn_max_cpu_isa_reason": device.onednn_reason,
    }


def model(name: str, num_classes: int | None, images: Samples) -> dict[str, Any]:
    """The network, and how its images are prepared."""
    preprocessing = images.preprocessing
    return {
        "name": name,
        "num_classes": num_classes,
        "input_shape": list(next(iter(images.inputs.values())).shape) if len(images.inputs) == 1 else None,
        "inputs": {name: {"shape": list(spec.shape), "dtype": spec.dtype} for name, spec in images.inputs.items()},
        "preprocessing": None if preprocessing is None else asdict(preprocessing),
    }


def samples(images: Samples) -> dict[str, Any]:
    """The images used, so that two runs can be compared."""
    return {"images": len(images), "sources": list(images.sources), "indices_sha256": images.indices_sha256}


def figures(measured: Score) -> dict[str, float]:
    """The value of the metric, and what belongs to it."""
    rounded = measured.metric.rounded
    return {name: rounded(value, 4 if abs(value) > 1 else 6) for name, value in measured.figures.items()}


def left_in_float(skipped: Mapping[str, str], topology: Topology) -> list[dict[str, str]]:
    """Layers that are not quantized, with the reason: first the skipped ones, then those that cannot be quantized.

    Args:
        skipped: by layer that could be quantized, why it is not.
        topology: of the network.
    """
    return [
        *({"name": name, "reason": reason} for name, reason in skipped.items()),
        *({"name": layer.name, "reason": layer.reason} for layer in topology.left_in_float),
    ]


def rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    """Times by name, to the millisecond."""
    return {name: round(value, 3) for name, value in seconds.items()}


def quantized_layer(layer: QuantizableLayer, entry: LayerRecord) -> dict[str, Any]:
    """The scales of one quantized layer."""
    return {
        "name": layer.name,
        "type": layer.kind.value,
        "weight_bits": entry.weight_bits,
        "scale_d": entry.activation.scale,
        "offset_d": entry.activation.offset,
        "weight_scales": len(entry.weight_scale),
        "scale_w_min": float(np.min(entry.weight_scale)),
        "scale_w_max": float(np.max(entry.weight_scale)),
        "batch_norm_folded": layer.batch_norm is not None,
    }


def quantized_table(item: IntegerTable) -> dict[str, Any]:
    """The scales of one embedding table, which reads no activation."""
    scale = item.weight.scale
    return {
        "name": item.table.name,
        "type": "Embedding",
        "weight_bits": item.weight.bits,
        "scale_d": None,
        "offset_d": None,
        "weight_scales": len(scale),
        "scale_w_min": float(scale.min()),
        "scale_w_max": float(scale.max()),
        "batch_norm_folded": False,
    }


def quantized_pools(record: QuantRecord) -> list[dict[str, Any]]:
    """The scales of the means over windows, which have no weights."""
    return [
        {"name": pool.name, "scale_d": pool.activation.scale, "offset_d": pool.activation.offset}
        for pool in record.pools
    ]


def simulation(compared: Simulation | None, *, measured: bool = True) -> dict[str, Any] | None:
    """The ONNX file compared with an independent computation; with top-1 if ``measured``."""
    if compared is None:
        return None
    agreement = compared.agreement
    return {
        "through": compared.through,
        "images": agreement.images,
        "argmax_differences": agreement.argmax_differences,
        "ties": agreement.ties,
        "max_difference": float(f"{agreement.max_difference:.3g}"),
        "mean_difference": float(f"{agreement.mean_difference:.3g}"),
        "noise": None if compared.noise is None else float(f"{compared.noise.mean_difference:.3g}"),
        "top1": round(agreement.top1, 4) if measured and agreement.top1 is not None else None,
    }


def model_files(
    files: Mapping[ExportFormat, WrittenFile], compared: Mapping[ExportFormat, ComparedFile]
) -> dict[str, Any]:
    """The INT8 files by format, with float sizes; files for other devices also with their agreement."""
    return {
        form.value: {
            "name": file.name,
            "float_bytes": file.float_bytes,
            "int8_bytes": file.bytes,
            "ratio": round(file.ratio, 4),
        }
        | ({} if form not in compared else {"agreement": agreement(compared[form])})
        for form, file in files.items()
    }


def agreement(file: ComparedFile) -> dict[str, Any]:
    """A file compared with the QDQ graph of the same placement on the same images."""
    found = file.agreement
    return {
        "images": found.images,
        "argmax_differences": found.argmax_differences,
        "ties": found.ties,
        "percent": round(found.percent, 4),
        "mean_difference": float(f"{found.mean_difference:.3g}"),
        **({} if file.score is None else figures(file.score)),
    }


def checks(made: Iterable[Check]) -> list[dict[str, Any]]:
    """The checks and their results."""
    return [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in made]


def speed(file: str, measured: Speed) -> dict[str, Any]:
    """Images per second of float and INT8."""
    return {
        "file": file,
        "float": round(measured.float32, 1),
        "int8": round(measured.int8, 1),
        "float_range": [round(end, 1) for end in measured.float32_range],
        "int8_range": [round(end, 1) for end in measured.int8_range],
        "busy": measured.busy,
        "ratio": round(measured.ratio, 3),
        "batch_size": measured.batch_size,
        "rounds": measured.rounds,
    }


def accuracy(measured: Accuracy) -> dict[str, Any]:
    """How good float and INT8 are on the same samples."""
    difference, metric = measured.difference, measured.before.metric
    interval, hits = difference.interval, difference.hits
    return {
        "metric": metric.data(),
        "images": difference.images,
        "float": figures(measured.before),
        "int8": figures(measured.after),
        f"{metric.key}_drop": metric.rounded(difference.drop),
        f"{metric.key}_drop_95": None if interval is None else [metric.rounded(end) for end in interval],
        "lost": None if hits is None else hits.lost,
        "gained": None if hits is None else hits.gained,
        "mcnemar_p": None if hits is None else float(f"{hits.p_value:.4g}"),
    }


def fidelity(measured: Fidelity | None) -> dict[str, Any] | None:
    """How near the quantized outputs are to those in float; None where accuracy was measured."""
    if measured is None:
        return None
    return {"samples": measured.samples, "outputs": [output.data() for output in measured.outputs]}
