"""One worker of a distributed ``amctq qat``: it runs the service, and reports to the supervisor."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from amctq.distributed.launch_plan import STATUS
from amctq.distributed.status import StatusWriter
from amctq.errors import AmctqError, InputError, Stopped
from amctq.files import writing
from amctq.json_file import read_json_object
from amctq.progress import Event, Notice, OnEvent, Progress
from amctq.services.qat.worker_spec import read_request
from amctq.training.process_group import Worker


def work(launch: Path, on_event: OnEvent) -> None:
    """Run as the worker whose rank is in RANK_ID.

    Args:
        launch: the launch file.
        on_event: receives progress, notices and warnings; the status file receives them too.

    Raises:
        AmctqError: as ``qat``.
        Stopped: by a signal to this worker or another.
    """
    content = read_json_object(launch, what="launch file", option="LAUNCH_FILE", takes="what the launcher writes")
    rank, spec = os.environ.get("RANK_ID", ""), content.get("worker") or {}
    try:
        worker = Worker(rank=int(rank), size=spec["size"], digests=spec["digests"])
        folder = Path(content["processes"][rank]["folder"])
        request = read_request(spec["request"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"RANK_ID is {rank!r}, and {launch} has no such worker"
        raise InputError(
            message, hint="workers are started by amctq launch-distributed and by qat --distributed"
        ) from error
    with writing(folder):
        status = StatusWriter(folder / STATUS)

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            status.tell("notice", level=event.level, text=event.text)
        elif isinstance(event, Progress):
            status.tell("progress", **{name: value for name, value in asdict(event).items() if name != "lane"})
        else:
            status.tell("ended", **asdict(event))
        on_event(event)

    # Imported late, because these load ONNX and onnxruntime.
    from amctq.services.qat.follower import follow_qat
    from amctq.services.qat.qat import qat

    try:
        if worker.is_first:
            result = qat(request, tell, worker=worker)
            artifacts = [asdict(artifact) | {"path": str(artifact.path)} for artifact in result.artifacts]
            status.tell("result", artifacts=artifacts)
        else:
            follow_qat(request, tell, worker=worker)
    except AmctqError as error:
        status.tell("error", code=error.code, message=error.message, hint=error.hint, data=error.data)
        raise
    except Stopped as stopped:
        status.tell("error", code=stopped.code, message=stopped.left, hint=None, data=None)
        raise
