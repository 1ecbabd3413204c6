"""A pickle that PyTorch has written, read as data: nothing is imported, nothing is called, no object is made.

``pickle`` runs whatever a file names, and an allow-list of names does not keep it from computing the hash of a tuple
of tuples for ever. This machine has the opcodes of a pickle, and its values are plain: dictionaries are lists of pairs,
and what PyTorch would make of a class or a function stays a name with arguments.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from typing import Any

from amctq.networks.tensor_file import CheckpointError, DamagedCheckpointError
from amctq.networks.torch_calls import (
    ORDERED,
    SAVE_TENSORS,
    TUPLES,
    Call,
    Foreign,
    Persistent,
    Table,
    called_unmade,
    checked,
    text_of,
)

_MOST_STEPS = 4_000_000  # the state of 100,000 tensors has 3 million
_MARK = object()


class _Machine:
    """Stack and memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.references: list[Persistent] = []
        self.steps = 0

    def run(self, stream: Any) -> Any:
        for opcode, argument, _ in pickletools.genops(stream):
            self.spend(1)
            if opcode.name == "STOP":
                return self.pop()
            if opcode.name in _PUSHED:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name in _STEPS:
                _STEPS[opcode.name](self, argument)
            elif opcode.name not in {"PROTO", "FRAME"}:
                reason = f"its pickle has the opcode {opcode.name}, which PyTorch does not write"
                raise CheckpointError(reason, hint=SAVE_TENSORS)
        raise AssertionError  # genops raises where there is no STOP

    def spend(self, steps: int) -> None:
        """Count steps, and values that a step copies: the file may name a long list as often as it likes."""
        self.steps += steps
        if self.steps > _MOST_STEPS:
            reason = f"its pickle takes more than {_MOST_STEPS:,} steps"
            raise CheckpointError(reason, hint=SAVE_TENSORS)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise IndexError
        return value

    def marked(self) -> list[Any]:
        """Everything after the last mark."""
        position = next(index for index in range(len(self.stack) - 1, -1, -1) if self.stack[index] is _MARK)
        values = self.stack[position + 1 :]
        del self.stack[position:]
        return values

    def put(self, position: int) -> None:
        self.memo[position] = self.stack[-1]

    def get(self, position: int) -> None:
        self.stack.append(self.memo[position])

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Foreign):  # such as a deque
            raise TypeError

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Table):
            target.items.extend(zip(values[::2], values[1::2], strict=True))
        elif not isinstance(target, Foreign):  # such as a defaultdict
            raise TypeError

    def name(self, text: str) -> None:
        module, _, rest = text.partition(" ")
        self.stack.append(checked(module, rest))

    def stack_name(self) -> None:
        rest, module = self.pop(), self.pop()
        if not isinstance(rest, str) or not isinstance(module, str):
            raise TypeError
        self.name(f"{module} {rest}")

    def call(self) -> None:
        arguments, called = self.pop(), self.pop()
        self.construct(called, arguments)

    def new(self) -> None:
        """An object of a class, of which nothing is made."""
        _, kind = self.pop(), self.pop()
        name = text_of(kind)
        self.stack.append(Table() if name == ORDERED else Foreign(name))

    def new_with_keywords(self) -> None:
        self.pop()
        self.new()

    def construct(self, called: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise TypeError
        name = text_of(called)
        if name == ORDERED or name in TUPLES:
            values = [value for sequence in arguments[:1] for value in _values(sequence)]
            self.spend(len(values))
            self.stack.append(Table([_pair(value) for value in values]) if name == ORDERED else tuple(values))
        else:
            self.stack.append(called_unmade(name, arguments))

    def instance(self, text: str) -> None:
        arguments = self.marked()
        self.name(text)
        self.construct(self.pop(), tuple(arguments))

    def object(self) -> None:
        kind, *arguments = self.marked()
        self.construct(kind, tuple(arguments))

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Foreign):
            target.is_module = isinstance(state, Table) and any(key == "_parameters" for key, _ in state.items)
        elif not isinstance(target, (Table, Call)):  # an OrderedDict's _metadata, a parameter's attributes
            raise TypeError

    def refer(self) -> None:
        reference = self.pop()
        if not isinstance(reference, tuple) or not reference:
            raise TypeError
        is_class = reference[0] == "module" and len(reference) > 1  # with its source, as PyTorch before 1.6 wrote it
        if is_class:
            self.stack.append(reference[1])
            return
        self.references.append(Persistent(reference))
        self.stack.append(self.references[-1])


def _values(sequence: Any) -> Any:
    if isinstance(sequence, Table):
        return sequence.items
    if isinstance(sequence, (list, tuple)):
        return sequence
    raise TypeError


def _pair(value: Any) -> tuple[Any, Any]:
    key, item = value
    return key, item


_PUSHED = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "SHORT_BINUNICODE BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": lambda: _MARK,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": Table,
    "EMPTY_SET": lambda: Foreign("builtins.set"),
}
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.marked(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "PUT": lambda machine, position: machine.put(position),
    "BINPUT": lambda machine, position: machine.put(position),
    "LONG_BINPUT": lambda machine, position: machine.put(position),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GET": lambda machine, position: machine.get(position),
    "BINGET": lambda machine, position: machine.get(position),
    "LONG_BINGET": lambda machine, position: machine.get(position),
    "LIST": lambda machine, _: machine.stack.append(machine.marked()),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "DICT": lambda machine, _: _dict(machine),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "ADDITEMS": lambda machine, _: machine.marked(),
    "FROZENSET": lambda machine, _: _frozen(machine),
    "GLOBAL": lambda machine, text: machine.name(text),
    "STACK_GLOBAL": lambda machine, _: machine.stack_name(),
    "INST": lambda machine, text: machine.instance(text),
    "OBJ": lambda machine, _: machine.object(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.new(),
    "NEWOBJ_EX": lambda machine, _: machine.new_with_keywords(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.refer(),
}


def _frozen(machine: _Machine) -> None:
    machine.marked()
    machine.stack.append(Foreign("builtins.frozenset"))


def _dict(machine: _Machine) -> None:
    values = machine.marked()
    machine.stack.append(Table())
    machine.set_items(values)


def read_pickle(stream: Any) -> Any:
    """The next value of a stream, made of numbers, texts, lists, tuples and the classes above.

    Args:
        stream: with ``read``, ``readline`` and ``tell``; ``read`` of too much gives what there is.

    Raises:
        CheckpointError: it calls what no tensor needs, or is larger than the state of any network.
        DamagedCheckpointError: it is no complete pickle.
    """
    return read_referring_pickle(stream)[0]


def read_referring_pickle(stream: Any) -> tuple[Any, list[Persistent]]:
    """The same, and everything outside that the pickle refers to.

    Raises:
        CheckpointError: as ``read_pickle``.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escape sequences in a text, which are not amctq's
            return machine.run(stream), machine.references
    except CheckpointError:
        raise
    except Exception as error:  # from pickletools, or of a stack that does not hold what an opcode takes
        reason = "its pickle is damaged"
        raise DamagedCheckpointError(reason) from error
