"""The inputs of a run: the verified float network with its accuracy, and the record of ``--record``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from amctq.choices import BackendName, ExportFormat
from amctq.errors import CheckError, InputError, UsageError
from amctq.networks.verified import VerifiedNetwork, load_network
from amctq.runtime import prepare_environment
from amctq.services.run.checks import refuse_chance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from amctq.data.samples import Batches, Samples
    from amctq.inference.metrics.measure import Outcome
    from amctq.inference.metrics.score import Metric
    from amctq.networks.float_network import FloatNetwork
    from amctq.progress import Reporter
    from amctq.quant.config import QuantConfig
    from amctq.quant.layers import FloatLayer, Topology
    from amctq.quant.record import QuantRecord
    from amctq.services.run.plan import RunPlan


FLOAT_ACCURACY = "float accuracy"


def begin(plan: RunPlan, reporter: Reporter) -> None:
    """Set the environment that MindSpore reads at import, and report the back end, the device and a missing record."""
    prepare_environment(plan.device)
    reporter.info(
        f"back end {plan.backend.name.value} ({plan.backend_reason}), "
        f"device {plan.device.kind.value} ({plan.device.reason})"
    )
    plan.warn_of_missing_record(reporter)


def verified_network(plan: RunPlan, examples: Batches, scratch: Path, reporter: Reporter) -> VerifiedNetwork:
    """Load the plan's network and checkpoint, and compare its exported graph with MindSpore on a few images.

    Layers that MindSpore itself could not compute as quantized layers stay in float, in all files of the run, if
    MindSpore has to compute the quantized network: for MindIR and for retraining.

    Raises:
        AmctqError: as ``load_network``; InputError if no layer would be left, or if its cells are needed and only
            MindSpore's graph mode computes them.
    """
    verified = load_network(
        spec=plan.spec,
        ckpt=plan.request.ckpt,
        num_classes=plan.num_classes,
        device=plan.device,
        examples=examples,
        scratch=scratch,
        reporter=reporter,
        amct_limits=plan.amct_limits,
        beyond_amct=plan.beyond_amct,
        no_tables=plan.why_no_tables,
        name_map=plan.name_map,
    )
    _refuse_unreadable(plan, verified, reporter)
    because = _cells_needed(plan)
    verified = verified if because is None else _with_cells(plan, verified, because, reporter)
    no_pools = because or (plan.amct_limits if plan.backend.name is BackendName.AMCT else None)
    if no_pools is None:
        return verified
    topology = verified.network.topology.without_pools(no_pools)
    return replace(verified, network=replace(verified.network, topology=topology))


def _refuse_unreadable(plan: RunPlan, verified: VerifiedNetwork, reporter: Reporter) -> None:
    """Refuse a network that the target cannot read; warn of operators that it reads with a plugin only.

    Raises:
        InputError: there is such a network.
    """
    from amctq.graph.foreign.refusals import opset_of

    rules, target, model = plan.request.rules, plan.request.target.value, verified.network.graph.model
    opset = opset_of(model)
    if opset not in rules.opsets:
        first, last = rules.opsets[0], rules.opsets[-1]
        message = f"--target {target} reads opset {first} to {last}, and {plan.weights} has opset {opset}"
        raise InputError(message, hint="export it again, with opset 17")
    for node in model.graph.node:
        if node.op_type in rules.lacks:
            reporter.warn(f"{node.name}: {target} has no {node.op_type} of its own, and wants a plugin for it")
    try:
        verified.session_in(rules.runtime)
    except CheckError as error:
        message = f"--target {target} and {plan.weights}: {error.message}"
        raise InputError(message, hint="choose another --target, or export it with other operators") from error


def _cells_needed(plan: RunPlan) -> str | None:
    """Why only layers that MindSpore can compute are quantized; None where all are."""
    if plan.retrains:
        return "it cannot be retrained"
    return "--export mindir cannot hold it" if ExportFormat.MINDIR in plan.request.export else None


def _with_cells(plan: RunPlan, verified: VerifiedNetwork, because: str, reporter: Reporter) -> VerifiedNetwork:
    network = verified.network
    if network.unlike is not None:
        message = f"in pynative mode, in which amctq replaces the layers of a network, {network.unlike}"
        hint = "write that operation with others, such as y = y + x for y.add_(x)"
        raise InputError(message, hint=hint if plan.retrains else f"{hint}, or --export onnx")
    reasons = plan.backend.without_cells(network)
    topology = network.topology.leaving_in_float(reasons, because)
    if not topology.layers:
        found = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        message = f"no layer of the network can be quantized, because {because} ({found})"
        hint = "use nn.Conv2d, nn.Dense or the like for these layers"
        raise InputError(message, hint=hint if plan.retrains else f"{hint}, or --export onnx")
    for (first, *others), reason in _uses(layer for layer in topology.left_in_float if layer.name in reasons):
        more = f" and {len(others)} more of its weight's uses" if others else ""
        reporter.warn(f"{first}{more} {'stay' if others else 'stays'} in float: {reason}")
    return replace(verified, network=replace(network, topology=topology))


def _uses(layers: Iterable[FloatLayer]) -> Iterator[tuple[list[str], str]]:
    """Names and reason of layers, those together that are uses of one weight, such as the steps of an RNN."""
    found: dict[tuple[str, str], list[str]] = {}
    for layer in layers:
        found.setdefault((layer.name.partition(":")[0], layer.reason), []).append(layer.name)
    return ((names, reason) for (_, reason), names in found.items())


def named_record(
    plan: RunPlan, network: FloatNetwork, reporter: Reporter, config: QuantConfig | None = None
) -> QuantRecord | None:
    """Return the record of ``--record`` with the network's layer names, whichever front end of AMCT wrote it.

    Where it says nothing of BatchNorm, it says now which layers are quantized without theirs.

    Args:
        plan: the plan of the run.
        network: the float network.
        reporter: says what was found.
        config: the configuration of the run that wrote the record, where it is known.

    Raises:
        InputError: the record belongs to another network, to another checkpoint, or to another configuration, or does
            not give the integers of its run.
    """
    from amctq.amct_files.pool_names import why_unknown
    from amctq.amct_files.record_names import record_of
    from amctq.services.run.recorded_fusion import with_fusion
    from amctq.services.run.recorded_rounding import check_rounding

    if plan.recorded is None:
        return None
    record, names = record_of(plan.recorded, network.topology)
    if names.renamed:
        one, own = next(iter(names.renamed.items()))
        reporter.info(
            f"{len(names.renamed)} of the record's {len(record.layers)} layers are renamed, as {one} to {own}"
        )
    if names.unknown:
        reporter.warn(f"--record: {', '.join(names.unknown)} stays in float: {why_unknown(network.topology)}")
    plan.backend.check_record(network, record)
    if ExportFormat.ASCEND in plan.request.export and not plan.retrains:
        alone = {layer.name for layer in network.topology.layers if not layer.packs_int4}
        alone &= {entry.name for entry in record.layers if entry.weight_bits == 4}
        if alone:
            reporter.warn(
                f"{', '.join(sorted(alone))}: the record's weights of 4 bits are stored in 8 in the deploy file: AMCT "
                "stores two in a byte, and these have groups or an odd number of input channels"
            )
    check_rounding(plan, record, config, reporter)
    return with_fusion(plan, network, record, config, reporter)


def check_exportable(plan: RunPlan, network: FloatNetwork, topology: Topology, reporter: Reporter) -> None:
    """Refuse a format that cannot be written, before anything is measured; warn of a file for one batch alone.

    Raises:
        InputError: the network cannot be written in a format that was asked for.
    """
    for form in plan.request.export:
        plan.backend.check_exportable(network, topology, form)
        if form is ExportFormat.MINDIR and network.mindir_batch is not None:
            reporter.warn(
                f"the MindIR file takes batches of {network.mindir_batch}: MindSpore cannot export this network with a "
                "dynamic batch, or cannot run it so"
            )


def metric_for(plan: RunPlan, network: FloatNetwork, samples: Samples, reporter: Reporter) -> Metric | None:
    """How good a network is: by ``--metric``, else by top-1 of a classifier with classes; None where nothing says it.

    Raises:
        UsageError: ``--max-drop`` needs a metric.
    """
    from amctq.inference.metrics.choose import gives_scores, usual_metric

    metric = plan.metric or usual_metric(network.graph.output_shapes, samples)
    if metric is not None:
        return metric
    if plan.request.max_drop is not None:
        message = f"--max-drop {plan.request.max_drop:g}: no metric measures this network"
        raise UsageError(message, hint="name one with --metric, or leave --max-drop out")
    if gives_scores(network.graph.output_shapes) and not samples.classified:
        reporter.warn("the outputs have the shape of scores, and the targets of the samples are no classes: no top-1")
    reporter.info("no --metric: the quantized outputs are compared with those in float, which is no accuracy")
    return None


def measure_float(
    plan: RunPlan, verified: VerifiedNetwork, evaluation: Batches | None, metric: Metric | None, reporter: Reporter
) -> Outcome | None:
    """Measure the float network; None without evaluation samples or without a metric.

    Raises:
        InputError: top-1 is near chance.
    """
    from amctq.inference.metrics.measure import measure

    if evaluation is None or metric is None:
        return None
    with reporter.phase(FLOAT_ACCURACY, evaluation.images) as advance:
        outcome = measure(verified.session_in(plan.request.rules.runtime), evaluation, metric, advance)
    refuse_chance(outcome.score, allow=plan.request.allow_poor_float)
    return outcome
