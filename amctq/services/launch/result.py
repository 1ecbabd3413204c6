"""What ``amctq launch-distributed`` has come to, and what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amctq.distributed.launch_plan import LaunchPlan
from amctq.distributed.rank_table_json import dump_rank_table
from amctq.distributed.status import ProcessState
from amctq.files import Artifact


@dataclass(frozen=True, kw_only=True, eq=False)
class LaunchResult:
    """What a launch has come to.

    Attributes:
        plan: what was run.
        report: that of ``qat``, which rank 0 has written; None on a server that has not run it.
        artifacts: the files of rank 0.
        ranks: how the ranks of this server have ended.
        warnings: what was said on the way by the launcher itself.
        seconds: wall time of everything.
    """

    plan: LaunchPlan
    report: Mapping[str, Any] | None
    artifacts: tuple[Artifact, ...]
    ranks: tuple[ProcessState, ...]
    warnings: tuple[str, ...]
    seconds: float

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON: the report of ``qat``, and the launch beside it."""
        ranks = [{"rank": rank.rank, "server": rank.server, "device": rank.device_id} for rank in self.plan.ranks]
        launch = {
            "workers": len(self.plan.ranks),
            "nodes": self.plan.nodes,
            "node": self.plan.node,
            "ranks": ranks,
            "logs": [str(state.log) for state in self.ranks],
            "warnings": list(self.warnings),
            "timing": {"seconds": round(self.seconds, 3)},
        }
        return {**(self.report or {}), "command": "launch-distributed", "launch": launch}


@dataclass(frozen=True, kw_only=True)
class LaunchPreview:
    """What a launch would do.

    Attributes:
        plan: the checked request.
        warnings: what was said on the way.
    """

    plan: LaunchPlan
    warnings: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The preview, ready for JSON: every rank and its whole environment."""
        plan = self.plan
        return {
            "dry_run": True,
            "workers": len(plan.ranks),
            "nodes": plan.nodes,
            "node": plan.node,
            "master_addr": plan.master_addr,
            "master_port": plan.master_port,
            "log_dir": str(plan.log_dir),
            "command": list(plan.command),
            "rank_table": None if plan.table is None else dump_rank_table(plan.table),
            "ranks": [
                {
                    "rank": rank.rank,
                    "node": rank.node,
                    "server": rank.server,
                    "local_rank": rank.local,
                    "device": rank.device_id,
                    "cores": list(rank.cores),
                    "folder": str(plan.folder(rank.rank)),
                    "environment": plan.environment(rank),
                }
                for rank in plan.ranks
            ],
            "warnings": list(self.warnings),
        }
