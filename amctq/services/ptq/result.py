"""The result of ``amctq ptq``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from amctq.choices import BackendName
from amctq.services.run import report
from amctq.services.run.float_parts import why_skipped
from amctq.services.run.histograms import histograms
from amctq.services.run.result import RunResult

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.data.samples import Samples, Split
    from amctq.inference.between_integers import FloatOperator
    from amctq.quant.config import QuantConfig
    from amctq.quant.equalization import EqualizedPair
    from amctq.services.fallback.result import Fallback
    from amctq.services.ptq.plan import PtqPlan
    from amctq.services.ptq.width_choice import WidthChoice
    from amctq.services.run.exports import Exports
    from amctq.services.run.sensitivity import Sensitivity


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqResult(RunResult):
    """The result of a run; see ``RunResult`` for the other attributes.

    Attributes:
        split: images used for calibration and for evaluation.
        quant: the configuration of each layer; None if a record was used without one.
        sensitivity: what each layer costs; None if it was not measured.
        widths: how the width of each layer was chosen; None where it was given.
        fallback: what ``--auto`` has found; None without it.
        float_operators: what onnxruntime computes in float between integer layers; nothing with placement ``ascend``.
    """

    command: ClassVar[str] = "ptq"

    plan: PtqPlan
    exports: Exports
    quantized: QuantizedNetwork
    split: Split
    quant: QuantConfig | None
    sensitivity: Sensitivity | None
    widths: WidthChoice | None
    fallback: Fallback | None
    float_operators: tuple[FloatOperator, ...]

    @property
    def example_images(self) -> Samples:
        """The calibration images."""
        return self.split.calibration

    def data_section(self) -> dict[str, Any]:
        """The images used for calibration and for evaluation."""
        request, split = self.plan.request, self.split
        return {
            "dataset": str(request.dataset),
            "kind": self.plan.data.kind,
            "split": split.note,
            "seed": request.seed,
            "calibration": report.samples(split.calibration),
            "evaluation": None if split.evaluation is None else report.samples(split.evaluation),
            **({} if split.tuning is None else {"tuning": report.samples(split.tuning)}),
        }

    def further_sections(self) -> dict[str, Any]:
        """What each layer costs, where it was measured, how its width was chosen, and what ``--auto`` has found."""
        costs, widths, fallback = self.sensitivity, self.widths, self.fallback
        return {
            **({} if widths is None else widths.data()),
            **({} if fallback is None else {"fallback": fallback.data()}),
            **({} if costs is None else {"analysis": costs.summary(), "sensitivity": costs.data()}),
        }

    def quantization_section(self) -> dict[str, Any]:
        """The quantization of each layer, and the settings used."""
        plan, request = self.plan, self.plan.request
        enabled = None if self.quant is None else self.quant.enabled
        own = request.record is None and plan.backend.name is BackendName.NATIVE
        in_float = {layer.name: layer.reason for layer in self.quantized.activations.plan.float_layers}
        layers = [
            report.quantized_layer(layer, self.quantized.record[layer.name])
            | {
                "float_at_run_time": in_float.get(layer.name),
                "act_algo": None if enabled is None else enabled[layer.name].activation.algo.value,
                "weight_algo": None if enabled is None else enabled[layer.name].weight.algo.value,
            }
            for layer in self.quantized.topology.layers
        ]
        layers += [
            report.quantized_table(item) | {"float_at_run_time": None, "act_algo": None, "weight_algo": "arq"}
            for item in self.quantized.tables
        ]
        quantized = {layer["name"] for layer in layers}
        topology = self.verified.network.topology
        skipped = why_skipped(topology, quantized, self.quant)
        return {
            "backend": plan.backend.name.value,
            "backend_reason": plan.backend_reason,
            "target": request.target.value,
            "placement": request.resolved_placement.value,
            "from": "record" if request.record else "config" if request.config else "options",
            "ifmr_variant": request.ifmr_variant.value if own else None,
            "hfmg_variant": request.hfmg_variant.value if own else None,
            "arq_rule": plan.arq_rule.value if own else None,
            "bias_correction": plan.corrects_biases,
            "equalized": [_equalized(pair) for pair in self.quantized.equalized] if request.equalize else None,
            "act_type": request.resolved_act_type.value,
            "weight_storage": request.weight_storage.value,
            "isa": plan.isa.name,
            "isa_reason": plan.isa.reason,
            "layers": layers,
            "pools": report.quantized_pools(self.quantized.record),
            "left_in_float": report.left_in_float(skipped, topology),
            "float_operators": [asdict(operator) for operator in self.float_operators],
        }

    def histograms_section(self) -> list[dict[str, Any]] | None:
        """The float weights, and the inputs of layers on the calibration images."""
        return histograms(self.quantized, self.quantized)


def _equalized(found: EqualizedPair) -> dict[str, Any]:
    return {
        "first": found.pair.first,
        "second": found.pair.second,
        "channels": int((found.factors != 1).sum()),
        "factor_min": float(f"{found.factors.min():.4g}"),
        "factor_max": float(f"{found.factors.max():.4g}"),
        "predicted_error": float(f"{found.error:.4g}"),
    }
