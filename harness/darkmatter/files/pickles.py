"""A pickle reader that cannot run anything: a small stack machine over pickletools' opcodes.

Python's own unpickler imports and calls what a stream names. This one has no import and no call in
it: it knows the plain containers, a handful of names that torch writes when it saves tensors, and
inert stubs for the classes of old formats. Any other name is refused, and with it the file.
"""

from __future__ import annotations

import fnmatch
import io
import pickletools
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from darkmatter.errors import SAEFileError, UnsafeFileError
from darkmatter.files import limits

KNOWN_STUBS = (
    "pathlib.*",
    "torch.device",
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "builtins.object",
    "__builtin__.object",
    "sae_lens.*",
    "sae_training.*",
    "mats_sae_training.*",
    "autoencoders.*",
    "dictionary_learning.*",
)
"""Names (globs) that become inert stubs in every file; an adapter adds those of its own format."""

PLAIN = (str, int, float, bool, bytes, type(None))
MARK = object()


@dataclass(frozen=True)
class Name:
    """A global that the stream mentions: an importable name that is never imported."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


@dataclass(eq=False)
class Stub:
    """Stands for an object of a class that is never imported: its name and what was stored."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<stub of {self.name}>"


Builder = Callable[[tuple[Any, ...]], Any]


class Machine:
    """Reads one pickle stream.

    ``builders`` says which names may stand before REDUCE and what the call means here;
    ``constants`` are names that stand for a value; ``persistent`` turns a persistent id (a
    reference to a storage) into a value.
    """

    def __init__(
        self,
        where: str,
        *,
        builders: dict[str, Builder] | None = None,
        constants: dict[str, Any] | None = None,
        persistent: Callable[[Any], Any] | None = None,
        stubs: Iterable[str] = (),
    ) -> None:
        self.where = where
        self._builders = {"collections.OrderedDict": _mapping, "__builtin__.set": _set, "builtins.set": _set}
        self._builders |= builders or {}
        self._constants = constants or {}
        self._persistent = persistent
        self._stubs = (*KNOWN_STUBS, *stubs)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, source: io.BytesIO) -> Any:
        """The object in the stream; the source is left behind its last byte."""
        self._stack.clear()
        self._memo.clear()
        try:
            for step, (opcode, argument, _) in enumerate(pickletools.genops(source)):
                if step >= limits.PICKLE_STEPS:
                    self._fail(f"takes more than {limits.PICKLE_STEPS} steps to read")
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError, MemoryError) as error:
            message = f"{self.where}: its pickle stream is damaged: {str(error)[:120] or type(error).__name__}."
            raise SAEFileError(message) from error
        self._fail("ends early")

    def _fail(self, what: str) -> NoReturn:
        message = f"{self.where}: its pickle stream {what}."
        raise SAEFileError(message)

    def _step(self, name: str, argument: Any) -> None:
        if name in VALUES:
            self._stack.append(argument)
        elif name in FIXED:
            self._stack.append(FIXED[name]())
        elif name in HANDLERS:
            HANDLERS[name](self, argument)
        elif name not in IGNORED:
            message = f"{self.where}: uses the pickle instruction {name}, which saved weights never need."
            raise UnsafeFileError(message)

    def _until_mark(self) -> list[Any]:
        """Pop everything above the topmost mark, and the mark."""
        position = len(self._stack) - 1
        while self._stack[position] is not MARK:
            position -= 1
            if position < 0:
                self._fail("closes a list that it never opened")
        items = self._stack[position + 1 :]
        del self._stack[position:]
        return items

    def _pop_mark(self, _: Any) -> None:
        self._until_mark()

    def _tuple(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) < count or any(item is MARK for item in items):
            self._fail("is damaged")
        self._stack[-count:] = [tuple(items)]

    def _resolve(self, module: Any, attribute: Any) -> Any:
        """What a name stands for; the only place where names are looked at."""
        if not (isinstance(module, str) and isinstance(attribute, str)):
            self._fail("names something that is not a name")
        full = f"{module}.{attribute}"
        if full in self._constants:
            return self._constants[full]
        known = full in self._builders or any(fnmatch.fnmatchcase(full, glob) for glob in self._stubs)
        if known:
            return Name(module, attribute)
        message = (
            f"{self.where}: asks for `{full[:120]}`, which reading weights never needs; "
            "the file was not read further and nothing in it was run. If you made it yourself, "
            "save its tensors with safetensors and give that file."
        )
        raise UnsafeFileError(message)

    def _global(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        self._stack.append(self._resolve(module, attribute))

    def _stack_global(self, _: Any) -> None:
        attribute, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._resolve(module, attribute))

    def _call(self, target: Any, arguments: Any) -> None:
        """REDUCE and its relatives: a known builder, or an inert stub."""
        if not isinstance(target, Name) or not isinstance(arguments, tuple):
            message = f"{self.where}: calls something that is not a known name; weights never need that."
            raise UnsafeFileError(message)
        builder = self._builders.get(str(target))
        self._stack.append(builder(arguments) if builder else Stub(str(target), arguments))

    def _reduce(self, _: Any) -> None:
        arguments, target = self._stack.pop(), self._stack.pop()
        if isinstance(target, Name) and str(target) in RECONSTRUCTORS:
            target, arguments = arguments[0], ()
        self._call(target, arguments)

    def _new_with_keywords(self, _: Any) -> None:
        self._stack.pop()
        self._reduce(None)

    def _build(self, _: Any) -> None:
        """Set the state of the object below: a stub keeps it, everything else has none to set."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Stub):
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                target.state.update(part if isinstance(part, dict) else {})
        elif not (isinstance(target, dict) and isinstance(state, dict)):
            message = f"{self.where}: sets the state of a {type(target).__name__}; weights never need that."
            raise UnsafeFileError(message)

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._extend_top([item])

    def _appends(self, _: Any) -> None:
        self._extend_top(self._until_mark())

    def _extend_top(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Stub):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(_key(item) for item in items)
        else:
            self._fail(f"appends to a {type(target).__name__}")

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update_top([key, value])

    def _setitems(self, _: Any) -> None:
        self._update_top(self._until_mark())

    def _update_top(self, items: list[Any]) -> None:
        target = self._stack[-1]
        target = target.state if isinstance(target, Stub) else target
        if not isinstance(target, dict) or len(items) % 2:
            self._fail("stores under a key where there is no dictionary")
        target.update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _dict(self, _: Any) -> None:
        items = self._until_mark()
        self._stack.append({})
        self._update_top(items)

    def _put(self, slot: int) -> None:
        self._memo[slot] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, slot: int) -> None:
        self._stack.append(self._memo[slot])

    def _persistent_id(self, _: Any) -> None:
        if self._persistent is None:
            self._fail("refers to a storage outside of it")
        else:
            self._stack.append(self._persistent(self._stack.pop()))


def _key(value: Any) -> Any:
    """A dictionary key; only plain ones, since hashing nested ones can exhaust the C stack.

    Integers beyond 2^60 can be chosen to collide, which makes a dictionary as slow as a list.
    """
    parts = value if isinstance(value, tuple) else (value,)
    plain = all(isinstance(part, PLAIN) for part in parts)
    if plain and not any(isinstance(part, int) and abs(part) >> 60 for part in parts):
        return value
    message = f"a {type(value).__name__} is used as a key"
    raise ValueError(message)


def _mapping(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else []
    if not isinstance(pairs, list) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        message = "an OrderedDict is not made of pairs"
        raise ValueError(message)
    return {_key(key): value for key, value in pairs}


def _set(arguments: tuple[Any, ...]) -> set[Any]:
    items = arguments[0] if arguments else []
    if not isinstance(items, list | tuple):
        message = "a set is not made of items"
        raise TypeError(message)
    return {_key(item) for item in items}


RECONSTRUCTORS = {"copyreg._reconstructor", "copy_reg._reconstructor"}

VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
IGNORED = {"PROTO", "FRAME"}
FIXED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "MARK": lambda: MARK,
}
HANDLERS: dict[str, Callable[[Machine, Any], None]] = {
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._reduce,
    "NEWOBJ_EX": Machine._new_with_keywords,
    "BUILD": Machine._build,
    "APPEND": Machine._append,
    "APPENDS": Machine._appends,
    "ADDITEMS": Machine._appends,
    "SETITEM": Machine._setitem,
    "SETITEMS": Machine._setitems,
    "DICT": Machine._dict,
    "LIST": lambda self, _: self._stack.append(self._until_mark()),
    "TUPLE": lambda self, _: self._stack.append(tuple(self._until_mark())),
    "TUPLE1": lambda self, _: self._tuple(1),
    "TUPLE2": lambda self, _: self._tuple(2),
    "TUPLE3": lambda self, _: self._tuple(3),
    "POP": lambda self, _: self._stack.__delitem__(-1),
    "POP_MARK": Machine._pop_mark,
    "DUP": lambda self, _: self._stack.append(self._stack[-1]),
    "PUT": Machine._put,
    "BINPUT": Machine._put,
    "LONG_BINPUT": Machine._put,
    "GET": Machine._get,
    "BINGET": Machine._get,
    "LONG_BINGET": Machine._get,
    "MEMOIZE": Machine._memoize,
    "BINPERSID": Machine._persistent_id,
}
