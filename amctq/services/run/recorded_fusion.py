"""Which layers of a record are quantized without their BatchNorm folded in; AMCT's records do not say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from amctq.errors import InputError, listed
from amctq.quant.record import QuantRecord

if TYPE_CHECKING:
    from amctq.networks.float_network import FloatNetwork
    from amctq.progress import Reporter
    from amctq.quant.config import QuantConfig
    from amctq.services.run.plan import RunPlan

_SHOWN = 5  # layers named in a message


def with_fusion(
    plan: RunPlan, network: FloatNetwork, record: QuantRecord, config: QuantConfig | None, reporter: Reporter
) -> QuantRecord:
    """The record, with ``skip_fusion`` of every layer that is quantized without its BatchNorm.

    The configuration says it, else the record, else its weight scales do. Whoever says it, the scales must fit.

    Args:
        plan: the plan of the run.
        network: the float network, whose layers the record names.
        record: of ``--record``.
        config: the configuration of the same run, where it is known.
        reporter: says what was found.

    Raises:
        InputError: the weight scales of a layer fit its weight neither way, and nothing is trained; or record and
            configuration are not of one run.
    """
    from amctq.quant.record_agreement import disagreements
    from amctq.quant.record_fit import scale_fit

    arrays = network.graph.arrays
    layers = [layer for layer in network.topology.layers if layer.name in {entry.name for entry in record.layers}]
    fits = {layer.name: scale_fit(layer, record[layer.name], arrays) for layer in layers}
    foreign = [fit for fit in fits.values() if not fit.fits]
    if foreign:
        found = listed([fit.found for fit in foreign], _SHOWN, "; ")
        message = f"the record does not fit this network: with the weights of {plan.weights}, {found}"
        if not plan.retrains:
            tiny = "its scales are far too small: " if all(fit.far_too_small for fit in foreign) else ""
            hint = (
                "give the checkpoint that it was calibrated with, or calibrate again, without --record; a record holds "
                "the scales of weights that gptq has rounded, but not their integers"
            )
            raise InputError(message, hint=tiny + hint)
        # A record of an earlier retraining may start another: the clips are its, and the weight scales are made anew.
        reporter.warn(f"{message}; training takes only its clips, and the accuracy before it is that of these scales")
    with_norm = [layer.name for layer in layers if layer.batch_norm is not None]
    plain = {name for name in with_norm if not fits[name].fused}
    said = {entry.name for entry in record.layers if entry.skip_fusion}
    if config is not None:
        different = list(disagreements(record, config, network.topology, arrays))
        plain = {name for name in with_norm if name in config.unfused}
        different += [
            f"{fits[name].found}; the configuration folds it{' not' if name in plain else ''}"
            for name in with_norm
            if not fits[name].allows(fused=name not in plain)
        ]
        if different:
            message = f"--record {plan.request.record} and --config {plan.request.config} are not of one run: "
            hint = "give the configuration of the run that wrote the record, or leave --config out"
            raise InputError(message + listed(different, _SHOWN, "; "), hint=hint)
    else:
        wrong = [
            fits[name].found
            for name in with_norm
            if name in said and fits[name].fits and not fits[name].allows(fused=False)
        ]
        if wrong:
            found = listed(wrong, _SHOWN, "; ")
            message = f"--record {plan.request.record} has skip_fusion, but not the scales for it: {found}"
            raise InputError(message, hint="take skip_fusion out of the record, or calibrate again without --record")
        plain |= said & set(with_norm)
    inferred = config is None and not plain <= said
    by = "the record's weight scales show" if inferred else "the record says" if config is None else "--config says"
    (reporter.warn if inferred else reporter.info)(f"BatchNorm, as {by}: {_words(with_norm, plain)}")
    return replace(record, layers=tuple(replace(entry, skip_fusion=entry.name in plain) for entry in record.layers))


def _words(with_norm: Iterable[str], plain: set[str]) -> str:
    apart = [name for name in with_norm if name in plain]
    folded = sum(name not in plain for name in with_norm)
    if not apart:
        return f"folded into all {folded} layers that one follows"
    return f"folded into {folded} layers, and not into {len(apart)}: {listed(apart, _SHOWN)}"
