"""The environment of a launch: what its processes inherit, and what of it a log may show."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from amctq.leftovers import LAUNCH_ID

# Each run says these itself. What the shell, a scheduler or a former run has left of another run would have the workers
# join that one: MindSpore reads all of them, and HCCL a rank table wherever there is one.
_OF_A_RUN = frozenset(
    """
    DEVICE_ID DEVICE_NUM JOB_ID MASTER_ADDR MASTER_PORT MINDSPORE_HCCL_CONFIG_PATH MINDX_TASK_ID MS_CLUSTER_ROOT
    MS_DRY_RUN MS_ENABLE_RECOVERY MS_PSERVER MS_RECEIVE_MSG_TIMEOUT MS_RECOVERY_PATH MS_ROLE RANK SERVER_ID WORLD_SIZE
    """.split()
)
_OF_A_RUN_BEGIN = tuple(
    """
    CM_CHIEF_ CM_WORKER_ LOCAL_RANK LOCAL_WORLD_SIZE MSRUN_ MS_HCCL_CM_ MS_NODE_ MS_SCHED_ MS_SERVER_ MS_SIMULATION_
    MS_TFT_ MS_TOPO_ MS_WORKER_ OMPI_ PMIX_ PMI_ RANK_
    """.split()
)
# What explains a run and holds no secret, by whole names: the values of other variables are not ours to write down.
_SHOWN = frozenset(
    """
    ASCEND_AICPU_PATH ASCEND_GLOBAL_LOG_LEVEL ASCEND_HOME_PATH ASCEND_OPP_PATH ASCEND_PROCESS_LOG_PATH
    ASCEND_RT_VISIBLE_DEVICES ASCEND_SLOG_PRINT_TO_STDOUT ASCEND_TOOLKIT_HOME ASCEND_VISIBLE_DEVICES
    ASCEND_WORK_PATH CC CUDA_VISIBLE_DEVICES DEVICE_ID GLOG_log_dir GLOG_logtostderr GLOG_v HCCL_ALGO HCCL_BUFFSIZE
    HCCL_CONNECT_TIMEOUT HCCL_DETERMINISTIC HCCL_EXEC_TIMEOUT HCCL_IF_BASE_PORT HCCL_IF_IP HCCL_SOCKET_FAMILY
    HCCL_SOCKET_IFNAME HCCL_WHITELIST_DISABLE HOSTNAME LANG LC_ALL LD_LIBRARY_PATH LD_PRELOAD MKL_NUM_THREADS
    MS_ALLOC_CONF MS_COMPILER_CACHE_ENABLE MS_COMPILER_CACHE_PATH MS_CPU_COMM_OP_TIMEOUT MS_CUSTOM_AOT_WHITE_LIST
    MS_ENABLE_GRACEFUL_EXIT MS_NODE_ID MS_OM_PATH MS_ROLE MS_SCHED_HOST MS_SCHED_PORT MS_TOPO_TIMEOUT MS_WORKER_NUM
    OMP_NUM_THREADS ONEDNN_MAX_CPU_ISA OPENBLAS_NUM_THREADS ORT_DISABLE_TELEMETRY PATH PYTHONPATH PYTHONSAFEPATH
    RANK_ID RANK_SIZE TMPDIR VIRTUAL_ENV
    """.split()
)


def msrun_environment(launch_id: str, scratch: Path) -> dict[str, str]:
    """The environment of msrun, for all processes of a launch.

    Args:
        launch_id: marks them.
        scratch: their temporary folder.
    """
    # Its python3 is the one that runs amctq.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # Like the console script, the workers do not import from the current directory (from Python 3.11 on).
    return {**_inherited(), "PATH": path, "PYTHONSAFEPATH": "1", "TMPDIR": str(scratch), LAUNCH_ID: launch_id}


def _inherited() -> dict[str, str]:
    """This process's environment without what names another run, its ranks, its devices or its servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _OF_A_RUN and not name.startswith(_OF_A_RUN_BEGIN)
    }


def shown(environment: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The lines of ``env.log``: what the launcher has set, and what else explains a run; never a secret.

    Args:
        environment: of the process.
        own: what the launcher has set of it.
    """
    names = sorted(name for name in environment if name in _SHOWN or name in own)
    return "".join(f"{name}={environment[name]}\n" for name in names)
