"""The network of ``ptq --auto``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.services.fallback.fallback import Tuning

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.progress import Reporter
    from amctq.services.fallback.result import Fallback
    from amctq.services.fallback.tries import TriesFile
    from amctq.services.ptq.plan import PtqPlan
    from amctq.services.ptq.prepare import Prepared
    from amctq.services.run.accuracy import Accuracy


def fallback_of(
    plan: PtqPlan, prepared: Prepared, quantized: QuantizedNetwork, tries: TriesFile, reporter: Reporter
) -> Fallback:
    """Let layers of the calibrated network fall back, until the tuning samples lose no more than ``--max-drop``.

    Raises:
        InputError: the tries to resume from are those of another run.
        WriteError: the tries cannot be kept.
    """
    request = plan.request
    assert prepared.quant is not None
    assert prepared.tuning is not None
    assert prepared.metric is not None
    assert request.max_drop is not None
    return Tuning(
        quantized=quantized,
        quant=prepared.quant,
        bits=plan.isa.weight_bits,
        algo=request.weight_algo_of(plan.isa.weight_bits),
        session=prepared.verified.session_in(request.rules.runtime),
        runtime=request.rules.runtime,
        samples=prepared.tuning,
        metric=prepared.metric,
        target=request.max_drop,
        seed=request.seed,
        file=tries,
        reporter=reporter,
    ).fall_back()


def warn_of_missed_target(accuracy: Accuracy | None, fallback: Fallback, reporter: Reporter) -> None:
    """Say so where the evaluation samples lose more than the tuning samples, which the layers were chosen by."""
    if accuracy is None or not fallback.met or accuracy.difference.drop <= fallback.target:
        return
    metric, target = fallback.metric, fallback.target
    drop = metric.text_beside(accuracy.difference.drop, target)
    reporter.warn(
        f"the evaluation samples lose {drop}{metric.unit_behind}, more than the "
        f"{target:g} that the tuning samples were held to: a lower --max-drop or more --tuning-images help"
    )
