"""Files made to harm whoever reads them: each is refused with a message, and nothing runs."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch

from darkmatter.errors import DarkmatterError, SAEFileError, UnsafeFileError, UsageError
from darkmatter.files import limits
from darkmatter.files.text import bad_escapes_raise
from darkmatter.files.view import FileView
from darkmatter.references import parse_named, parse_reference
from darkmatter.sae.inspection import inspect_reference
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
DL_CONFIG = {
    "trainer": {"dict_class": "AutoEncoder", "activation_dim": 2, "dict_size": 4, "layer": 0, "lm_name": "m"},
    "buffer": {"ctx_len": 8},
}


class Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def torch_zip(path, stream, storages=()):
    """A file in the layout of torch.save around any pickle stream."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream)
        archive.writestr("archive/byteorder", "little")
        for key, content in storages:
            archive.writestr(f"archive/data/{key}", content)


def dictionary_learning(folder, stream, storages=()):
    """A folder that the dictionary_learning adapter claims, with a crafted ae.pt."""
    (folder / "config.json").write_text(json.dumps(DL_CONFIG))
    torch_zip(folder / "ae.pt", stream, storages)
    return folder


HOSTILE = {
    "os.system": lambda canary: Call(os.system, f"touch {canary}"),
    "builtins.eval": lambda canary: Call(eval, f"open({str(canary)!r}, 'w')"),
    "builtins.exec": lambda canary: Call(exec, f"open({str(canary)!r}, 'w')"),
    "builtins.open": lambda canary: Call(open, str(canary), "w"),
    "builtins.getattr": lambda canary: Call(getattr, Call(getattr, os, "system"), "__call__"),
    "os.unlink": lambda canary: Call(os.unlink, str(canary)),
    "torch.load": lambda canary: Call(torch.load, str(canary)),
    "torch.hub": lambda canary: Call(torch.hub.load, "a/b", "c"),
    "pickle.loads": lambda canary: Call(pickle.loads, b"."),
    "numpy.fromfile": lambda canary: Call(np.fromfile, str(canary)),
}


def stream_of(thing, protocol):
    """The pickle of a hostile object; modules cannot be pickled, so they go as their names."""
    out = io.BytesIO()
    pickler = pickle._Pickler(out, protocol)
    pickler.dispatch = pickler.dispatch | {type(os): lambda self, module: self.save(module.__name__)}
    pickler.dump(thing)
    return out.getvalue()


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_call_in_a_pt_file_is_refused_and_never_made(tmp_path, name, protocol):
    """A pickle that calls something is refused by name, and the call leaves no trace."""
    canary = tmp_path / "canary"
    folder = tmp_path / "sae"
    folder.mkdir()
    dictionary_learning(folder, stream_of({"encoder.weight": HOSTILE[name](canary)}, protocol))
    with pytest.raises(UnsafeFileError, match="nothing in it was run"):
        load_sae(folder, adapters=BY_NAME)
    assert not canary.exists()


def test_the_refusal_names_what_was_asked_for(tmp_path):
    """The message says which function the file asks for, and that weights never need it."""
    dictionary_learning(tmp_path, pickle.dumps(Call(os.system, "true")))
    with pytest.raises(
        UnsafeFileError, match=r"asks for `(posix|nt)\.system`, which reading weights never needs"
    ):
        load_sae(tmp_path, adapters=BY_NAME)


@pytest.mark.parametrize("wrap", ["plain pickle", "inside npz", "npy object array"])
def test_a_pickle_in_any_other_dress_is_refused(tmp_path, wrap):
    """A pickle renamed to a safe suffix, or put into an npz, is refused and does not run."""
    canary = tmp_path / "canary"
    stream = pickle.dumps(Call(os.system, f"touch {canary}"))
    folder = tmp_path / "sae"
    folder.mkdir()
    if wrap == "plain pickle":
        (folder / "cfg.json").write_text(json.dumps({"d_in": 2, "d_sae": 4, "architecture": "standard"}))
        (folder / "sae_weights.safetensors").write_bytes(stream)
    elif wrap == "inside npz":
        with zipfile.ZipFile(folder / "params.npz", "w") as archive:
            archive.writestr("W_enc.npy", stream)
    else:
        np.savez(folder / "params.npz", W_enc=np.array([Call(os.system, f"touch {canary}")], dtype=object))
    with pytest.raises(SAEFileError):
        load_sae(folder, adapters=BY_NAME)
    assert not canary.exists()


def test_stubs_keep_state_without_calling_setstate(tmp_path):
    """BUILD on a known old class keeps its state as data, even where the class would run code."""
    stream = b"\x80\x02cautoencoders.learned_dict\nTiedSAE\n)\x81}X\x01\x00\x00\x00aK\x07sb."
    torch_zip(tmp_path / "x.pt", stream)
    stub = FileView(tmp_path / "x.pt").pickled("x.pt", ("autoencoders.*",))
    assert (stub.name, stub.state) == ("autoencoders.learned_dict.TiedSAE", {"a": 7})


STREAMS = {
    "empty": b"",
    "no stop": b"\x80\x02N",
    "pop from nothing": b"\x80\x020.",
    "unknown memo": b"\x80\x02h\x05.",
    "huge bytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "huge bytearray": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "huge frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "deep tuple as a key": b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s.",
    "extension registry": b"\x80\x02\x82\x01.",
    "persistent id as text": b"\x80\x02Pabc\n.",
    "out of band buffer": b"\x80\x05\x97.",
    "setitem on a name": b"\x80\x02cpathlib\nPath\nK\x01K\x02s.",
    "chain of getattr": b"\x80\x02cbuiltins\ngetattr\ncbuiltins\neval\nX\x01\x00\x00\x00a\x86R.",
    "call of a string": b"\x80\x02X\x02\x00\x00\x00os)R.",
    "instance": b"(ios\nsystem\n.",
    "object": b"\x80\x02(cos\nsystem\no.",
    "long digits": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_crafted_pickle_stream_is_refused(tmp_path, name):
    """Streams that no pickler writes are refused, whatever they would do to Python's own reader."""
    torch_zip(tmp_path / "x.pt", STREAMS[name])
    with pytest.raises(SAEFileError):
        FileView(tmp_path).pickled("x.pt")


def test_a_bad_escape_in_a_pickle_is_damage_and_no_warning(tmp_path):
    """Python's string decoder warns of escapes that no pickler writes; here they are damage."""
    torch_zip(tmp_path / "x.pt", b"S'a\\d'\n.")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(SAEFileError, match="damaged"):
            FileView(tmp_path).pickled("x.pt")
    assert not seen


@pytest.mark.parametrize("category", [DeprecationWarning, SyntaxWarning])
@pytest.mark.parametrize("text", ["invalid escape sequence '\\d'", '"\\d" is an invalid escape sequence'])
def test_escapes_are_errors_in_either_category(category, text):
    """Python 3.12 warns of bad escapes by another category than 3.11; both become errors, others do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bad_escapes_raise()
        with pytest.raises(category):
            warnings.warn(text, category, stacklevel=1)
        warnings.warn("something else", category, stacklevel=1)


def memoised(count):
    """A stream's beginning: a dictionary of ``count`` integers in memo slot 0, popped again."""
    items = b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(count))
    return b"\x80\x04}q\x00(" + items + b"u0"


COPIES = {
    "states": memoised(100_000) + b"](" + b"cpathlib\nP\n)Rh\x00b" * 50 + b"e.",
    "ordered dictionaries": b"\x80\x04](" + b"K\x01K\x02\x86" * 100_000 + b"eq\x000]("
    b"" + b"ccollections\nOrderedDict\nh\x00\x85R" * 50 + b"e.",
    "sets": b"\x80\x04](" + b"K\x01" * 100_000 + b"eq\x000](" + b"cbuiltins\nset\nh\x00\x85R" * 50 + b"e.",
}


@pytest.mark.parametrize("name", COPIES)
def test_a_container_is_not_copied_as_often_as_the_stream_likes(tmp_path, name):
    """A few bytes that name a large container again may not each cost a copy of it."""
    torch_zip(tmp_path / "x.pt", COPIES[name])
    with pytest.raises(SAEFileError, match="copies more than"):
        FileView(tmp_path).pickled("x.pt")


def test_a_long_class_name_is_refused(tmp_path):
    """A class name of megabytes would be copied by each mention; no class is called that."""
    attribute = b"A" * 100_000
    stream = b"\x80\x04X\x07\x00\x00\x00pathlibX" + struct.pack("<I", len(attribute)) + attribute + b"\x93."
    torch_zip(tmp_path / "x.pt", stream)
    with pytest.raises(UnsafeFileError, match="a name of 100007 characters"):
        FileView(tmp_path).pickled("x.pt")


def test_a_long_tuple_is_no_key(tmp_path):
    """A tuple is hashed anew whenever it is used as a key, so a long one would cost hours."""
    torch_zip(tmp_path / "x.pt", pickle.dumps({tuple(range(1000)): 1}))
    with pytest.raises(SAEFileError, match="used as a key"):
        FileView(tmp_path).pickled("x.pt")


def test_inspecting_a_dictionary_under_many_keys_is_quick(tmp_path):
    """Twenty thousand keys that all hold one dictionary are not four hundred million entries."""
    keys = b"".join(b"J" + struct.pack("<i", number) + b"h\x00" for number in range(20_000))
    torch_zip(tmp_path / "ae.pt", memoised(20_000) + b"}(" + keys + b"u.")
    script = (
        "import sys\nfrom darkmatter.files.view import FileView\nFileView(sys.argv[1]).saved_header('ae.pt')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "ae.pt")], check=True, timeout=20)


def repeated(tmp_path, inner, outer):
    """A .pt with a dictionary of ``inner`` tensors under ``outer`` keys."""
    x = torch.zeros(1)
    shared = {str(number): x for number in range(inner)}
    torch.save({str(number): shared for number in range(outer)}, tmp_path / "ae.pt")
    return tmp_path


def test_inspecting_lists_no_more_tensors_than_a_file_may_have(tmp_path, monkeypatch):
    """Tensors that one dictionary has under each of many keys are counted, and too many are refused."""
    monkeypatch.setattr(limits, "ENTRIES", 100)
    found = inspect_reference(repeated(tmp_path, 20, 6), adapters=BY_NAME)
    assert "names 120 tensors; expected at most 100" in found.files[0]["problem"]
    assert not found.tensors
    repeated(tmp_path, 20, 5)
    assert len(inspect_reference(tmp_path, adapters=BY_NAME).tensors) == 100


def test_inspecting_many_files_stops_listing_their_tensors(tmp_path, monkeypatch):
    """The limit holds for a folder too: files beyond it are named and not looked into."""
    repeated(tmp_path, 20, 4)
    for name in "bcd":
        (tmp_path / f"{name}.pt").write_bytes((tmp_path / "ae.pt").read_bytes())
    monkeypatch.setattr(limits, "ENTRIES", 100)
    found = inspect_reference(tmp_path, adapters=BY_NAME)
    assert ["problem" in file for file in found.files] == [False, False, True, True]
    assert len(found.tensors) == 160


@pytest.mark.parametrize("key", ["n" * 600, (1, 2), 1.5])
def test_a_tensor_has_a_short_name(tmp_path, key):
    """A name of megabytes would be joined with those below it; tensors are called by short text."""
    torch.save({key: torch.zeros(1)}, tmp_path / "x.pt")
    for read in (FileView(tmp_path).tensors, FileView(tmp_path).saved_header):
        with pytest.raises(SAEFileError, match="name is not text"):
            read("x.pt")


def test_views_cost_what_they_hold_and_their_storage_once(tmp_path):
    """A hundred views of one number each, over megabytes, need the megabytes once."""
    flat = torch.zeros(4_000_000)
    torch.save({f"t{number}": flat[number : number + 1] for number in range(100)}, tmp_path / "x.pt")
    tensors = FileView(tmp_path).tensors("x.pt")
    assert sum(tensor.untyped_storage().nbytes() for tensor in tensors.values()) == 400


def test_storages_count_towards_what_a_file_may_need(tmp_path, monkeypatch):
    """What must be read to make the views is counted, not only what they hold."""
    torch.save({"x": torch.zeros(1_000)[:1]}, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as old,
        zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    monkeypatch.setattr(limits, "INFLATION_FLOOR", 1000)
    assert (tmp_path / "y.pt").stat().st_size < 1_000
    with pytest.raises(SAEFileError, match="overlap"):
        FileView(tmp_path).tensors("y.pt")


def test_a_storage_described_twice_is_refused(tmp_path):
    """Two descriptions of one storage would be two readings of the same bytes."""

    class Reference(pickle._Pickler):
        def persistent_id(self, obj):
            return ("storage", getattr(torch, obj), "0", "cpu", 4) if obj in names else None

    names = ("FloatStorage", "IntStorage")
    out = io.BytesIO()
    Reference(out, 2).dump({"x": names[0], "y": names[1]})
    torch_zip(tmp_path / "x.pt", out.getvalue(), [("0", bytes(16))])
    with pytest.raises(SAEFileError, match="twice, differently"):
        FileView(tmp_path).pickled("x.pt")


def test_a_huge_memo_slot_costs_nothing(tmp_path):
    """Python's C unpickler allocates memory up to the slot's number; ours does not."""
    torch_zip(tmp_path / "x.pt", b"\x80\x02Nr\xff\xff\xff\xff.")
    assert FileView(tmp_path).pickled("x.pt") is None


def test_colliding_integer_keys_are_refused(tmp_path):
    """Integers chosen to collide in a dictionary would read for hours; they are no keys."""
    torch_zip(tmp_path / "x.pt", pickle.dumps({(1 << 61) * i: i for i in range(1, 50)}))
    with pytest.raises(SAEFileError, match="used as a key"):
        FileView(tmp_path).pickled("x.pt")


def tensor_stream(tmp_path, size, stride, offset=0, count=4):
    """A .pt whose tensor claims a view that its storage of ``count`` floats may not hold."""
    real = tmp_path / "real.pt"
    torch.save({"x": torch.zeros(count)}, real)
    with zipfile.ZipFile(real) as archive:
        stream = archive.read("real/data.pkl")
        data = archive.read("real/data/0")
    view = b"".join(
        b"J" + struct.pack("<i", n) if abs(n) < 2**31 else b"\x8a\x08" + struct.pack("<q", n)
        for n in (offset,)
    )
    head, _, tail = stream.partition(b"Q")
    end = tail.index(b"\x89")
    numbers = lambda values: b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in values) + b"t"
    torch_zip(
        tmp_path / "x.pt", head + b"Q" + view + numbers(size) + numbers(stride) + tail[end:], [("0", data)]
    )
    real.unlink()
    return tmp_path


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2, 2), (3, 1), 0),
        ((1 << 40,), (0,), 0),
        ((1 << 60,), (1,), 0),
        ((-1,), (1,), 0),
        ((2,), (-1,), 0),
        ((2,), (1,), -1),
        ((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), 0),
        ((2,), (1, 1), 0),
    ],
)
def test_a_view_beyond_its_storage_is_refused(tmp_path, size, stride, offset):
    """A tensor whose shape, stride or offset reaches beyond its numbers is never made."""
    with pytest.raises(SAEFileError):
        FileView(tensor_stream(tmp_path, size, stride, offset)).tensors("x.pt")


def test_a_view_inside_its_storage_is_read(tmp_path):
    """The same crafted file with an honest view is read, so the refusals above are about the view."""
    assert FileView(tensor_stream(tmp_path, (2, 2), (2, 1))).tensors("x.pt")["x"].shape == (2, 2)


def test_many_views_of_one_storage_are_refused(tmp_path):
    """A storage shared by a thousand tensors would be a thousand copies in memory."""
    base = torch.zeros(1 << 18)
    torch.save({str(i): base[:] for i in range(1000)}, tmp_path / "x.pt")
    with pytest.raises(SAEFileError, match="overlap"):
        FileView(tmp_path).tensors("x.pt")


@pytest.mark.parametrize("kind", [("load", 4), ("float64", 1), ("float32", 0), (("float32",), 4)])
def test_a_storage_type_made_in_the_stream_is_refused(tmp_path, kind):
    """Only torch's own storage types say how wide numbers are; a tuple in their place may not."""

    class Reference(pickle._Pickler):
        def persistent_id(self, obj):
            return ("storage", kind, "0", "cpu", 4) if obj == "here" else None

    out = io.BytesIO()
    Reference(out, 2).dump({"x": "here"})
    torch_zip(tmp_path / "x.pt", out.getvalue(), [("0", bytes(16))])
    with pytest.raises(UnsafeFileError, match="something other than a tensor's numbers"):
        FileView(tmp_path).pickled("x.pt")


def test_a_big_endian_file_is_refused(tmp_path):
    """Numbers in the other byte order would be read as nonsense without an error."""
    torch.save({"x": torch.zeros(2)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("byteorder") else old.read(name))
    with pytest.raises(SAEFileError, match="big-endian"):
        FileView(tmp_path).pickled("b.pt")


def safetensors(path, header, data=b"", length=None):
    """A safetensors file from any header."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + data)


def entry(shape, start, end, dtype="F32"):
    """One header entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HEADERS = {
    "lies about its size": ({"x": entry([4], 0, 16)}, b"\0" * 8, None),
    "shape of 2^63": ({"x": entry([2**63], 0, 8)}, b"\0" * 8, None),
    "negative shape": ({"x": entry([-2, -2], 0, 16)}, b"\0" * 16, None),
    "true as a size": ({"x": entry([True], 0, 4)}, b"\0" * 4, None),
    "overlap": ({"x": entry([2], 0, 8), "y": entry([2], 4, 12)}, b"\0" * 12, None),
    "hole": ({"x": entry([1], 0, 4), "y": entry([1], 8, 12)}, b"\0" * 12, None),
    "negative offset": ({"x": entry([1], -4, 0)}, b"", None),
    "bytes after the end": ({"x": entry([1], 0, 4)}, b"\0" * 8, None),
    "header of 2^63 bytes": ({}, b"", 2**63),
    "header beyond the file": ({}, b"", 100),
    "unknown dtype": ({"x": entry([1], 0, 4, "PICKLE")}, b"\0" * 4, None),
    "not an object": ([1, 2], b"", None),
    "entry is a list": ({"x": [1]}, b"", None),
    "duplicate tensor": (b'{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{}}', b"", None),
    "five dimensions": ({"x": entry([1] * 5, 0, 4)}, b"\0" * 4, None),
    "nested a million deep": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"", None),
    "not UTF-8": (b'{"\xff": 1}', b"", None),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_lying_safetensors_header_is_refused(tmp_path, name):
    """A header that does not fit its file is refused before anything is allocated."""
    header, data, length = HEADERS[name]
    safetensors(tmp_path / "x.safetensors", header, data, length)
    with pytest.raises(SAEFileError):
        FileView(tmp_path).tensors("x.safetensors")


def test_a_decompression_bomb_is_refused(tmp_path):
    """A small npz that unpacks to a gigabyte is refused by its directory alone."""
    with zipfile.ZipFile(tmp_path / "params.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_enc.npy", bytes(limits.INFLATION_FLOOR + 1))
    assert (tmp_path / "params.npz").stat().st_size < 1 << 20
    with pytest.raises(SAEFileError, match="decompression bomb"):
        FileView(tmp_path).header("params.npz")


def npy(header, data=b""):
    """An .npy from any header text."""
    content = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content)) + content + data


NPYS = {
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\0" * 8),
    "structured": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", b"\0" * 4),
    "big-endian": npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", b"\0" * 4),
    "huge shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}"),
    "short data": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", b"\0" * 8),
    "bad escape": npy("{'descr': '<f4\\d', 'fortran_order': False, 'shape': (1,)}", b"\0" * 4),
    "bad number": npy("{'descr': '<f4', 'fortran_order': 1or 2, 'shape': (1,)}", b"\0" * 4),
    "code for a header": npy("__import__('os').system('true')"),
    "deep header": npy("(" * 3000 + ")" * 3000),
    "missing field": npy("{'descr': '<f4', 'shape': (1,)}", b"\0" * 4),
    "long header": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}" + " " * 9000, b"\0" * 4),
    "empty": b"",
}


@pytest.mark.parametrize("name", NPYS)
def test_a_crafted_npy_is_refused(tmp_path, name):
    """Arrays of objects, and headers that lie or are no literal, are refused."""
    with zipfile.ZipFile(tmp_path / "params.npz", "w") as archive:
        archive.writestr("W_enc.npy", NPYS[name])
    # As for a user: nothing is turned into an error, so nothing may be warned about either.
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(SAEFileError):
            FileView(tmp_path).tensors("params.npz")
    assert not seen


JSONS = {
    "depth bomb": b"[" * 1_000_000,
    "deep object": b'{"a":' * 500 + b"1" + b"}" * 500,
    "duplicate keys": b'{"d_in": 2, "d_in": 3}',
    "NaN": b'{"d_in": NaN}',
    "infinite number": b'{"d_in": 1e999}',
    "huge integer": b'{"d_in": ' + b"9" * 10_000 + b"}",
    "list": b"[]",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "NUL": b'{"a": 1}\x00',
    "empty": b"",
}


@pytest.mark.parametrize("name", JSONS)
def test_a_crafted_json_is_refused(tmp_path, name):
    """JSON that is too deep, ambiguous or no JSON is refused with the file's name."""
    (tmp_path / "cfg.json").write_bytes(JSONS[name])
    with pytest.raises(SAEFileError, match=r"cfg\.json"):
        FileView(tmp_path).json("cfg.json")


def test_a_huge_json_is_not_read(tmp_path):
    """A configuration beyond the size limit is refused without parsing."""
    with (tmp_path / "cfg.json").open("wb") as file:
        file.truncate(limits.JSON_BYTES + 1)
    with pytest.raises(SAEFileError, match="larger than"):
        FileView(tmp_path).json("cfg.json")


YAMLS = {
    "python object": "a: !!python/object/apply:os.system ['true']",
    "aliases": "a: &a [1, 2]\nb: [*a, *a]",
    "duplicate keys": "a: 1\na: 2",
    "deep": "a: " + "[" * 3000 + "]" * 3000,
    "merge keys": "a: &a {x: 1}\nb:\n  <<: *a",
    "list": "- 1",
    "unhashable key": "? [a]\n: 1",
    "bad": "a: [1",
}


@pytest.mark.parametrize("name", YAMLS)
def test_a_crafted_yaml_is_refused(tmp_path, name):
    """YAML with objects, aliases, duplicates or absurd depth is refused."""
    (tmp_path / "c.yaml").write_text(YAMLS[name])
    with pytest.raises(SAEFileError):
        FileView(tmp_path).yaml("c.yaml")


@pytest.mark.parametrize("name", ["..", "../x", "/etc/passwd", "a/b", "", ".", "a\x00b"])
def test_a_view_never_leaves_its_folder(tmp_path, name):
    """Names with separators, or that mean another folder, are refused."""
    with pytest.raises(SAEFileError):
        FileView(tmp_path).json(name)


@pytest.mark.parametrize(
    "text",
    [
        "hf:../x",
        "hf:a/../../b",
        "hf:a/b/../c",
        "saelens:a/..",
        "saelens:../a",
        "neuronpedia:a",
        "hf:a",
        "hf:/a/b",
    ],
)
def test_ids_that_climb_are_refused(text):
    """Repository and catalogue ids become paths, so they may not climb."""
    with pytest.raises(UsageError):
        parse_reference(text)


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "a\x00b", "x" * 100_000, "n=" + "../" * 3000, "python:os", "\u202e"]
)
def test_odd_references_end_in_our_errors(text):
    """Whatever is typed as a reference ends in an error of ours, not in a traceback."""
    with pytest.raises(DarkmatterError):
        load_sae(parse_named(text)[1], adapters=BY_NAME)


def test_a_pipe_in_place_of_weights_does_not_hang(tmp_path):
    """A named pipe is no file: reading it would wait for ever."""
    os.mkfifo(tmp_path / "sae.safetensors")
    (tmp_path / "cfg.json").write_text('{"d_in": 2, "k": 1}')
    with pytest.raises(SAEFileError):
        load_sae(tmp_path, adapters=BY_NAME)
    with pytest.raises(SAEFileError):
        load_sae(tmp_path / "sae.safetensors", adapters=BY_NAME)


def test_a_module_in_the_working_directory_is_not_imported(tmp_path, monkeypatch):
    """Standing in a folder with a downloaded .py must not mean to run it."""
    (tmp_path / "evil_sae_module.py").write_text(
        f"open({str(tmp_path / 'canary')!r}, 'w')\ndef make(): return 1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DarkmatterError, match="working directory"):
        load_sae("python:evil_sae_module:make")
    assert not (tmp_path / "canary").exists()
