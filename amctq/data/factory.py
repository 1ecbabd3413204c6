"""A dataset from a function of the user, which returns an iterable of (inputs, target)."""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.factory_item import EXPECTED, Item, read_item
from amctq.data.inputs import InputSpec, described, spec_of
from amctq.data.samples import Batch, Change, Dataset, Samples
from amctq.errors import AmctqError, InputError, Stopped
from amctq.plugins import USER_CODE_FAILURES, call_factory, format_error, load_factory, parameters_of

_OPTION = "--dataset"


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorySamples(Samples):
    """The samples of an iterable, which is read again for each pass. Of one without access by index a batch is kept.

    Attributes:
        items: returns the iterable, for each pass; the same one each time, where it has access by index.
        count: how many samples it gave when it was opened.
        by_epoch: returns the iterable of an epoch of training, which may be augmented; None where the function has no
            parameter ``epoch``.
        checksums: of the samples so far, by index; a sample that changes between passes is refused.
        inputs: see Samples.
        names: the names of ``inputs`` by those that the items have: their keys, or their positions.
        sources: see Samples.
        indices: see Samples.
        classified: see Samples.
        labels: None, because only reading the samples gives them.
        preprocessing: None, because the samples are prepared already.
    """

    items: Callable[[], Any]
    count: int
    by_epoch: Callable[[int], Any] | None
    checksums: dict[int, int]
    inputs: Mapping[str, InputSpec]
    names: Mapping[str, str]
    sources: tuple[str, ...]
    indices: NDArray[np.int64]
    classified: bool
    labels: None = None
    preprocessing: None = None

    def take(self, positions: NDArray[np.int64]) -> FactorySamples:
        """The samples at these positions."""
        return replace(self, indices=self.indices[positions])

    def _with_names(self, names: Mapping[str, str]) -> FactorySamples:
        given = {present: own for own, present in self.names.items()}
        return replace(
            self,
            inputs={new: self.inputs[present] for present, new in names.items()},
            names={given[present]: new for present, new in names.items()},
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """Inputs as the iterable gives them, and targets."""
        with self._users_failures():
            yield from self._batches(size)

    @property
    def indexed(self) -> bool:
        """Whether the user's function gives a list or the like."""
        with self._users_failures():
            return _is_indexed(self.items())

    def chosen(self, positions: NDArray[np.int64], change: Change | None = None, *, epoch: int | None = None) -> Batch:
        """Samples as they are, read by index.

        Raises:
            InputError: the iterable has no access by index.
        """
        del change
        indices = self.indices[positions].tolist()
        with self._users_failures():
            if epoch is None or self.by_epoch is None:
                items, read, when = self.items(), self._checked, "this time"
            else:
                items, read, when = self.by_epoch(epoch), self._read, f"in epoch {epoch}"
            if not _is_indexed(items):
                message = f"{_OPTION} {self.sources[0]}: it gives its images in one order only; training needs another"
                raise InputError(message, hint="return a list, or an object with __len__ and __getitem__")
            self._refuse_fewer(len(items), when)
            return self._stacked([read(index, items[index]) for index in indices])

    def _refuse_fewer(self, found: int, when: str) -> None:
        if found < self.count:
            message = f"{_OPTION} {self.sources[0]}: it gives {found:,} samples {when}, {self.count:,} before"
            raise InputError(message, hint="the function must return all samples each time it is called")

    @contextlib.contextmanager
    def _users_failures(self) -> Iterator[None]:
        try:
            yield
        except (AmctqError, Stopped, GeneratorExit):  # GeneratorExit: no more batches are wanted
            raise
        except USER_CODE_FAILURES as error:
            message = f"{_OPTION} {self.sources[0]}: iterating it raised {format_error(error)}"
            raise InputError(message, hint="run it by itself, and correct it") from error

    def _batches(self, size: int) -> Iterator[Batch]:
        found = 0
        checked = itertools.starmap(self._checked, self._chosen())
        while items := list(itertools.islice(checked, size)):
            found += len(items)
            yield self._stacked(items)
        if found < len(self):
            message = f"{_OPTION} {self.sources[0]}: it gave {found} of {len(self)} samples this time"
            raise InputError(message, hint="the function must return all samples each time it is called")

    def _checked(self, index: int, item: Any) -> Item:
        """An item, refused if it has not the form of the others, or if it has changed."""
        read = self._read(index, item)
        checksum = _checksum(read)
        if self.checksums.setdefault(index, checksum) != checksum:
            raise _changed(self.sources[0], index)
        return read

    def _read(self, index: int, item: Any) -> Item:
        """An item, refused if it has not the form of the others."""
        read = read_item(item, index, f"{_OPTION} {self.sources[0]}")
        specs = {self.names.get(name, name): spec_of(array) for name, array in read.inputs.items()}
        if specs != dict(self.inputs):
            message = (
                f"{_OPTION} {self.sources[0]}: sample {index} is {described(specs)}, others {described(self.inputs)}"
            )
            raise InputError(message, hint=EXPECTED)
        if self.classified is not read.classified:
            message = f"{_OPTION} {self.sources[0]}: the target of sample {index} is {read.target!r:.80}"
            kinds = "classes (whole numbers from 0)" if self.classified else "no classes"
            raise InputError(message, hint=f"the first samples have {kinds} as targets; expected the same of all")
        return read

    def _chosen(self) -> Iterator[tuple[int, Any]]:
        items = self.items()
        if _is_indexed(items):
            self._refuse_fewer(len(items), "this time")
            for index in self.indices:
                yield int(index), items[int(index)]
            return
        wanted = set(self.indices.tolist())
        last = int(self.indices[-1])
        for index, item in enumerate(items):
            if index in wanted:
                yield index, item
            if index == last:
                return

    def _stacked(self, items: list[Item]) -> Batch:
        inputs = {new: np.stack([item.inputs[own] for item in items]) for own, new in self.names.items()}
        targets = [item.target for item in items]
        if targets[0] is None:
            return inputs, None
        alike = len({getattr(target, "shape", None) for target in targets}) == 1
        return inputs, np.stack(targets) if alike and isinstance(targets[0], np.ndarray) else targets


def open_factory(text: str) -> Dataset:
    """Call ``path/to/file.py:name`` or ``package.module:name``.

    A function that takes ``role`` is called with "train" and with "test", and may return None for one of them. If it
    takes ``epoch`` too, it is None for calibration and evaluation, and 0, 1 … for the epochs of a training.
    Any other function is called without arguments, and its samples have no roles.

    Raises:
        InputError: it raises, or gives anything but inputs and targets.
    """
    factory = load_factory(text, option=_OPTION)
    if "role" in parameters_of(factory):
        train, test = (_samples(factory, text, role=role) for role in ("train", "test"))
        if train is None and test is None:
            message = f"{_OPTION} {text}: it returns None for role 'train' and for role 'test'"
            raise InputError(message, hint=EXPECTED)
        return Dataset(train=train, test=test, name=text)
    return Dataset(train=None, test=_samples(factory, text), name=text, whole=True)


def _samples(factory: Callable[..., Any], text: str, **role: str) -> FactorySamples | None:
    def items() -> Any:
        return call_factory(factory, text, option=_OPTION, role=role.get("role"), epoch=None)

    made = items()
    if made is None and role:
        return None
    checksums: dict[int, int] = {}
    kept: list[Any] = []

    def each_time() -> Any:
        """Call the function once more, to see that it gives the same, and keep what can be read again."""
        if not kept:
            again = items()
            if not _is_indexed(again):
                return again
            if len(again) and _checksum(read_item(again[0], 0, f"{_OPTION} {text}")) != checksums[0]:
                raise _changed(text, 0)
            kept.append(again)
        return kept[0]

    first: Item | None = None
    try:
        # With access by index, only the first sample is read now; without it all are read once, to count them.
        indexed = _is_indexed(made)
        count = len(made) if indexed else 0
        for index, item in enumerate(itertools.islice(made, min(count, 1)) if indexed else made):
            read = read_item(item, index, f"{_OPTION} {text}")
            checksums[index] = _checksum(read)
            first = first or read
            count = max(count, index + 1)
    except (InputError, Stopped):
        raise
    except USER_CODE_FAILURES as error:
        message = f"{_OPTION} {text}: iterating it raised {format_error(error)}"
        raise InputError(message, hint=EXPECTED) from error
    if first is None:
        message = f"{_OPTION} {text}: it gives no samples"
        raise InputError(message, hint=EXPECTED)
    by_epoch = None
    if "epoch" in parameters_of(factory) and role.get("role") != "test":
        # The next batch is prepared early, so that two epochs may be read at once.
        by_epoch = lru_cache(maxsize=2)(lambda epoch: call_factory(factory, text, option=_OPTION, **role, epoch=epoch))
    return FactorySamples(
        items=each_time,
        count=count,
        by_epoch=by_epoch,
        checksums=checksums,
        inputs={name: spec_of(array) for name, array in first.inputs.items()},
        names={name: name for name in first.inputs},
        sources=(text,),
        indices=np.arange(count),
        classified=first.classified,
    )


def _changed(text: str, index: int) -> InputError:
    message = f"{_OPTION} {text}: sample {index} is not the same each time"
    return InputError(message, hint="do not shuffle or augment here: calibration and evaluation samples would mix")


def _is_indexed(items: Any) -> bool:
    """Whether any sample can be read by its index."""
    return hasattr(items, "__getitem__") and hasattr(items, "__len__")


def _checksum(item: Item) -> int:
    checksum = 0
    for array in item.inputs.values():
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    if isinstance(item.target, np.ndarray) and not item.target.dtype.hasobject:
        return zlib.crc32(np.ascontiguousarray(item.target).tobytes(), checksum)
    return checksum
