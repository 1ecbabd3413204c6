"""The result of ``amctq qat``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from amctq.backends.base import QuantizedNetwork
from amctq.choices import Placement
from amctq.number_text import float32_digits
from amctq.services.qat.gain import training_gain
from amctq.services.run import report
from amctq.services.run.float_parts import why_skipped
from amctq.services.run.histograms import histograms
from amctq.services.run.result import RunResult

if TYPE_CHECKING:
    from amctq.data.samples import Samples
    from amctq.quant.retrain_config import RetrainConfig
    from amctq.services.qat.images import QatImages
    from amctq.services.qat.plan import QatPlan
    from amctq.services.qat.stages import Stages, Trained
    from amctq.training.recipe import Recipe
    from amctq.training.snapshot import EpochScore


@dataclass(frozen=True, kw_only=True, eq=False)
class QatResult(RunResult):
    """The result of a run; see ``RunResult`` for the other attributes.

    Attributes:
        images: images used for training, calibration and evaluation.
        config: the configuration of each layer.
        recipe: how the network was trained.
        operators: the operators that computed its quantizers.
        trained: the result of the training.
        start: the network that training started from: the result of post-training quantization.
        curves: of the training, from its history.
        stages: the accuracy of float, PTQ and training network; None without evaluation images.
    """

    command: ClassVar[str] = "qat"

    plan: QatPlan
    images: QatImages
    config: RetrainConfig
    recipe: Recipe
    operators: str
    trained: Trained
    start: QuantizedNetwork
    curves: Mapping[str, Any]
    stages: Stages | None

    @property
    def example_images(self) -> Samples:
        """The training images."""
        return self.images.training

    def data_section(self) -> dict[str, Any]:
        """The images used for training, calibration and evaluation."""
        request, images = self.plan.request, self.images
        return {
            "dataset": str(request.train_dataset or request.dataset),
            "evaluation_dataset": str(request.eval_dataset or request.dataset),
            "split": images.split.note,
            "seed": request.seed,
            "training": report.samples(images.training),
            "calibration": None if request.record else report.samples(images.split.calibration),
            "evaluation": None if images.evaluation is None else report.samples(images.evaluation),
        }

    def quantization_section(self) -> dict[str, Any]:
        """The quantization of each layer, and the settings used."""
        plan, network = self.plan, self.quantized
        names = {layer.name for layer in network.topology.layers}
        topology = self.verified.network.topology
        if isinstance(network, QuantizedNetwork):
            layers = [report.quantized_layer(layer, network.record[layer.name]) for layer in network.topology.layers]
        else:
            layers = [
                {"name": layer.name, "type": layer.kind.value, "weight_bits": 8} for layer in network.topology.layers
            ]
        return {
            "backend": plan.backend.name.value,
            "backend_reason": plan.backend_reason,
            "target": plan.request.target.value,
            "placement": Placement.ASCEND.value,
            "isa": plan.isa.name,
            "isa_reason": plan.isa.reason,
            "started_from": "record" if plan.request.record else "calibration",
            "started_from_weight_algo": None if plan.request.record else self._start_algorithms(),
            "layers": layers,
            "left_in_float": report.left_in_float(why_skipped(topology, names, self.config), topology),
        }

    def _start_algorithms(self) -> list[str]:
        """How ``start`` has rounded the weights."""
        return sorted({layer.weight.algo.value for layer in self.config.enabled.values()})

    def further_sections(self) -> dict[str, Any]:
        """How the network was trained."""
        recipe, state, request = self.recipe, self.trained.state, self.plan.request
        return {
            "training": {
                "recipe": recipe.data(),
                "loss": request.loss,
                "hyper_parameters": None if request.hyper_parameters is None else str(request.hyper_parameters),
                "epochs": recipe.epochs,
                "devices": self.plan.worker.size,
                "steps": state.step,
                "exported_epoch": self.trained.epoch,
                "selected": request.select.value,
                "best": _epoch(state.best),
                "last": _epoch(state.last),
            },
            "history": dict(self.curves),
        }

    def accuracy_section(self) -> dict[str, Any] | None:
        """Accuracy at the four stages on the same images, and whether training has gained.

        There is no last stage if the exported file cannot run here.
        """
        if self.stages is None:
            return None
        trained = self.stages.training.score if self.accuracy is None else self.accuracy.after
        stages = {
            "ptq": report.figures(self.stages.ptq),
            "training_network": report.figures(self.stages.training.score),
            "gain_over_ptq": training_gain(self.stages.ptq, trained),
        }
        measured = super().accuracy_section()
        if measured is None or self.outcome is None:
            before = self.stages.before.score
            known = {"file": None, "metric": before.metric.data(), "images": before.samples}
            return {**known, "float": report.figures(before), "int8": None, **stages}
        differing, images = self.outcome.disagreeing(self.stages.training), measured["images"]
        if differing is None:
            return measured | stages | {"agreement": None}
        percent = round(100 * (images - len(differing)) / images, 4)
        return measured | stages | {"agreement": {"argmax_differences": len(differing), "percent": percent}}

    def histograms_section(self) -> list[dict[str, Any]] | None:
        """The trained weights; and the activations of the calibration that training started from."""
        if not isinstance(self.quantized, QuantizedNetwork):
            return None
        return histograms(self.quantized, self.start)

    def further_timing(self) -> dict[str, Any]:
        """The step that the run resumed from, and the operators; with or without a compiler, the bits are the same."""
        return {"resumed_at_step": self.trained.resumed_at, "operators": self.operators}


def _epoch(score: EpochScore | None) -> dict[str, Any] | None:
    """An epoch with the value of the metric."""
    if score is None:
        return None
    return {"epoch": score.epoch, score.metric: float32_digits(score.value)}
