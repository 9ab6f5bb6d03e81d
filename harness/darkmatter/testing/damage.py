"""How one file of an SAE can be wrong: every damage in turn, without knowledge of its format.

A file is read as a tree of named tensors and settings, one entry of it is changed, and the tree is
written again. What cannot be read so (a pickle of a library's own objects) is damaged as bytes only.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

Tree = dict[Any, Any]
"""What a file holds by name: tensors, settings, and trees of them."""

LEFT_OUT = object()
YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Damage:
    """One wrong file, and what its error has to say.

    ``content`` None: there is no file. ``part`` is the tensor or field that the error must name
    (None: the file alone), ``of_tensor`` which of the two. ``lacks``: something is left out, for
    which a format may have a default. ``added``: a tensor that no format has.
    ``mistaken``: something else stands where it should, so the error must say what was expected.
    """

    how: str
    content: bytes | None
    part: str | None = None
    of_tensor: bool = False
    lacks: bool = False
    added: bool = False
    mistaken: bool = False


def damages(file: Path) -> Iterator[Damage]:
    """Every damage of one file."""
    content = file.read_bytes()
    yield Damage("left out", None, lacks=True)
    yield Damage("emptied", b"")
    if file.suffix not in YAML:  # what is left of one is a whole one that says less
        yield Damage("cut in half", content[: len(content) // 2])
    reader, writer = CODECS.get(file.suffix, (_nothing, _to_json))
    tree = reader(file)
    if tree is None:
        return
    if _has_tensors(tree):
        more = writer(_with_unknown(tree))
        yield Damage(f"tensor {UNKNOWN!r} added", more, part=UNKNOWN, of_tensor=True, added=True)
    else:
        yield Damage("reduced to {}", writer({}), lacks=True)
    for path, value in _entries(tree):
        name = str(path[-1])
        of_tensor = isinstance(value, Tensor)
        for how, changed in _tensor_damages(value) if of_tensor else _setting_damages(value):
            yield Damage(
                f"{'tensor' if of_tensor else 'field'} {name!r} {how}",
                writer(_changed(tree, path, changed)),
                part=name,
                of_tensor=of_tensor,
                lacks=changed is LEFT_OUT or changed is None,
                mistaken=how in MISTAKEN,
            )


UNKNOWN = "unknown_gain"
"""The name of a tensor that no format has."""

MORE, TURNED, NAN, WHOLE, WRONG = (
    "with one row more",
    "transposed",
    "with a NaN",
    "as integers",
    "of a wrong type",
)
MISTAKEN = {MORE, TURNED, WHOLE, WRONG}


def _tensor_damages(tensor: Tensor) -> Iterator[tuple[str, Any]]:
    yield "left out", LEFT_OUT
    yield MORE, torch.cat([tensor, tensor[-1:]]) if tensor.ndim else tensor.repeat(2)
    if tensor.ndim > 1 and tensor.shape[-1] != tensor.shape[-2]:
        yield TURNED, tensor.transpose(-1, -2).contiguous()
    if not tensor.is_floating_point() or not tensor.numel():
        return
    damaged = tensor.clone(memory_format=torch.contiguous_format)
    damaged.view(-1)[-1] = torch.nan
    yield NAN, damaged
    if tensor.numel() > 1:  # a single number, such as k, may well be whole
        yield WHOLE, tensor.long()


def _setting_damages(value: Any) -> Iterator[tuple[str, Any]]:
    yield "left out", LEFT_OUT
    if value is not None:
        yield "null", None
        yield WRONG, 7 if isinstance(value, str) else ["wrong"] if isinstance(value, dict) else "wrong"


def _entries(tree: Tree, above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every tensor, setting and object of settings, by its keys from the top."""
    for key, value in tree.items():
        path = (*above, key)
        if isinstance(value, dict):
            yield from _entries(value, path)
        # An object of tensors is damaged by each of its tensors.
        if not _has_tensors(value):
            yield path, value


def _has_tensors(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(isinstance(part, Tensor) or _has_tensors(part) for part in inside)


def _changed(tree: Tree, path: tuple[Any, ...], value: Any) -> Tree:
    """The tree with one entry replaced or left out."""
    key, below = path[0], path[1:]
    if below:
        return tree | {key: _changed(tree[key], below, value)}
    if value is LEFT_OUT:
        return {name: kept for name, kept in tree.items() if name != key}
    return tree | {key: value}


def _with_unknown(tree: Tree) -> Tree:
    """The tree with one more tensor, beside its others, however deep they lie."""
    inside = [(key, value) for key, value in tree.items() if isinstance(value, dict) and _has_tensors(value)]
    if inside and not any(isinstance(value, Tensor) for value in tree.values()):
        key, value = inside[0]
        return tree | {key: _with_unknown(value)}
    return tree | {UNKNOWN: torch.ones(3)}


def _nothing(_file: Path) -> Tree | None:
    return None


def _from_json(file: Path) -> Tree | None:
    return _tree(json.loads(file.read_text(encoding="utf-8")))


def _to_json(tree: Tree) -> bytes:
    return json.dumps(tree).encode()


def _from_yaml(file: Path) -> Tree | None:
    import yaml

    return _tree(yaml.safe_load(file.read_text(encoding="utf-8")))


def _to_yaml(tree: Tree) -> bytes:
    import yaml

    text: str = yaml.safe_dump(tree)
    return text.encode()


def _from_npz(file: Path) -> Tree | None:
    with np.load(file) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _to_npz(tree: Mapping[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tree.items()}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _from_torch(file: Path) -> Tree | None:
    try:
        return _tree(torch.load(file, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:  # objects of a library
        return None


def _to_torch(tree: Tree) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def _tree(value: Any) -> Tree | None:
    return dict(value) if isinstance(value, dict) else None


CODECS: dict[str, tuple[Callable[[Path], Tree | None], Callable[[Tree], bytes]]] = {
    ".safetensors": (load_file, save),
    ".npz": (_from_npz, _to_npz),
    ".json": (_from_json, _to_json),
    **dict.fromkeys(YAML, (_from_yaml, _to_yaml)),
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), (_from_torch, _to_torch)),
}
"""How files are read and written, by suffix."""
