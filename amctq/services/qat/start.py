"""Before ``amctq qat`` trains: every input read, and the network as post-training quantization leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.backends.base import PtqConfig, QuantizedNetwork
from amctq.choices import ActType, ArqRule, ExportFormat, IfmrVariant, Placement
from amctq.files import OutputDirectory, writing
from amctq.networks.verified import VerifiedNetwork, load_network
from amctq.progress import Reporter
from amctq.runtime import prepare_environment
from amctq.services.qat.images import QatImages, choose_images, open_images, recipe_for
from amctq.services.qat.plan import QatPlan, retrain_config
from amctq.services.qat.train import refuse_other_run, run_identity
from amctq.services.run.checks import refuse_chance
from amctq.services.run.inputs import named_record
from amctq.training.pace import duration
from amctq.training.recipe import Recipe

if TYPE_CHECKING:
    from amctq.inference.accuracy import LabelRanks
    from amctq.quant.record import QuantRecord
    from amctq.quant.retrain_config import RetrainConfig

# Measured on resnet20 and resnet50: passes backward, batch statistics and quantizers on top of one pass forward.
_STEP = 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Everything that is read before anything is computed.

    Attributes:
        images: which train, calibrate and evaluate.
        recipe: how the network is trained.
        verified: the float network.
        recorded: the record that was given; None to calibrate.
        config: what is done to each layer.
        identity: what decides the result (``run_identity``), but for the record.
    """

    images: QatImages
    recipe: Recipe
    verified: VerifiedNetwork
    recorded: QuantRecord | None
    config: RetrainConfig
    identity: dict[str, Any]


def prepare(plan: QatPlan, scratch: Path, reporter: Reporter) -> Prepared:
    """Read images, network, record and configuration.

    Raises:
        UsageError: options and inputs contradict each other.
        InputError: an input is not what it must be, or the checkpoint to go on from belongs to another run.
        CheckError: the exported float graph computes something else than MindSpore.
        UnavailableError: MindSpore does not work here.
    """
    from amctq.amct_files.record_text import load_record

    request = plan.request
    prepare_environment(plan.device)
    reporter.info(
        f"back end {plan.backend.name.value} ({plan.backend_reason}), "
        f"device {plan.device.kind.value} ({plan.device.reason})"
    )
    if request.unused_hyper_parameters:
        unused = ", ".join(request.unused_hyper_parameters)
        reporter.warn(f"{request.hyper_parameters}: not used, because no option means the same: {unused}")
    with reporter.phase("dataset"):
        images = choose_images(plan, open_images(plan))
    recipe = recipe_for(plan, images)
    recorded = None if request.record is None else load_record(request.record)
    verified = load_network(
        spec=plan.spec,
        ckpt=request.ckpt,
        num_classes=request.num_classes,
        device=plan.device,
        examples=plan.batches(images.split.calibration),
        scratch=scratch,
        reporter=reporter,
    )
    topology = verified.network.topology
    if recorded is not None:
        recorded = named_record(recorded, verified.network, reporter)
        # A record of another network is refused before its layers decide anything.
        plan.backend.from_record(network=verified.network, record=recorded, act_type=ActType.UINT8)
    bits = None if recorded is None else {entry.name: entry.weight_bits for entry in recorded.layers}
    config = retrain_config(plan, topology, bits, reporter)
    if recorded is not None and request.config is None:
        missing = [layer.name for layer in config.layers if not layer.enabled and layer.name not in (bits or {})]
        if missing:
            reporter.warn(f"{', '.join(missing)}: not in the record, and not quantized")
    for form in request.export:
        plan.backend.check_exportable(verified.network, config.selected(topology), form)
    identity = run_identity(plan, images, config, recipe)
    if request.resume and plan.worker.is_first:
        refuse_other_run(plan.store.newest(), identity)
    return Prepared(
        images=images, recipe=recipe, verified=verified, recorded=recorded, config=config, identity=identity
    )


def quantized_start(plan: QatPlan, prepared: Prepared, reporter: Reporter) -> QuantizedNetwork:
    """The network as post-training quantization leaves it: by the record, or by calibration, the sample's way."""
    network = prepared.verified.network
    if prepared.recorded is not None:
        return plan.backend.from_record(
            network=network,
            record=prepared.recorded,
            act_type=ActType.UINT8,
            weight_type=plan.target.weight_type,
        )
    from amctq.quant.config import LayerConfig, QuantConfig, WeightConfig

    quant = QuantConfig(
        layers=tuple(
            LayerConfig(
                name=layer.name,
                enabled=layer.enabled,
                weight=WeightConfig(bits=layer.weight.bits, channel_wise=layer.weight.channel_wise),
            )
            for layer in prepared.config.layers
        )
    )
    return plan.backend.quantize(
        network=network,
        config=PtqConfig(
            quant=quant,
            placement=Placement.ASCEND,
            act_type=ActType.UINT8,
            ifmr_variant=IfmrVariant.EXACT,
            arq_rule=ArqRule.AMCT,
            weight_type=plan.target.weight_type,
        ),
        calibration=plan.batches(prepared.images.split.calibration),
        reporter=reporter,
    )


def measure_float(plan: QatPlan, prepared: Prepared, reporter: Reporter) -> LabelRanks | None:
    """Top-1 and top-5 of the float network; None where there are no evaluation images.

    Raises:
        InputError: it hardly beats chance.
    """
    from amctq.inference.accuracy import measure

    if prepared.images.evaluation is None:
        return None
    evaluation = plan.batches(prepared.images.evaluation)
    with reporter.phase("float accuracy", evaluation.images) as advance:
        ranks = measure(prepared.verified.session, evaluation, advance)
    refuse_chance(ranks, allow=plan.request.allow_poor_float)
    return ranks


def measure_start(
    plan: QatPlan, prepared: Prepared, start: QuantizedNetwork, output: OutputDirectory, reporter: Reporter
) -> LabelRanks | None:
    """Top-1 and top-5 before training, of the file that would have been exported."""
    from amctq.inference.accuracy import measure
    from amctq.inference.onnx_session import OnnxSession

    if prepared.images.evaluation is None:
        return None
    evaluation = plan.batches(prepared.images.evaluation)
    path = output.scratch() / "ptq.onnx"
    with writing(output.path):
        start.export(ExportFormat.ONNX, path, {})
    with reporter.phase("PTQ accuracy", evaluation.images) as advance:
        return measure(OnnxSession(path.read_bytes()), evaluation, advance)


def tell_plan(plan: QatPlan, prepared: Prepared, reporter: Reporter) -> None:
    """Say what is going to be done, and how long it will take."""
    recipe, images = prepared.recipe, prepared.images
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    reporter.info(
        f"recipe {recipe.name.value}: {recipe.steps:,} steps of {recipe.batch_size} images "
        f"({recipe.steps / recipe.steps_per_epoch:.3g} x {len(images.training):,}), learning rate up to "
        f"{recipe.lr_max:g} in {recipe.warmup_steps:,} steps, then {recipe.lr_decay.value}; "
        f"{evaluated:,} evaluation images"
    )
    reporter.info(f"about {duration(estimate(plan, prepared))} to go")


def steps_done(plan: QatPlan) -> int | None:
    """Of the run that is gone on with; None for a new one."""
    return plan.store.newest().snapshot.state.step if plan.request.resume else None


def estimate(plan: QatPlan, prepared: Prepared) -> float:
    """Seconds that everything will take, from one timed batch of the float network."""
    from amctq.inference.cell_session import CellSession

    recipe, images, verified = prepared.recipe, prepared.images, prepared.verified
    batch = plan.batches(images.split.calibration).first()
    session = CellSession(verified.network.cell)
    session.logits(batch)  # the first run of this size allocates
    in_mindspore, in_onnxruntime = (one.seconds_per_image(batch) for one in (session, verified.session))
    trained = (recipe.steps - (steps_done(plan) or 0)) * plan.request.batch_size  # each device's own
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    return max(1.0, in_mindspore * (_STEP * trained + recipe.epochs * evaluated) + in_onnxruntime * 3 * evaluated)
