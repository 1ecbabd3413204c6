"""The quantized network of ``ptq`` and ``analyze``: by a calibration, or by a record."""

from __future__ import annotations

from amctq.backends.base import QuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import AUTO
from amctq.progress import Reporter
from amctq.quant.config import QuantConfig
from amctq.services.fallback.fallback import wider_weights
from amctq.services.ptq.plan import PtqPlan
from amctq.services.ptq.prepare import Prepared


def calibrated(plan: PtqPlan, prepared: Prepared, reporter: Reporter) -> QuantizedNetwork:
    """The network quantized by the record, else by a calibration.

    Raises:
        InputError: the activations are not finite.
    """
    from amctq.backends.replaced_ranges import warn_of_replaced_ranges

    if prepared.quantized is not None:
        warn_of_replaced_ranges(prepared.verified.network, prepared.quantized, prepared.calibration, reporter)
        return prepared.quantized
    request = plan.request
    assert prepared.quant is not None
    config = PtqConfig(
        quant=prepared.quant,
        placement=request.resolved_placement,
        act_type=request.resolved_act_type,
        rules=request.rules.qdq,
        ifmr_variant=request.ifmr_variant,
        hfmg_variant=request.hfmg_variant,
        arq_rule=plan.arq_rule,
        weight_type=plan.isa.weight_type,
        bias_correction=plan.corrects_biases,
        attention=request.quantize_attention,
        equalize=request.equalize,
        others=_other_weights(plan, prepared.quant),
    )
    return plan.backend.quantize(
        network=prepared.verified.network, config=config, calibration=prepared.calibration, reporter=reporter
    )


def _other_weights(plan: PtqPlan, quant: QuantConfig) -> tuple[QuantConfig, ...]:
    """What the weights are chosen from beside those of ``quant``: narrower ones, or wider ones to fall back to."""
    request, widest = plan.request, plan.isa.weight_bits
    if request.weight_bits == AUTO:
        return tuple(quant.with_widths(dict.fromkeys(quant.enabled, bits)) for bits in plan.widths[:-1])
    wider = wider_weights(quant, widest, request.weight_algo_of(widest)) if request.auto else None
    return () if wider is None else (wider,)
