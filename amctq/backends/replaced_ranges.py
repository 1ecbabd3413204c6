"""Warnings of ranges that AMCT's rule has replaced in a record, whichever tool has written it."""

from __future__ import annotations

from collections.abc import Mapping

from amctq.backends.base import QuantizedNetwork
from amctq.backends.calibration import Watch, observe_activations
from amctq.data.samples import Batches
from amctq.graph.topology import fuse
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.observers import MinMaxObserver
from amctq.quant.record import QuantRecord
from amctq.quant.replaced import record_warning, replaced_channels, weights_warning


def warn_of_replaced_ranges(
    network: FloatNetwork, quantized: QuantizedNetwork, images: Batches, reporter: Reporter
) -> None:
    """Warn of layers whose inputs or weights are not zero, but become zero by AMCT's rule.

    A record with scale 1 does not say what the range was. So where it has one, the images are run.

    Args:
        network: the float network.
        quantized: the same by a record.
        images: calibration images.
        reporter: gets the warnings.
    """
    plan, qparams = quantized.activations.plan, quantized.activations.qparams
    watches = tuple(
        Watch(tensor=site.watched, observer=MinMaxObserver(), what=f"the input of {', '.join(site.layers)}")
        for site, item in zip(plan.sites, qparams, strict=True)
        if item.scale == 1.0
    )
    narrow_weights = any((entry.weight_scale == 1.0).any() for entry in quantized.record.layers)
    if not (watches or narrow_weights):
        return
    fused = fuse(network.graph, quantized.topology)
    warn_of_replaced_weights(fused, quantized.record, reporter)
    if watches:
        observe_activations(
            network.graph, quantized.topology, fused, watches=watches, batches=images, reporter=reporter
        )


def warn_of_recorded_scales(record: QuantRecord, reporter: Reporter) -> None:
    """Warn of layers whose scales AMCT's record cannot hold, and the other files can."""
    changed = tuple(entry.name for entry in record.layers if not entry.same_as(entry.by_amcts_rule))
    if changed:
        reporter.warn(record_warning(changed))


def warn_of_replaced_weights(fused: Mapping[str, FusedParameters], record: QuantRecord, reporter: Reporter) -> None:
    """Warn of weights that are not zero, but became zero by AMCT's rule.

    Args:
        fused: by layer of the record, its parameters with BatchNorm folded in.
        record: the scales.
        reporter: gets the warning.
    """
    warning = weights_warning(
        {
            entry.name: (
                replaced_channels(fused[entry.name].weight, entry.weight_scale, bits=entry.weight_bits),
                len(entry.weight_scale),
            )
            for entry in record.layers
        }
    )
    if warning is not None:
        reporter.warn(warning)
