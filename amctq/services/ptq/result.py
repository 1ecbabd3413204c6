"""What ``amctq ptq`` has found, and what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amctq.backends.base import QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.data.samples import Split
from amctq.files import Artifact
from amctq.networks.verified import VerifiedNetwork
from amctq.quant.config import QuantConfig
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.services.ptq.plan import PtqPlan
from amctq.services.run.accuracy import Accuracy, ComparedFile
from amctq.services.run.atc import AtcRun
from amctq.services.run.checks import Check
from amctq.services.run.exports import Exports, Simulation


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqResult:
    """What a run found and left behind.

    Attributes:
        plan: what was to be done.
        split: which images calibrated and which evaluated.
        verified: the float network, and the proof that onnxruntime computes what MindSpore computes.
        quant: what was done to each layer; None where a record said it all.
        quantized: scales and offsets, and the layers that have them.
        accuracy: None where none was asked for.
        compared: the files for NPUs and the fake-quantized ones beside the QDQ graph, by format.
        atc: how ATC is called for the deploy file, and what came of it; None without such a file.
        simulation: the ONNX file compared with MindSpore; None where MindSpore cannot run the quantized network.
        checks: what was made sure of.
        exports: the quantized network's files.
        checkpoint_sha256: of the checkpoint file.
        warnings: what was said on the way.
        seconds: wall time by phase.
        parts: wall time of parts of phases.
        artifacts: the files, in their final place; empty when a check failed.
    """

    plan: PtqPlan
    split: Split
    verified: VerifiedNetwork
    quant: QuantConfig | None
    quantized: QuantizedNetwork
    accuracy: Accuracy | None
    compared: Mapping[ExportFormat, ComparedFile]
    atc: AtcRun | None
    simulation: Simulation | None
    checks: tuple[Check, ...]
    exports: Exports
    checkpoint_sha256: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    parts: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqPreview:
    """What ``ptq`` would do: the answer to ``--dry-run``.

    Attributes:
        plan: the checked request.
        split: which images would calibrate and evaluate.
        topology: what there is to quantize.
        quant: what would be done to each layer; None where a record says it.
        estimated_seconds: of calibration and evaluation.
        warnings: what was said on the way.
    """

    plan: PtqPlan
    split: Split
    topology: Topology
    quant: QuantConfig | None
    estimated_seconds: float
    warnings: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The preview, ready for JSON."""
        return {
            "dry_run": True,
            "backend": self.plan.backend.name.value,
            "backend_reason": self.plan.backend_reason,
            "placement": self.plan.request.resolved_placement.value,
            "isa": self.plan.target.isa.value,
            "device": self.plan.device.kind.value,
            "calibration_images": len(self.split.calibration),
            "evaluation_images": 0 if self.split.evaluation is None else len(self.split.evaluation),
            "split": self.split.note,
            "layers": [self._layer(layer) for layer in self.topology.layers],
            "left_in_float": [{"name": layer.name, "reason": layer.reason} for layer in self.topology.left_in_float],
            "files": [str(self.plan.request.output_dir / name) for name in self.plan.files],
            "estimated_seconds": round(self.estimated_seconds, 1),
            "warnings": list(self.warnings),
        }

    def _layer(self, layer: QuantizableLayer) -> dict[str, Any]:
        config = None if self.quant is None else self.quant.enabled.get(layer.name)
        return {
            "name": layer.name,
            "type": layer.kind.value,
            "quantized": self.quant is None or config is not None,
            "act_algo": None if config is None else config.activation.algo.value,
            "weight_bits": None if config is None else config.weight.bits,
            "weight_algo": None if config is None else config.weight.algo.value,
            "channel_wise": None if config is None else config.weight.channel_wise,
            "batch_norm": layer.batch_norm is not None,
        }
