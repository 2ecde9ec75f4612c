"""Pickles read as data: the opcodes are interpreted, but no class or function that they name is ever looked up.

What a pickle would call becomes a `PickledCall` of name and arguments. `pickle.Unpickler` with a restricted
`find_class` would still call the allowed classes and let the file set their state; here nothing is called.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MAX_OPCODES = 5_000_000
"""A yolov5x checkpoint has about 100,000."""

_PLAIN = (str, int, float, bool, bytes, type(None))

_PUSHED = """
INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES
SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
"""
_PUSH_ARGUMENT = frozenset(_PUSHED.split())
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleRefused(Exception):
    """A pickle is damaged or names something that is not allowed; the message says which."""


@dataclass(frozen=True)
class PickledName:
    """The name of a class or function in a pickle."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class PickledCall:
    """An object that a pickle would make by calling `what`; nothing was called."""

    what: PickledName
    arguments: tuple[Any, ...]
    state: Any = None
    """What the pickle would set as its state afterwards."""
    items: list[Any] = field(default_factory=list)
    """Items of a set or list-like object."""


@dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something outside the pickle."""

    key: Any


def read_pickle(content: bytes, allowed: Callable[[str, str], bool]) -> Any:
    """The tree that a pickle describes: dicts, lists, tuples and plain values, and `PickledCall` for everything else.

    An ordered dictionary becomes a dict. A node that the pickle refers to twice is the same object twice, so the tree
    may have cycles.

    Args:
        content: one pickle, of any protocol.
        allowed: (module, name) -> whether the pickle may name this.

    Raises:
        PickleRefused: it is damaged, too large, or names something that is not allowed.
    """
    try:
        return _Machine(allowed).run(content)
    except PickleRefused:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        words = str(error).partition("\n")[0][:120] or type(error).__name__
        raise PickleRefused(f"its pickle is damaged ({words})") from error


class _Machine:
    """Stack, marks and memo while one pickle is read."""

    def __init__(self, allowed: Callable[[str, str], bool]) -> None:
        self._allowed = allowed
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > _MAX_OPCODES:
                raise PickleRefused(f"its pickle has more than {_MAX_OPCODES} parts")
            if opcode.name == "STOP":
                (result,) = self._stack
                return result
            self._step(opcode.name, argument)
        raise PickleRefused("its pickle has no end")

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        match opcode:
            case _ if opcode in _PUSH_ARGUMENT:
                stack.append(argument)
            case _ if opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            case _ if opcode in _TUPLES:
                stack.append(tuple(self._pop(_TUPLES[opcode])))
            case "PROTO" | "FRAME":
                pass
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "MARK":
                self._marks.append(len(stack))
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "LIST" | "FROZENSET":
                stack.append(self._pop_to_mark())
            case "DICT":
                pairs = self._pop_to_mark()
                stack.append({})
                self._put(pairs)
            case "APPEND":
                self._extend(self._pop(1))
            case "APPENDS" | "ADDITEMS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._put(self._pop(2))
            case "SETITEMS":
                self._put(self._pop_to_mark())
            case "GLOBAL":
                self._name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self._name(*self._pop(2))
            case "REDUCE" | "NEWOBJ":
                self._make(*self._pop(2))
            case "NEWOBJ_EX":
                self._make(*self._pop(3)[:2])  # without the keywords
            case "BUILD":
                self._build(*self._pop(1))
            case "BINPERSID":
                stack.append(Persistent(*self._pop(1)))
            case _:
                raise PickleRefused(f"its pickle uses {opcode}, which no checkpoint does")

    def _pop(self, count: int) -> list[Any]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise PickleRefused("its pickle is damaged (takes more than was put)")
        return self._cut(start)

    def _pop_to_mark(self) -> list[Any]:
        return self._cut(self._marks.pop())

    def _cut(self, start: int) -> list[Any]:
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _build(self, state: Any) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            return  # attributes of an ordered dictionary, such as a state dict's `_metadata`
        if not isinstance(target, PickledCall) or target.state is not None:
            raise PickleRefused("its pickle puts a state into what has none")
        target.state = state

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleRefused("its pickle is damaged (a name that is no text)")
        if not self._allowed(module, name):
            raise PickleRefused(f"it names {module[:80]}.{name[:80]}")
        self._stack.append(PickledName(module, name))

    def _make(self, what: Any, arguments: Any) -> None:
        if not isinstance(what, PickledName) or not isinstance(arguments, tuple):
            raise PickleRefused("its pickle calls what is no class")
        if (what.module, what.name) != ("collections", "OrderedDict"):
            self._stack.append(PickledCall(what, arguments))
            return
        self._stack.append({})
        for pair in arguments[0] if arguments else ():
            self._put(list(pair))

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        target = target.items if isinstance(target, PickledCall) else target
        if not isinstance(target, list):
            raise PickleRefused("its pickle appends to what is no list")
        target.extend(values)

    def _put(self, flat: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(flat) % 2:
            raise PickleRefused("its pickle sets items of what is no dictionary")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            # Only plain values: hashing tuples that are nested in themselves would take for ever.
            if not isinstance(key, _PLAIN):
                raise PickleRefused("its pickle has a dictionary key that is no plain value")
            target[key] = value
