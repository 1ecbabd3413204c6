"""Communication of the ranks of a run, with MindSpore's collectives: HCCL on NPUs, its own ones on CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.communication import get_group_size, get_rank, init

from amctq.errors import WorkerError, first_line
from amctq.signals import signal_handlers_kept
from amctq.training.process_group import Worker, words


class CollectiveGroup:
    """The ranks of a cluster that MindSpore's scheduler has formed.

    Args:
        worker: which of them this process is.

    Raises:
        WorkerError: the cluster cannot be formed, or gives this process another rank.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        try:
            with signal_handlers_kept():
                init()
        except RuntimeError as error:
            message = f"rank {worker.rank} of {worker.size} cannot join the cluster: {first_line(error)}"
            hint = "see the scheduler's log, and whether every server reaches --master-addr and --master-port"
            raise WorkerError(message, hint=hint) from error
        found = get_rank(), get_group_size()
        if found != (worker.rank, worker.size):
            message = f"the cluster has rank {found[0]} of {found[1]} for rank {worker.rank} of {worker.size}"
            raise WorkerError(message, hint="another run may use the same --master-port: choose a free one")
        self._broadcast, self._sum = _Broadcast(), _Sum()

    def mean(self) -> nn.Cell:
        """A cell that turns a tuple of arrays into their means over all ranks."""
        return MeanOverRanks(self.worker.size)

    def share(self, content: bytes | None) -> bytes:
        """The content that rank 0 passes."""
        length = np.array([len(content or b"")], np.int32)
        size = int(_run(self._broadcast, length)[0])
        own = np.zeros(-(-size // 4), np.int32) if content is None else words(content)
        return _run(self._broadcast, own).tobytes()[:size]

    def share_arrays(self, parameters: Mapping[str, Any]) -> None:
        """Give all ranks the values of rank 0, bit for bit: the bytes in memory are sent, in one message."""
        own = {name: item.asnumpy() for name, item in parameters.items()}
        content = words(b"".join(array.tobytes() for array in own.values()))
        shared = _run(self._broadcast, content).tobytes()
        start = 0
        for name, array in own.items():
            if not self.worker.is_first:
                values = np.frombuffer(shared, array.dtype, array.size, start)
                parameters[name].set_data(Tensor(values.reshape(array.shape)))
            start += array.nbytes

    def agree(self, *, stop: bool) -> bool:
        """Wait for all ranks; returns whether any of them wants to stop."""
        return bool(_run(self._sum, np.array([float(stop)], np.float32))[0] > 0)


class MeanOverRanks(nn.Cell):
    """Turns a tuple of float32 arrays into their means over all ranks, in the same shapes, with one message.

    Args:
        size: how many ranks there are.
    """

    def __init__(self, size: int) -> None:
        super().__init__(auto_prefix=False)
        self.size = size
        self.all_reduce = ops.AllReduce()
        self.concat = ops.Concat()

    def construct(self, arrays: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The means."""
        flat: tuple[Tensor, ...] = ()
        for array in arrays:
            flat = (*flat, ops.reshape(array, (-1,)))
        mean = self.all_reduce(self.concat(flat)) / self.size
        means: tuple[Tensor, ...] = ()
        start = 0
        for array in arrays:
            end = start + array.size
            means = (*means, ops.reshape(mean[start:end], array.shape))
            start = end
        return means


def _run(collective: nn.Cell, own: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with signal_handlers_kept():
        result: np.ndarray[Any, Any] = collective(Tensor(own)).asnumpy()
    return result


class _Broadcast(nn.Cell):
    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.broadcast = ops.Broadcast(0)

    def construct(self, own: Tensor) -> Tensor:
        return self.broadcast((own,))[0]


class _Sum(nn.Cell):
    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.all_reduce = ops.AllReduce()

    def construct(self, own: Tensor) -> Tensor:
        return self.all_reduce(own)
