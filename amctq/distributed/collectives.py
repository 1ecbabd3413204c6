"""What the ranks of a run tell each other, over MindSpore's collectives: HCCL on NPUs, its own ones on CPUs."""

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
    """The ranks of a cluster that MindSpore's scheduler has brought together.

    Args:
        worker: which of them this process shall be.

    Raises:
        WorkerError: the cluster does not come about, or has another rank for this process.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        try:
            with signal_handlers_kept():
                init()
        except RuntimeError as error:
            message = f"rank {worker.rank} of {worker.size} does not come into the cluster: {first_line(error)}"
            hint = "see the scheduler's log, and whether every server reaches --master-addr and --master-port"
            raise WorkerError(message, hint=hint) from error
        found = get_rank(), get_group_size()
        if found != (worker.rank, worker.size):
            message = f"the cluster has rank {found[0]} of {found[1]} for rank {worker.rank} of {worker.size}"
            raise WorkerError(message, hint="another run may use the same --master-port: choose a free one")
        self._broadcast, self._sum = _Broadcast(), _Sum()

    def mean(self) -> nn.Cell:
        """A cell that makes of tuples of arrays their means over all ranks."""
        return MeanOverRanks(self.worker.size)

    def share(self, content: bytes | None) -> bytes:
        """What rank 0 has given."""
        length = np.array([len(content or b"")], np.int32)
        size = int(self._shared(length)[0])
        own = np.zeros(-(-size // 4), np.int32) if content is None else words(content)
        return self._shared(own).tobytes()[:size]

    def share_arrays(self, parameters: Mapping[str, Any]) -> None:
        """Give all ranks rank 0's values, bit for bit: they travel as they lie in memory, in one message."""
        own = {name: item.asnumpy() for name, item in parameters.items()}
        shared = self._shared(words(b"".join(array.tobytes() for array in own.values()))).tobytes()
        start = 0
        for name, array in own.items():
            if not self.worker.is_first:
                content = np.frombuffer(shared, array.dtype, array.size, start)
                parameters[name].set_data(Tensor(content.reshape(array.shape)))
            start += array.nbytes

    def agree(self, *, stop: bool) -> bool:
        """Wait for all; whether any rank wants to stop."""
        return bool(self._summed(np.array([float(stop)], np.float32))[0] > 0)

    def _summed(self, own: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with signal_handlers_kept():
            total: np.ndarray[Any, Any] = self._sum(Tensor(own)).asnumpy()
        return total

    def _shared(self, own: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with signal_handlers_kept():
            shared: np.ndarray[Any, Any] = self._broadcast(Tensor(own)).asnumpy()
        return shared


class MeanOverRanks(nn.Cell):
    """A tuple of float32 arrays as their means over all ranks, in the same shapes, told in one message.

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
