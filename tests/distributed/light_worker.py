"""A worker that loads no framework: tells three steps, and then does what it is told for its rank."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from amctq.distributed.status import StatusWriter


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(folder: str, actions: list[str]) -> int:
    rank = int(os.environ["RANK_ID"])
    action = actions[rank]
    own = Path(folder) / f"train_parallel{rank}"
    status = StatusWriter(own / "status.jsonl")
    stopped: list[int] = []
    (Path(tempfile.gettempdir()) / f"of-rank-{rank}").touch()
    if action not in {"deaf", "waiting"}:
        signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
        signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for step in range(1, 4 if action != "waiting" else 1):
        figures = {"loss": 1.0 / step, "images_per_second": 100.0}
        status.tell("progress", phase="training", done=step, total=3, unit="steps", note="", figures=figures)
    _say(f"rank {rank} has done three steps")
    if action == "exit3":
        _say("the third step was one too many")
        return 3
    if action == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if action == "late":  # as a worker whose peer has gone
        time.sleep(0.3)
        return 1
    while action in {"hang", "deaf", "waiting"}:
        time.sleep(0.05)
        if stopped:
            status.tell("error", code="terminated", message=f"rank {rank} has saved", hint=None, data=None)
            return 128 + stopped[0]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2].split(",")))
