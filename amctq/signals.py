"""SIGINT and SIGTERM: turn them into exceptions, delay them, and restore handlers that libraries replace."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from amctq.errors import Interrupted, Stopped, Terminated

_MEANING: dict[int, type[Stopped]] = {signal.SIGINT: Interrupted, signal.SIGTERM: Terminated}
_WAKE = signal.SIGURG  # ignored by default, so an extra one is harmless


class StopRequest:
    """Remembers that the run must stop.

    A handler may raise inside a library that catches the exception or replaces it by another one. ``check`` raises it
    again later.
    """

    def __init__(self) -> None:
        self.stopped: type[Stopped] | None = None

    def check(self) -> None:
        """Raise Interrupted or Terminated if a signal has arrived."""
        if self.stopped is not None:
            raise self.stopped

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into Interrupted and Terminated, unless the parent process ignores them.

        A separate thread receives the signals and sends them to the main thread. Without it, the kernel may deliver a
        signal while MindSpore compiles. Then MindSpore's handler turns SIGINT into SIGTERM, and the exit code is wrong.
        """

        def stop(number: int, frame: FrameType | None) -> NoReturn:
            del frame
            self.stopped = _MEANING[number]
            raise self.stopped

        numbers = _not_ignored()
        with signal_handlers_kept(), signal_handlers_kept(_WAKE), _blocked(numbers):
            for number in numbers:
                signal.signal(number, stop)
            signal.signal(_WAKE, lambda number, frame: None)
            with _forwarding(numbers):
                yield


def hold_signals() -> None:
    """Keep SIGINT and SIGTERM pending until a command listens. Call it before any other thread exists.

    All threads inherit the mask, also those of NumPy and MindSpore, so none of them can receive a signal. Ignored
    signals are kept pending too, because MindSpore's own handler would not ignore them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _MEANING)


def _not_ignored() -> list[int]:
    """The signals that the parent process does not ignore."""
    return [number for number in _MEANING if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def _blocked(numbers: list[int]) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _forwarding(numbers: list[int]) -> Iterator[None]:
    """Receive the signals ``numbers``, which every thread blocks, and run their handlers in the main thread."""
    ended = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def forward() -> None:
        while True:
            number = signal.sigwait(numbers)
            if ended.is_set():
                return
            _thread.interrupt_main(signal.Signals(number))
            signal.pthread_kill(main, _WAKE)  # interrupts a system call that waits

    thread = threading.Thread(target=forward, name="amctq-signals", daemon=True)
    if numbers:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            signal.pthread_kill(thread.ident, numbers[0])
            thread.join()


@contextlib.contextmanager
def signal_handlers_kept(*numbers: int) -> Iterator[None]:
    """Restore the handlers of these signals at the end of the block; without arguments, of SIGINT and SIGTERM.

    MindSpore replaces the handler of SIGINT by one that ends the process with SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python can set handlers only in the main thread
        return
    before = {number: signal.getsignal(number) for number in numbers or _MEANING}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by C code before Python started
                signal.signal(number, handler)


@contextlib.contextmanager
def signals_held(*, deliver: bool = True) -> Iterator[list[int]]:
    """Delay signals that arrive inside the block until its end, or drop them if ``deliver`` is False.

    The block gets the list of signals that have arrived, so that it can end early.
    """
    arrived: list[int] = []
    with signal_handlers_kept():
        if threading.current_thread() is threading.main_thread():
            for number in _not_ignored():
                signal.signal(number, lambda number, frame: arrived.append(number))
        yield arrived
    for number in arrived[:1] if deliver else ():
        handler = signal.getsignal(number)
        if callable(handler):
            handler(number, None)  # a signal would stay pending while ``StopRequest`` listens
        else:
            signal.raise_signal(number)
