"""The inputs of a run: its network, verified and measured, and the record that it starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.networks.verified import VerifiedNetwork, load_network
from amctq.runtime import prepare_environment
from amctq.services.run.checks import refuse_chance

if TYPE_CHECKING:
    from pathlib import Path

    from amctq.data.samples import Batches
    from amctq.inference.accuracy import LabelRanks
    from amctq.networks.float_network import FloatNetwork
    from amctq.progress import Reporter
    from amctq.quant.layers import Topology
    from amctq.quant.record import QuantRecord
    from amctq.services.run.plan import RunPlan


def begin(plan: RunPlan, reporter: Reporter) -> None:
    """Set what MindSpore reads when it is imported, and say where the run takes place."""
    prepare_environment(plan.device)
    reporter.info(
        f"back end {plan.backend.name.value} ({plan.backend_reason}), "
        f"device {plan.device.kind.value} ({plan.device.reason})"
    )


def verified_network(plan: RunPlan, examples: Batches, scratch: Path, reporter: Reporter) -> VerifiedNetwork:
    """The plan's network with its checkpoint, its exported graph compared with MindSpore on a few images.

    Raises:
        AmctqError: as ``load_network``.
    """
    return load_network(
        spec=plan.spec,
        ckpt=plan.request.ckpt,
        num_classes=plan.request.num_classes,
        device=plan.device,
        examples=examples,
        scratch=scratch,
        reporter=reporter,
    )


def named_record(plan: RunPlan, network: FloatNetwork, reporter: Reporter) -> QuantRecord | None:
    """The record of ``--record`` in the network's own names, also where another front end of AMCT has written it.

    Raises:
        InputError: it belongs to another network.
    """
    from amctq.amct_files.record_names import record_of

    if plan.recorded is None:
        return None
    record, names = record_of(plan.recorded, network.topology)
    if names.renamed:
        one, own = next(iter(names.renamed.items()))
        reporter.info(
            f"{len(names.renamed)} of the record's {len(record.layers)} layers are renamed, as {one} to {own}"
        )
    plan.backend.check_record(network, record)
    return record


def check_exportable(plan: RunPlan, network: FloatNetwork, topology: Topology) -> None:
    """Refuse, before anything is measured, what could not be written after it.

    Raises:
        InputError: the network cannot be written in a format that was asked for.
    """
    for form in plan.request.export:
        plan.backend.check_exportable(network, topology, form)


def measure_float(
    plan: RunPlan, verified: VerifiedNetwork, evaluation: Batches | None, reporter: Reporter
) -> LabelRanks | None:
    """Label ranks of the float network; None where there are no evaluation images.

    Raises:
        InputError: it hardly beats chance.
    """
    from amctq.inference.accuracy import measure

    if evaluation is None:
        return None
    with reporter.phase("float accuracy", evaluation.images) as advance:
        ranks = measure(verified.session, evaluation, advance)
    refuse_chance(ranks, allow=plan.request.allow_poor_float)
    return ranks
