"""The other devices of a distributed ``amctq qat``: they train beside the first one, and write nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from amctq.progress import OnEvent, Reporter, silent
from amctq.services.qat.plan import plan_qat
from amctq.services.qat.prepare import prepare
from amctq.services.qat.request import QatRequest
from amctq.services.qat.train import retrain
from amctq.training.process_group import ProcessGroup, SingleProcess, Worker


def follow_qat(request: QatRequest, on_event: OnEvent = silent, *, worker: Worker) -> None:
    """Train beside the first of several devices, which does everything else, and wait until it has done so.

    Args:
        request: what the first one does; nothing is written.
        on_event: is told of progress, notices and warnings.
        worker: which of the devices this process is.

    Raises:
        AmctqError: as ``qat`` would; WorkerError where the devices do not find each other.
        Stopped: by a signal, of this device or another.
    """
    from amctq.amct_files.record_text import parse_record

    plan, reporter = plan_qat(request, worker), Reporter(on_event)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(plan, Path(folder), reporter)
        group = join(worker, reporter)
        with reporter.phase("waiting for rank 0"):
            record = parse_record(group.share(None), "the record of rank 0")
        retraining = plan.backend.retrain(
            network=prepared.verified.network, config=prepared.config, initial=record, reporter=reporter
        )
        retrain(plan, prepared, retraining, {}, reporter, group)
        with reporter.phase("waiting for rank 0"):
            group.agree(stop=False)


def join(worker: Worker | None, reporter: Reporter) -> ProcessGroup:
    """Come together with the other devices; None for none.

    Raises:
        WorkerError: the devices do not find each other.
    """
    if worker is None:
        return SingleProcess()
    from amctq.distributed.collectives import CollectiveGroup

    with reporter.phase("joining"):
        return CollectiveGroup(worker)
