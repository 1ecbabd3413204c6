"""The devices that train together: which of them this process is, and what they tell each other.

All hold the same weights, clips, momentum and moving statistics, bit for bit, after every step; so the first one's
checkpoint is everybody's, and a run that goes on from it ends in the same bytes as one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Which of the devices that train together this process is.

    Attributes:
        rank: from 0; rank 0 alone writes files.
        size: how many there are.
        digests: tell after every step what this device holds, which shows whether all hold the same.
    """

    rank: int = 0
    size: int = 1
    digests: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process calibrates, evaluates, saves and exports for all."""
        return self.rank == 0


class ProcessGroup(Protocol):
    """What devices tell each other. Every call waits for the same call of all the others."""

    worker: Worker

    def mean(self) -> Any:
        """A cell that makes of tuples of arrays their means over all devices; None where there is nothing to do."""

    def share(self, content: bytes | None) -> bytes:
        """What the first device has given; the others give None."""

    def share_arrays(self, parameters: Mapping[str, Any]) -> None:
        """Give all devices the first one's values of ``parameters``, bit for bit."""

    def agree(self, *, stop: bool) -> bool:
        """Wait for all; whether any device wants to stop."""


class SingleProcess:
    """One device."""

    worker = Worker()

    def mean(self) -> None:
        """Nothing to do."""

    def share(self, content: bytes | None) -> bytes:
        """What it has given itself."""
        assert content is not None
        return content

    def share_arrays(self, parameters: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def agree(self, *, stop: bool) -> bool:
        """Its own wish."""
        return stop


def words(content: bytes) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Bytes as int32, the type that every engine's broadcast takes; filled up with zeros."""
    return np.frombuffer(content + bytes(-len(content) % 4), np.int32)
