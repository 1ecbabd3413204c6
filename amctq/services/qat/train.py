"""The training part of ``amctq qat``: start or resume the training, and measure the trained network."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.choices import Device, SelectEpoch
from amctq.data.samples import Batches
from amctq.errors import InputError, Stopped
from amctq.networks.verified import VerifiedNetwork
from amctq.progress import Reporter
from amctq.runtime import graph_mode
from amctq.services.qat.identity import made_on, refuse_other_run
from amctq.services.qat.plan import QatPlan
from amctq.services.qat.prepare import Prepared
from amctq.services.qat.stages import Trained
from amctq.training.batches import TrainingBatches
from amctq.training.history import History
from amctq.training.loop import EVALUATION, train
from amctq.training.process_group import ProcessGroup
from amctq.training.run import TrainingRun
from amctq.training.snapshot import DamagedSnapshotError, TrainingState, read_snapshot
from amctq.training.store import BEST, Found

if TYPE_CHECKING:
    from amctq.backends.base import RetrainingNetwork
    from amctq.inference.metrics.measure import Outcome
    from amctq.inference.metrics.score import Metric, Score
    from amctq.inference.session import Session

_SHOWN = 5  # differences named in a message


def retrain(
    plan: QatPlan,
    prepared: Prepared,
    retraining: RetrainingNetwork,
    identity: Mapping[str, Any],
    reporter: Reporter,
    group: ProcessGroup,
) -> Trained:
    """Train ``retraining`` to the end of the recipe.

    Args:
        plan: the plan of the run, whose output directory is locked.
        prepared: images, recipe, float network (the teacher of distillation), and the checkpoint to continue from.
        retraining: the network with its quantizers, before the first step.
        identity: everything that decides the result, with the record.
        reporter: shows progress, notices and warnings.
        group: the process group; every worker of it makes this call.

    Raises:
        InputError: the checkpoint to continue from belongs to another run.
        CheckError: the training diverged.
        WriteError: a checkpoint cannot be written.
        Stopped: by a signal, after a checkpoint was saved.
    """
    from amctq.backends.ascend import use_half_precision
    from amctq.training.step import TrainingStep, zero_moments

    images, recipe = prepared.images, prepared.recipe
    with graph_mode():
        if plan.device.kind is Device.ASCEND:
            use_half_precision(retraining.cell)
        _warn_of_dropout(retraining.cell, reporter)
        evaluator = None
        if images.evaluation is not None and prepared.metric is not None:
            evaluator = _Evaluator(retraining.cell, plan.batches(images.evaluation), prepared.metric)
        run = TrainingRun(
            step=TrainingStep(
                retraining.cell,
                recipe,
                prepared.loss,
                zero_moments(retraining.cell),
                group.mean(),
                logits=plan.request.loss is None,
            ),
            parameters=retraining.state(),
            recipe=recipe,
            batches=TrainingBatches(
                samples=images.training,
                batch_size=recipe.batch_size,
                seed=plan.request.seed,
                augment=recipe.augment,
                classes=plan.num_classes if plan.request.loss is None else None,
                rank=group.worker.rank,
                world_size=group.worker.size,
            ),
            teacher=teacher_on(plan.device.kind, prepared.verified).run if recipe.distillation else None,
            evaluate=None if evaluator is None else evaluator.measure,
            evaluation_images=0 if images.evaluation is None else len(images.evaluation),
            save_every=plan.save_every(recipe),
            group=group,
        )
        if not group.worker.is_first:
            return _follow(run, group, reporter)
        begins, saved, resumed_at = _start(plan, prepared.resumed, run, identity, reporter)
        group.share(json.dumps([begins.step, begins.evaluated]).encode())
        run.share()
        with History(plan.history, prepared.history) as history:
            state = train(run, begins, saved=saved, store=plan.store, history=history, reporter=reporter)
            written = history.artifact()
        epoch = _select(plan, run, state)
        if evaluator is not None and (evaluator.outcome is None or epoch != recipe.epochs):
            with reporter.phase(EVALUATION, run.evaluation_images) as advance:
                evaluator.measure(advance)
        outcome = None if evaluator is None else evaluator.outcome
        return Trained(state=state, epoch=epoch, outcome=outcome, resumed_at=resumed_at, history=written)


def teacher_on(device: Device, verified: VerifiedNetwork) -> Session:
    """The float network in its fastest engine: onnxruntime on a CPU, else MindSpore on the training device."""
    if device is Device.CPU or verified.network.rebuild is None:
        return verified.session
    from amctq.inference.cell_session import CellSession

    return CellSession(verified.network.rebuild().set_train(False))


@contextlib.contextmanager
def training_is_saved(plan: QatPlan) -> Iterator[None]:
    """If a signal stops the run after training, say where the training is saved."""
    try:
        yield
    except Stopped as stopped:
        stopped.left = f"the training is saved in {plan.store.folder}; continue with --resume"
        raise


@dataclass(eq=False)
class _Evaluator:
    """Measures a live network, and keeps the last outcome."""

    cell: Any
    batches: Batches
    metric: Metric
    outcome: Outcome | None = field(default=None, init=False)

    def measure(self, advance: Callable[[int], None]) -> Score:
        from amctq.inference.cell_session import FixedBatchSession
        from amctq.inference.metrics.measure import measure

        self.cell.set_train(False)
        self.outcome = None
        self.outcome = measure(FixedBatchSession(self.cell, self.batches.size), self.batches, self.metric, advance)
        return self.outcome.score


def _follow(run: TrainingRun, group: ProcessGroup, reporter: Reporter) -> Trained:
    """Train together with the first worker, which reads and writes the checkpoints."""
    step, evaluated = json.loads(group.share(None))
    begins = TrainingState(step=step, evaluated=evaluated, best=None, last=None, identity={}, made_on={})
    run.share()
    state = train(run, begins, saved=None, store=None, history=None, reporter=reporter)
    return Trained(state=state, epoch=run.recipe.epochs, outcome=None, resumed_at=None)


def _start(
    plan: QatPlan, resumed: Found | None, run: TrainingRun, identity: Mapping[str, Any], reporter: Reporter
) -> tuple[TrainingState, Path, int | None]:
    """Start or resume the run: return the state, its checkpoint, and the step of a resumed run."""
    if resumed is None:
        state = TrainingState(step=0, evaluated=0, best=None, last=None, identity=identity, made_on=made_on())
        return state, plan.store.begin(run.snapshot(state)).path, None
    plan.store.clear()
    for path in resumed.damaged:
        reporter.warn(f"{path} is damaged; going on from the one before it")
    state = resumed.snapshot.state
    refuse_other_run(resumed, identity)
    then = state.made_on
    changed = [f"{key} {then.get(key)}, now {value}" for key, value in made_on().items() if then.get(key) != value]
    if changed:
        reporter.warn(
            f"the checkpoint was made with {'; '.join(changed)}: last bits may differ from one run throughout"
        )
    run.restore(resumed.snapshot.arrays)
    reporter.info(f"resuming from step {state.step:,} ({resumed.path})")
    return replace(state, made_on=made_on()), resumed.path, state.step


def _select(plan: QatPlan, run: TrainingRun, state: TrainingState) -> int:
    """Restore the parameters of the epoch to export, and return its number."""
    best = state.best
    if plan.request.select is SelectEpoch.LAST or best is None or best.epoch == run.recipe.epochs:
        return run.recipe.epochs
    path = plan.store.folder / BEST
    try:
        run.restore(read_snapshot(path).arrays)
    except DamagedSnapshotError as error:
        raise InputError(error.message, hint="export the last epoch instead: --resume --select last") from error
    return best.epoch


def _warn_of_dropout(cell: Any, reporter: Reporter) -> None:
    from mindspore import nn

    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    off = (("keep_prob", 1), ("p", 0), ("prob", 0))  # each of the kinds has some of these; then it draws nothing
    names = [
        name
        for name, part in cell.cells_and_names()
        if isinstance(part, kinds) and not any(getattr(part, key, None) == value for key, value in off)
    ]
    if names:
        reporter.warn(
            f"{', '.join(names[:_SHOWN])}: MindSpore keeps the random state of dropout to itself, "
            "so that a resumed run draws other masks than one throughout"
        )
