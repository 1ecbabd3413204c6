"""One rank of a distributed ``amctq qat``: the service itself, and what the supervisor is told of it."""

from __future__ import annotations

import json
import os
import types
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from amctq.distributed.launch_plan import STATUS
from amctq.distributed.status import StatusWriter
from amctq.errors import AmctqError, Stopped
from amctq.progress import Event, Notice, OnEvent
from amctq.services.qat.request import QatRequest
from amctq.training.process_group import Worker


def worker_spec(request: QatRequest, *, size: int, digests: bool) -> dict[str, Any]:
    """What a worker must know, ready for JSON.

    Args:
        request: what the ranks train.
        size: how many there are.
        digests: see ``Worker``.
    """
    fields = {name: _plain(value) for name, value in vars(request).items()}
    return {"request": fields, "size": size, "digests": digests}


def work(launch: Path, on_event: OnEvent) -> None:
    """Be the rank that RANK_ID names.

    Args:
        launch: the launch file.
        on_event: is told of progress, notices and warnings, as the status file is.

    Raises:
        AmctqError: as ``qat`` would.
        Stopped: by a signal, of this rank or another.
    """
    content = json.loads(launch.read_bytes())
    rank, spec = os.environ["RANK_ID"], content["worker"]
    worker = Worker(rank=int(rank), size=spec["size"], digests=spec["digests"])
    status = StatusWriter(Path(content["processes"][rank]["folder"]) / STATUS)

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            status.tell("notice", level=event.level, text=event.text)
        else:
            status.tell("progress", **{name: value for name, value in asdict(event).items() if name != "lane"})
        on_event(event)

    # Behind the command's start: these bring ONNX and onnxruntime along.
    from amctq.services.qat.follower import follow_qat
    from amctq.services.qat.qat import qat

    request = read_request(spec["request"])
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


def read_request(fields: Mapping[str, Any]) -> QatRequest:
    """The request that ``worker_spec`` has written."""
    hints = get_type_hints(QatRequest)
    return QatRequest(**{name: _typed(hints[name], value) for name, value in fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _typed(hint: Any, value: Any) -> Any:
    """A value of JSON as the field's type has it; of several types the first that is no None."""
    if value is None:
        return None
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple:
        return tuple(_typed(get_args(hint)[0], item) for item in value)
    return hint(value) if isinstance(hint, type) and issubclass(hint, (Enum, Path)) else value
