"""The workers of a distributed ``amctq qat`` except the first: they train with it, and write nothing."""

from __future__ import annotations

from amctq.errors import InputError
from amctq.input_file import LoadedFile
from amctq.leftovers import temporary_folder
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.qat.plan import plan_qat
from amctq.services.qat.prepare import prepare
from amctq.services.qat.request import QatRequest
from amctq.services.qat.train import retrain
from amctq.training.process_group import ProcessGroup, SingleProcess, Worker


def follow_qat(request: QatRequest, on_event: OnEvent = silent, *, worker: Worker) -> None:
    """Train together with the first worker, and wait until that has finished everything else.

    Args:
        request: the request of the first worker.
        on_event: receives progress, notices and warnings.
        worker: this process in its process group.

    Raises:
        AmctqError: as ``qat``; WorkerError if the workers cannot connect.
        Stopped: by a signal to this worker or another.
    """
    from amctq.amct_files.record_text import parse_record

    plan, reporter = plan_qat(request, worker), Reporter(on_event)
    with temporary_folder() as folder:
        prepared = prepare(plan, folder, reporter)
        group = join(worker, reporter)
        with reporter.phase("waiting for rank 0"):
            share_checkpoint(group, prepared.verified.loaded[0])
            record = parse_record(group.share(None), "the record of rank 0")
        retraining = plan.backend.retrain(
            network=prepared.verified.network, config=prepared.config, initial=record, reporter=reporter
        )
        retrain(plan, prepared, retraining, {}, reporter, group)
        with reporter.phase("waiting for rank 0"):
            group.agree(stop=False)


def share_checkpoint(group: ProcessGroup, own: LoadedFile) -> None:
    """Check that all workers have loaded the same checkpoint: each reads the file itself, and the report names one sum.

    Raises:
        InputError: the file has changed between the first worker's reading and this one's.
    """
    first = group.share(own.sha256.encode() if group.worker.is_first else None).decode()
    if first != own.sha256:
        message = f"{own.path} has changed while the workers started: rank 0 has loaded another content"
        raise InputError(message, hint="start again, when nothing writes that file")


def join(worker: Worker | None, reporter: Reporter) -> ProcessGroup:
    """Join the process group of ``worker``; None for a single process.

    Raises:
        WorkerError: the workers cannot connect.
    """
    if worker is None:
        return SingleProcess()
    from amctq.distributed.collectives import CollectiveGroup

    with reporter.phase("joining"):
        return CollectiveGroup(worker)
