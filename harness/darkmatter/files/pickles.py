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
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from darkmatter.errors import SAEFileError, UnsafeFileError
from darkmatter.files import limits
from darkmatter.files.stubs import (
    KNOWN_STUBS,
    RECONSTRUCTORS,
    Builder,
    Name,
    Stub,
    as_key,
    ordered_dict,
    plain_set,
)
from darkmatter.files.text import bad_escapes_raise

MARK = object()
CONTAINERS: dict[str, Builder] = {
    "collections.OrderedDict": ordered_dict,
    "__builtin__.set": plain_set,
    "builtins.set": plain_set,
}
VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Opcodes that push their argument."""

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
"""Opcodes that push something that is always the same."""

IGNORED = {"PROTO", "FRAME"}
DAMAGE = (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError, MemoryError, Warning)
"""What pickletools and the containers raise on a stream that no pickler wrote."""


class Machine:
    """Reads pickle streams of one file; the methods ``_op_NAME`` are the opcodes it follows.

    ``builders`` says which names may be called and what the call means here; ``constants`` are
    names that stand for a value; ``persistent`` turns a persistent id (a reference to a storage)
    into a value; ``stubs`` are globs over names that become inert stubs.
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
        self._builders = CONTAINERS | (builders or {})
        self._constants = constants or {}
        self._persistent = persistent
        self._stubs = (*KNOWN_STUBS, *stubs)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._copies = 0

    def read(self, source: io.BytesIO) -> Any:
        """The object in the next stream; the source is left behind its last byte."""
        self._stack.clear()
        self._memo.clear()
        try:
            with warnings.catch_warnings():
                bad_escapes_raise()
                return self._run(source)
        except DAMAGE as error:
            what = str(error)[:120] or type(error).__name__
            message = f"{self.where}: its pickle stream is damaged: {what}."
            raise SAEFileError(message) from error

    def _run(self, source: io.BytesIO) -> Any:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(source)):
            if step >= limits.PICKLE_STEPS:
                self._fail(f"takes more than {limits.PICKLE_STEPS} steps to read")
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        return self._fail("ends early")

    def _step(self, name: str, argument: Any) -> None:
        if name in VALUES:
            self._stack.append(argument)
        elif name in FIXED:
            self._stack.append(FIXED[name]())
        elif name not in IGNORED:
            follow = getattr(self, f"_op_{name.lower()}", None)
            if follow is None:
                self._refuse(f"uses the pickle instruction {name}, which saved weights never need")
            follow(argument)

    def _fail(self, what: str) -> NoReturn:
        message = f"{self.where}: its pickle stream {what}."
        raise SAEFileError(message)

    def _charge(self, entries: int) -> None:
        """Account for entries that are about to be copied from one container to another."""
        self._copies += entries
        if self._copies > limits.PICKLE_COPIES:
            self._fail(f"copies more than {limits.PICKLE_COPIES} entries between its containers")

    def _charge_parts(self, parts: tuple[Any, ...]) -> None:
        """Account for copying each container among ``parts``."""
        self._charge(len(parts))
        self._charge(sum(len(part) for part in parts if isinstance(part, dict | list | tuple | set)))

    def _refuse(self, what: str) -> NoReturn:
        message = f"{self.where}: {what}; the file was not read further and nothing in it was run."
        raise UnsafeFileError(message)

    # Names, calls and state: what makes a pickle dangerous elsewhere.

    def _resolve(self, module: Any, attribute: Any) -> Any:
        """What a name stands for; the only place where names are looked at."""
        if not (isinstance(module, str) and isinstance(attribute, str)):
            self._fail("names something that is not a name")
        if len(module) + len(attribute) > limits.NAME:
            self._refuse(f"asks for a name of {len(module) + len(attribute)} characters")
        full = f"{module}.{attribute}"
        if full in self._constants:
            return self._constants[full]
        if full in self._builders or any(fnmatch.fnmatchcase(full, glob) for glob in self._stubs):
            return Name(module, attribute)
        return self._refuse(f"asks for `{full[:120]}`, which reading weights never needs")

    def _op_global(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        self._stack.append(self._resolve(module, attribute))

    def _op_stack_global(self, _: Any) -> None:
        attribute, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._resolve(module, attribute))

    def _op_reduce(self, _: Any) -> None:
        """A call: of a known builder, or one that leaves an inert stub."""
        arguments, target = self._stack.pop(), self._stack.pop()
        if isinstance(target, Name) and str(target) in RECONSTRUCTORS:
            target, arguments = arguments[0], ()
        if not isinstance(target, Name) or not isinstance(arguments, tuple):
            self._refuse("calls something that is not a known name, which saved weights never need")
        builder = self._builders.get(str(target))
        self._charge_parts(arguments)
        self._stack.append(builder(arguments) if builder else Stub(target, arguments))

    _op_newobj = _op_reduce

    def _op_newobj_ex(self, _: Any) -> None:
        self._stack.pop()
        self._op_reduce(None)

    def _op_build(self, _: Any) -> None:
        """Set the state of the object below: a stub keeps it, everything else has none to set."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Stub):
            parts = state if isinstance(state, tuple) else (state,)
            self._charge_parts(parts)
            for part in parts:
                target.state.update(part if isinstance(part, dict) else {})
        elif not (isinstance(target, dict) and isinstance(state, dict)):
            self._refuse(f"sets the state of a {type(target).__name__}, which saved weights never need")

    def _op_binpersid(self, _: Any) -> None:
        if self._persistent is None:
            self._fail("refers to a storage outside of it")
        self._stack.append(self._persistent(self._stack.pop()))

    # Containers.

    def _until_mark(self) -> list[Any]:
        """Pop everything above the topmost mark, and the mark."""
        position = len(self._stack) - 1
        while position >= 0 and self._stack[position] is not MARK:
            position -= 1
        if position < 0:
            self._fail("closes a list that it never opened")
        items = self._stack[position + 1 :]
        del self._stack[position:]
        return items

    def _op_list(self, _: Any) -> None:
        self._stack.append(self._until_mark())

    def _op_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._until_mark()))

    def _op_tuple1(self, _: Any, count: int = 1) -> None:
        items = self._stack[-count:]
        if len(items) < count or any(item is MARK for item in items):
            self._fail("is damaged")
        self._stack[-count:] = [tuple(items)]

    def _op_tuple2(self, _: Any) -> None:
        self._op_tuple1(_, 2)

    def _op_tuple3(self, _: Any) -> None:
        self._op_tuple1(_, 3)

    def _op_dict(self, _: Any) -> None:
        items = self._until_mark()
        self._stack.append({})
        self._update_top(items)

    def _op_append(self, _: Any) -> None:
        item = self._stack.pop()
        self._extend_top([item])

    def _op_appends(self, _: Any) -> None:
        items = self._until_mark()
        self._extend_top(items)

    _op_additems = _op_appends

    def _op_setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update_top([key, value])

    def _op_setitems(self, _: Any) -> None:
        items = self._until_mark()
        self._update_top(items)

    def _extend_top(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Stub):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(as_key(item) for item in items)
        else:
            self._fail(f"appends to a {type(target).__name__}")

    def _update_top(self, items: list[Any]) -> None:
        target = self._stack[-1]
        target = target.state if isinstance(target, Stub) else target
        if not isinstance(target, dict) or len(items) % 2:
            self._fail("stores under a key where there is no dictionary")
        self._charge(len(items) // 2)
        target.update(zip(map(as_key, items[::2]), items[1::2], strict=True))

    # Stack and memo.

    def _op_pop(self, _: Any) -> None:
        self._stack.pop()

    def _op_pop_mark(self, _: Any) -> None:
        self._until_mark()

    def _op_dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _op_put(self, slot: int) -> None:
        self._memo[slot] = self._stack[-1]

    _op_binput = _op_long_binput = _op_put

    def _op_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _op_get(self, slot: int) -> None:
        self._stack.append(self._memo[slot])

    _op_binget = _op_long_binget = _op_get
