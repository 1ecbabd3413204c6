"""Before ``amctq qat`` trains: every input read, and the network as post-training quantization leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.backends.base import PtqConfig, QuantizedNetwork
from amctq.choices import ActType, ArqRule, ExportFormat, IfmrVariant, Placement
from amctq.files import OutputDirectory, writing
from amctq.progress import Narrator
from amctq.runtime import prepare_environment
from amctq.services.checks import refuse_chance
from amctq.services.network import ProvedNetwork, load_network, named_record
from amctq.services.qat_images import QatImages, choose_images, open_images, recipe_for
from amctq.services.qat_plan import QatPlan, retrain_config
from amctq.services.retraining import refuse_other_run, run_identity
from amctq.training.pace import duration
from amctq.training.recipe import Recipe

if TYPE_CHECKING:
    from amctq.export.verify import Ranks
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
        proved: the float network.
        recorded: the record that was given; None to calibrate.
        config: what is done to each layer.
        identity: what decides the result (``run_identity``), but for the record.
    """

    images: QatImages
    recipe: Recipe
    proved: ProvedNetwork
    recorded: QuantRecord | None
    config: RetrainConfig
    identity: dict[str, Any]


def prepare(plan: QatPlan, scratch: Path, narrator: Narrator) -> Prepared:
    """Read images, network, record and configuration.

    Raises:
        UsageError: options and inputs contradict each other.
        InputError: an input is not what it must be, or the checkpoint to go on from belongs to another run.
        CheckError: the exported float graph computes something else than MindSpore.
        UnavailableError: MindSpore does not work here.
    """
    from amctq.quant.record_text import load_record

    request = plan.request
    prepare_environment(plan.device)
    narrator.info(
        f"back end {plan.backend.name.value} ({plan.backend_reason}), "
        f"device {plan.device.kind.value} ({plan.device.reason})"
    )
    if request.unused_hyper_parameters:
        unused = ", ".join(request.unused_hyper_parameters)
        narrator.warn(f"{request.hyper_parameters}: not used, because no option means the same: {unused}")
    with narrator.phase("dataset"):
        images = choose_images(plan, open_images(plan))
    recipe = recipe_for(plan, images)
    recorded = None if request.record is None else load_record(request.record)
    proved = load_network(
        spec=plan.spec,
        ckpt=request.ckpt,
        num_classes=request.num_classes,
        device=plan.device,
        examples=plan.batches(images.split.calibration),
        scratch=scratch,
        narrator=narrator,
    )
    topology = proved.network.topology
    if recorded is not None:
        recorded = named_record(recorded, proved.network, narrator)
        # A record of another network is refused before its layers decide anything.
        plan.backend.from_record(network=proved.network, record=recorded, act_type=ActType.UINT8)
    bits = None if recorded is None else {entry.name: entry.weight_bits for entry in recorded.layers}
    config = retrain_config(plan, topology, bits, narrator)
    if recorded is not None and request.config is None:
        missing = [layer.name for layer in config.layers if not layer.enabled and layer.name not in (bits or {})]
        if missing:
            narrator.warn(f"{', '.join(missing)}: not in the record, and not quantized")
    for form in request.export:
        plan.backend.check_exportable(proved.network, config.selected(topology), form)
    identity = run_identity(plan, images, config, recipe)
    if request.resume and plan.place.is_first:
        refuse_other_run(plan.store.newest(), identity)
    return Prepared(images=images, recipe=recipe, proved=proved, recorded=recorded, config=config, identity=identity)


def quantized_start(plan: QatPlan, prepared: Prepared, narrator: Narrator) -> QuantizedNetwork:
    """The network as post-training quantization leaves it: by the record, or by calibration, the sample's way."""
    network = prepared.proved.network
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
        narrator=narrator,
    )


def measure_float(plan: QatPlan, prepared: Prepared, narrator: Narrator) -> Ranks | None:
    """Top-1 and top-5 of the float network; None where there are no evaluation images.

    Raises:
        InputError: it hardly beats chance.
    """
    from amctq.export import verify

    if prepared.images.evaluation is None:
        return None
    evaluation = plan.batches(prepared.images.evaluation)
    with narrator.phase("float accuracy", evaluation.images) as advance:
        ranks = verify.measure(prepared.proved.session, evaluation, advance)
    refuse_chance(ranks, allow=plan.request.allow_poor_float)
    return ranks


def measure_start(
    plan: QatPlan, prepared: Prepared, start: QuantizedNetwork, output: OutputDirectory, narrator: Narrator
) -> Ranks | None:
    """Top-1 and top-5 before training, of the file that would have been exported."""
    from amctq.export import verify
    from amctq.export.session import OnnxSession

    if prepared.images.evaluation is None:
        return None
    evaluation = plan.batches(prepared.images.evaluation)
    path = output.scratch() / "ptq.onnx"
    with writing(output.path):
        start.export(ExportFormat.ONNX, path, {})
    with narrator.phase("PTQ accuracy", evaluation.images) as advance:
        return verify.measure(OnnxSession(path.read_bytes()), evaluation, advance)


def tell_plan(plan: QatPlan, prepared: Prepared, narrator: Narrator) -> None:
    """Say what is going to be done, and how long it will take."""
    recipe, images = prepared.recipe, prepared.images
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    narrator.info(
        f"recipe {recipe.name.value}: {recipe.steps:,} steps of {recipe.batch_size} images "
        f"({recipe.steps / recipe.steps_per_epoch:.3g} x {len(images.training):,}), learning rate up to "
        f"{recipe.lr_max:g} in {recipe.warmup_steps:,} steps, then {recipe.lr_decay.value}; "
        f"{evaluated:,} evaluation images"
    )
    narrator.info(f"about {duration(estimate(plan, prepared))} to go")


def steps_done(plan: QatPlan) -> int | None:
    """Of the run that is gone on with; None for a new one."""
    return plan.store.newest().snapshot.state.step if plan.request.resume else None


def estimate(plan: QatPlan, prepared: Prepared) -> float:
    """Seconds that everything will take, from one timed batch of the float network."""
    from amctq.export.session import CellSession

    recipe, images, proved = prepared.recipe, prepared.images, prepared.proved
    batch = plan.batches(images.split.calibration).first()
    session = CellSession(proved.network.cell)
    session.logits(batch)  # the first run of this size allocates
    in_mindspore, in_onnxruntime = (one.seconds_per_image(batch) for one in (session, proved.session))
    trained = (recipe.steps - (steps_done(plan) or 0)) * plan.request.batch_size  # each device's own
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    return max(1.0, in_mindspore * (_STEP * trained + recipe.epochs * evaluated) + in_onnxruntime * 3 * evaluated)
