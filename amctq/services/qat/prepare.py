"""The first part of ``amctq qat``: read all inputs and check them before anything is measured or trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amctq.backends.base import QuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, ArqRule, IfmrVariant, Placement
from amctq.errors import UsageError
from amctq.networks.verified import VerifiedNetwork
from amctq.progress import Reporter
from amctq.services.qat.identity import refuse_other_length, refuse_other_run
from amctq.services.qat.images import QatImages, choose_images, open_images, recipe_for
from amctq.services.qat.plan import QatPlan, retrain_config
from amctq.services.run import report
from amctq.services.run.accuracy import PTQ_ACCURACY, QUANTIZED_ACCURACY
from amctq.services.run.forecast import Expected, Forecast, forward_seconds, preparation_seconds
from amctq.services.run.inputs import (
    FLOAT_ACCURACY,
    begin,
    check_exportable,
    metric_for,
    named_record,
    verified_network,
)
from amctq.services.run.simulation import SIMULATED_IMAGES, SIMULATIONS
from amctq.training.history import former_lines
from amctq.training.loop import EVALUATION, TRAINING
from amctq.training.recipe import Recipe
from amctq.training.store import Found

if TYPE_CHECKING:
    from amctq.data.samples import Samples
    from amctq.inference.metrics.score import Metric
    from amctq.quant.retrain_config import RetrainConfig

# Time of a training step relative to a forward pass, measured on resnet20 and resnet50.
_STEP = 5.0
_LOSS_SAMPLES = 4  # for which the loss is computed before anything is measured


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """The inputs of the run, after all checks that come before measuring and training.

    Attributes:
        images: images for training, calibration and evaluation.
        metric: how good a network is; None where nothing says it.
        recipe: how the network is trained.
        loss: what training minimises, of outputs and targets.
        verified: the float network.
        config: the configuration of each layer.
        start: the network quantized by ``--record``; None if calibration has to quantize it.
        identity: everything that decides the result, except the record.
        resumed: the checkpoint to continue from; None for a new run, and in all workers except the first.
        history: the lines of the training history up to that checkpoint.
    """

    images: QatImages
    metric: Metric | None
    recipe: Recipe
    loss: Any
    verified: VerifiedNetwork
    config: RetrainConfig
    start: QuantizedNetwork | None
    identity: dict[str, Any]
    resumed: Found | None
    history: Sequence[str]


def prepare(plan: QatPlan, scratch: Path, reporter: Reporter) -> Prepared:
    """Read and check images, network, record and configuration.

    Raises:
        UsageError: options and inputs contradict each other.
        InputError: an input is not valid, or the checkpoint to continue from belongs to another run.
        CheckError: the exported float graph and MindSpore compute different results.
        UnavailableError: MindSpore does not work on this machine.
    """
    request = plan.request
    begin(plan, reporter)
    if request.unused_hyper_parameters:
        unused = ", ".join(request.unused_hyper_parameters)
        reporter.warn(f"{request.hyper_parameters}: not used, because no option means the same: {unused}")
    with reporter.phase("dataset"):
        images = choose_images(plan, open_images(plan, reporter))
    recipe = recipe_for(plan, images)
    verified = verified_network(plan, plan.batches(images.split.calibration), scratch, reporter)
    network, images = verified.network, images.renamed(verified.names)
    metric = metric_for(plan, network, images.split.calibration, reporter)
    loss = _loss(plan, verified, images.training)
    record = named_record(plan, network, reporter)
    bits = None if record is None else {entry.name: entry.weight_bits for entry in record.layers}
    config = retrain_config(plan, network, bits, reporter)
    if bits is not None and request.config is None:
        missing = [layer.name for layer in config.layers if not layer.enabled and layer.name not in bits]
        if missing:
            reporter.warn(f"{', '.join(missing)}: not in the record, and not quantized")
    if record is None:
        config = replace(config, batch_num=-(-len(images.split.calibration) // request.batch_size))
    check_exportable(plan, network, config.selected(network.topology), reporter)
    plan.backend.check_retrainable(network, config, record)
    identity = _identity(plan, images, config, recipe, verified.loaded[0].sha256)
    resumed = plan.store.newest() if request.resume and plan.worker.is_first else None
    history: Sequence[str] = ()
    if resumed is not None:
        refuse_other_run(resumed, identity)
        refuse_other_length(resumed, recipe)
        history = former_lines(plan.history, resumed.snapshot.state)
    start = None
    if record is not None:
        start = plan.backend.from_record(
            network=network, record=record, act_type=ActType.UINT8, weight_type=plan.isa.weight_type
        )
    return Prepared(
        images=images,
        metric=metric,
        recipe=recipe,
        loss=loss,
        verified=verified,
        config=config,
        start=start,
        identity=identity,
        resumed=resumed,
        history=history,
    )


def quantized_start(plan: QatPlan, prepared: Prepared, reporter: Reporter) -> QuantizedNetwork:
    """Quantize the network that training starts from: by the record, else by a calibration as ``ptq`` does it."""
    if prepared.start is not None:
        from amctq.backends.replaced_ranges import warn_of_replaced_ranges

        images = plan.batches(prepared.images.split.calibration)
        warn_of_replaced_ranges(prepared.verified.network, prepared.start, images, reporter)
        return prepared.start
    from amctq.quant.config import ActivationConfig, LayerConfig, QuantConfig

    quant = QuantConfig(
        layers=tuple(
            LayerConfig(name=layer.name, enabled=layer.enabled, activation=ActivationConfig(), weight=layer.weight)
            for layer in prepared.config.layers
        )
    )
    return plan.backend.quantize(
        network=prepared.verified.network,
        config=PtqConfig(
            quant=quant,
            placement=Placement.ASCEND,
            act_type=ActType.UINT8,
            ifmr_variant=IfmrVariant.EXACT,
            arq_rule=ArqRule.AMCT,
            weight_type=plan.isa.weight_type,
            bias_correction=prepared.config.rounded_by_inputs,
        ),
        calibration=plan.batches(prepared.images.split.calibration),
        reporter=reporter,
    )


def announce(plan: QatPlan, prepared: Prepared, reporter: Reporter) -> None:
    """Report the recipe, and the estimated time."""
    recipe, images = prepared.recipe, prepared.images
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    reporter.info(
        f"recipe {recipe.name.value}: {recipe.steps:,} steps of {recipe.batch_size} images "
        f"({recipe.steps / recipe.steps_per_epoch:.3g} x {len(images.training):,}), learning rate up to "
        f"{recipe.lr_max:g} in {recipe.warmup_steps:,} steps, then {recipe.lr_decay.value}; "
        f"{evaluated:,} evaluation images"
    )
    Forecast(reporter=reporter, expected=expected_phases(plan, prepared)).begin()


def expected_phases(plan: QatPlan, prepared: Prepared) -> tuple[Expected, ...]:
    """The phases that take long, from a few timed images of the float network."""
    from amctq.inference.cell_session import CellSession

    recipe, images, verified = prepared.recipe, prepared.images, prepared.verified
    calibration = plan.batches(images.split.calibration)
    preparation = preparation_seconds(calibration)
    onnx = preparation + forward_seconds(verified.session, calibration)
    mindspore = forward_seconds(CellSession(verified.network.cell), calibration)
    step, batch = (0 if prepared.resumed is None else prepared.resumed.snapshot.state.step), plan.request.batch_size
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    epochs = recipe.epochs - step // recipe.steps_per_epoch
    # The images of a step are prepared while the one before is computed.
    training = Expected(
        phases=(TRAINING,), units=recipe.steps - step, seconds=_STEP * mindspore * batch, engine=TRAINING
    )
    evaluation = Expected(phases=(EVALUATION,), units=epochs * evaluated, seconds=preparation + mindspore)
    measured = [
        Expected(phases=(phase,), units=evaluated, seconds=onnx, engine="onnxruntime")
        for phase in (FLOAT_ACCURACY, PTQ_ACCURACY, QUANTIZED_ACCURACY)
    ]
    simulated = Expected(phases=SIMULATIONS, units=min(evaluated, SIMULATED_IMAGES), seconds=onnx + mindspore)
    return (training, evaluation, *measured, simulated)


def _identity(
    plan: QatPlan, images: QatImages, config: RetrainConfig, recipe: Recipe, checkpoint_sha256: str
) -> dict[str, Any]:
    """Everything that decides the result of a run, except the record. Equal identities give equal bytes."""
    from amctq.amct_files.retrain_json import dump_retrain_config

    request = plan.request
    evaluation = images.evaluation
    return {
        "model": report.model(plan.spec.name, plan.num_classes, images.training),
        "checkpoint_sha256": checkpoint_sha256,
        "training": report.samples(images.training) | {"first_images_sha256": _first_images(plan, images)},
        "evaluation": None if evaluation is None else report.samples(evaluation),
        "seed": request.seed,
        "devices": plan.worker.size,
        "recipe": recipe.data(),
        "loss": request.loss,
        "config_sha256": hashlib.sha256(dump_retrain_config(config)).hexdigest(),
    } | ({} if plan.name_map is None else {"name_map": dict(plan.name_map.names)})


def _loss(plan: QatPlan, verified: VerifiedNetwork, training: Samples) -> Any:
    """What training minimises.

    Raises:
        UsageError: the network is no classifier, and no loss was named.
        InputError: the loss cannot be computed.
    """
    from amctq.inference.metrics.choose import gives_scores
    from amctq.training.loss import check_loss, own_loss, usual_loss

    text, network = plan.request.loss, verified.network
    if text is None and not (gives_scores(network.graph.output_shapes) and training.classified):
        message = (
            "--loss: the network is no classifier whose samples have classes, and cross-entropy is for these alone"
        )
        raise UsageError(message, hint="name your own: --loss file.py:function, of outputs and targets")
    loss = usual_loss() if text is None else own_loss(text)
    inputs, targets = training.chosen(np.arange(min(len(training), _LOSS_SAMPLES)), epoch=0)
    check_loss(text, loss, network.cell, inputs, targets)
    return loss


def _first_images(plan: QatPlan, images: QatImages) -> str:
    """Hash the first batch, to detect another dataset of the same size and file names."""
    inputs, targets = next(images.training.batches(plan.request.batch_size))
    digest = hashlib.sha256()
    for array in (*inputs.values(), np.asarray(targets)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
