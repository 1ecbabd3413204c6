"""The result of ``amctq launch-distributed``, and of its ``--dry-run``."""

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
    """The result of a launch.

    Attributes:
        plan: the plan of the launch.
        report: the report of ``qat``, written by rank 0; None on the other servers.
        artifacts: the files of rank 0.
        ranks: the final state of each worker of this server.
        warnings: warnings of the launcher itself.
        seconds: wall time of the launch.
    """

    plan: LaunchPlan
    report: Mapping[str, Any] | None
    artifacts: tuple[Artifact, ...]
    ranks: tuple[ProcessState, ...]
    warnings: tuple[str, ...]
    seconds: float

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON: the report of ``qat``, with the launch added."""
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
    """What a launch would do: the result of ``--dry-run``.

    Attributes:
        plan: the plan of the launch.
        warnings: the warnings so far.
    """

    plan: LaunchPlan
    warnings: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The preview, ready for JSON: every worker and its environment."""
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
