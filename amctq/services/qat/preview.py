"""The result of ``amctq qat --dry-run``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amctq.services.qat.plan import CHECKPOINTS, HISTORY, QatPlan

if TYPE_CHECKING:
    from amctq.quant.layers import Topology
    from amctq.quant.retrain_config import RetrainConfig
    from amctq.services.qat.images import QatImages
    from amctq.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class QatPreview:
    """What ``qat`` would do: the result of ``--dry-run``.

    Attributes:
        plan: the checked request.
        images: images for training, calibration and evaluation.
        topology: the layers that can be quantized, and those that cannot.
        config: the configuration of each layer.
        recipe: how the network would be trained.
        resumes_at: the step that training would continue from; None for a new run.
        estimated_seconds: of the whole run.
        warnings: the warnings so far.
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
                    "why_in_float": None if layer.enabled else layer.why_in_float,
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
