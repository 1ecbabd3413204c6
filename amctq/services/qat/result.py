"""What ``amctq qat`` has found, and what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amctq.backends.base import OpaqueNetwork, QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.files import Artifact
from amctq.networks.published import CHECKPOINTS
from amctq.networks.verified import VerifiedNetwork
from amctq.quant.layers import Topology
from amctq.quant.retrain_config import RetrainConfig
from amctq.services.qat.finish import QatAccuracy
from amctq.services.qat.images import QatImages
from amctq.services.qat.plan import HISTORY, QatPlan
from amctq.services.qat.train import Trained
from amctq.services.run.accuracy import ComparedFile
from amctq.services.run.atc import AtcRun
from amctq.services.run.checks import Check
from amctq.services.run.exports import Exports, Simulation, WrittenFile
from amctq.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class QatResult:
    """What a run found and left behind.

    Attributes:
        plan: what was to be done.
        images: which trained, calibrated and evaluated.
        verified: the float network, and the proof that onnxruntime computes what MindSpore computes.
        config: what was done to each layer.
        recipe: how the network was trained.
        operators: what its quantizers were computed with.
        trained: what came of the training.
        start: the network that training started from, as post-training quantization leaves it.
        quantized: the trained network on its scales, or opaque by its engine.
        accuracy: None where none was asked for.
        compared: the files for NPUs and the fake-quantized ones beside the QDQ graph, by format.
        atc: how ATC is called for the deploy file, and what came of it; None without such a file.
        simulation: the ONNX file compared with MindSpore's integer cells.
        checks: what was made sure of.
        files: the quantized network's, by format.
        exports: what runs them; None where nothing here can.
        checkpoint_sha256: of the float checkpoint.
        warnings: what was said on the way.
        seconds: wall time by phase.
        parts: wall time of parts of phases.
        artifacts: the files, in their final place; empty when a check failed.
    """

    plan: QatPlan
    images: QatImages
    verified: VerifiedNetwork
    config: RetrainConfig
    recipe: Recipe
    operators: str
    trained: Trained
    start: QuantizedNetwork
    quantized: QuantizedNetwork | OpaqueNetwork
    accuracy: QatAccuracy | None
    compared: Mapping[ExportFormat, ComparedFile]
    atc: AtcRun | None
    simulation: Simulation | None
    checks: tuple[Check, ...]
    files: Mapping[ExportFormat, WrittenFile]
    exports: Exports | None
    checkpoint_sha256: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    parts: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class QatPreview:
    """What ``qat`` would do.

    Attributes:
        plan: the checked request.
        images: which images would train, calibrate and evaluate.
        topology: what there is to quantize.
        config: what would be done to each layer.
        recipe: how the network would be trained.
        resumes_at: steps that have been done already; None for a new run.
        estimated_seconds: of everything.
        warnings: what was said on the way.
    """

    plan: QatPlan
    images: QatImages
    topology: Topology
    config: RetrainConfig
    recipe: Recipe
    resumes_at: int | None
    estimated_seconds: float
    warnings: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The preview, ready for JSON."""
        evaluation = self.images.evaluation
        return {
            "dry_run": True,
            "backend": self.plan.backend.name.value,
            "backend_reason": self.plan.backend_reason,
            "device": self.plan.device.kind.value,
            "training_images": len(self.images.training),
            "calibration_images": 0 if self.plan.request.record else len(self.images.split.calibration),
            "evaluation_images": 0 if evaluation is None else len(evaluation),
            "recipe": self.recipe.data() | {"epochs": self.recipe.epochs},
            "resumes_at": self.resumes_at,
            "layers": [
                {
                    "name": layer.name,
                    "quantized": layer.enabled,
                    "weight_bits": layer.weight.bits if layer.enabled else None,
                    "channel_wise": layer.weight.channel_wise if layer.enabled else None,
                }
                for layer in self.config.layers
            ],
            "left_in_float": [{"name": layer.name, "reason": layer.reason} for layer in self.topology.left_in_float],
            "files": [
                str(self.plan.request.output_dir / name) for name in (*self.plan.files, HISTORY, f"{CHECKPOINTS}/")
            ],
            "estimated_seconds": round(self.estimated_seconds, 1),
            "warnings": list(self.warnings),
        }
