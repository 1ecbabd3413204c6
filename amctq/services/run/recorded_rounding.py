"""A record holds scales, and no integers: weights that made up for each other's errors cannot be made of it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.choices import WeightAlgo
from amctq.errors import InputError, listed
from amctq.quant.record import QuantRecord

if TYPE_CHECKING:
    from amctq.progress import Reporter
    from amctq.quant.config import QuantConfig
    from amctq.services.run.plan import RunPlan

_BY_ITSELF = frozenset({WeightAlgo.ARQ, WeightAlgo.MSE})  # each weight alone, so that scales give the integers
_SHOWN = 5  # layers named in a message


def check_rounding(plan: RunPlan, record: QuantRecord, config: QuantConfig | None, reporter: Reporter) -> None:
    """Refuse a record whose configuration says that its weights were not rounded one by one; else warn where it may be.

    Args:
        plan: the plan of the run.
        record: of ``--record``, with the network's names.
        config: the configuration of the same run, where it is known.
        reporter: gets the warning.

    Raises:
        InputError: the record's run had other integers than its scales give.
    """
    if plan.retrains:  # integers are made anew in every step
        return
    if config is None:
        few = [entry.name for entry in record.layers if entry.weight_bits < 8]
        if few:
            reporter.warn(
                f"{listed(few, _SHOWN)}: the record does not say how weights below 8 bits were rounded, and they are "
                "rounded one by one; if gptq or squant rounded them, the integers are others now"
            )
        return
    enabled = config.enabled
    together = {
        entry.name: enabled[entry.name].weight.algo
        for entry in record.layers
        if entry.name in enabled and enabled[entry.name].weight.algo not in _BY_ITSELF
    }
    if together:
        by = " and ".join(sorted({algo.value for algo in together.values()}))
        message = (
            f"--config {plan.request.config} says that {by} rounded {listed(list(together), _SHOWN)}, and a record "
            "holds the scales of weights, not their integers"
        )
        raise InputError(message, hint="leave --record out: the same options and --seed give the same integers again")
