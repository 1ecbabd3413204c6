"""A supervised launch of light workers, as a process: prints what it has come to as JSON.

python -m tests.distributed.light_launch FOLDER ACTION,ACTION [NAME=VALUE …]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from amctq.distributed import supervisor
from amctq.distributed.launch_plan import LaunchPlan, RankPlan
from amctq.distributed.supervisor import supervise
from amctq.errors import Stopped, WorkerError
from amctq.signals import StopRequest, hold_signals

HERE = Path(__file__).parent
WORKER, LAUNCHER = HERE / "light_worker.py", HERE / "light_msrun.py"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(folder: str, actions: str, *settings: str) -> int:
    hold_signals()
    given = dict(setting.split("=", 1) for setting in settings)
    count = len(actions.split(","))
    plan = LaunchPlan(
        ranks=tuple(
            RankPlan(
                rank=rank, node=0, local=rank, server="here", device_id=None, cores=(), environment={"OWN": str(rank)}
            )
            for rank in range(count)
        ),
        node=0,
        nodes=1,
        master_addr="127.0.0.1",
        master_port=8118,
        cluster_timeout=60,
        log_dir=Path(folder),
        command=tuple(given.get("command", f"{sys.executable} {WORKER} {folder} {actions}").split()),
        launcher=tuple(given.get("launcher", f"{sys.executable} {LAUNCHER}").split()),
        scheduler=tuple(given.get("scheduler", "sleep 600").split()),
    )
    supervisor._POLL = float(given.get("poll", supervisor._POLL))
    lines: list[str] = []
    stop = StopRequest()
    try:
        with stop.listening():
            ranks = supervise(
                plan,
                {},
                on_line=lambda state, line: lines.append(f"{state.name} {line['event']}"),
                stall_timeout=float(given.get("stall", 60)),
                grace=float(given.get("grace", 10)),
            )
    except WorkerError as error:
        _say(json.dumps({"message": error.message, "hint": error.hint, "data": error.data}))
        return error.exit_code
    except Stopped as stopped:
        _say(json.dumps({"lines": lines}))
        return stopped.exit_code
    _say(json.dumps({"lines": lines, "steps": [state.step for state in ranks]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
