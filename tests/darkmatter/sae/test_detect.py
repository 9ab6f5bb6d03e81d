"""Choosing a reader: what is looked at, and how often."""

import fractions
from dataclasses import replace

import pytest
import torch

from darkmatter.descriptors import Detection, Refusal, SAEAdapter
from darkmatter.errors import UnsafeFileError, UsageError
from darkmatter.files import view as view_module
from darkmatter.files.view import FileView
from darkmatter.sae.detect import adapter_for, detect


def looking(stubs):
    """An adapter that looks into a.pt with these stubs."""

    def look(view):
        view.saved_header("a.pt")
        return Detection(str(view.pickled("a.pt", stubs)))

    return look


def adapters(*kinds):
    """Adapters by name."""
    made = [
        SAEAdapter(f"reader_{n}", "A reader.", "nothing:load", filenames=("*.pt",), detect=looking(stubs))
        for n, stubs in enumerate(kinds)
    ]
    return {adapter.name: adapter for adapter in made}


@pytest.fixture
def parsed(monkeypatch):
    """The stubs with which files were parsed."""
    seen, read = [], view_module.read_torch
    monkeypatch.setattr(
        view_module, "read_torch", lambda path, stubs=(): seen.append(tuple(stubs)) or read(path, stubs)
    )
    return seen


def test_a_pickle_is_parsed_once_for_all_adapters(tmp_path, parsed):
    """What was read without stubs is the same with them, so seven adapters cost one parse."""
    torch.save({"W": torch.ones(2)}, tmp_path / "a.pt")
    claims = detect(FileView(tmp_path), adapters((), ("a.*",), ("b.*",), ("a.*", "b.*")))
    assert [claim.exact for claim in claims] == [True] * 4
    assert parsed == [()]


def test_a_refused_pickle_is_parsed_again_with_other_stubs(tmp_path, parsed):
    """More stubs may help where fewer did not; the same ones never do."""
    torch.save({"x": fractions.Fraction(1, 2)}, tmp_path / "a.pt")
    view = FileView(tmp_path)
    for stubs in ((), (), ("a.*",), ("fractions.*",), ("fractions.*", "a.*"), ("a.*",)):
        if "fractions.*" in stubs:
            assert view.pickled("a.pt", stubs)["x"].name == "fractions.Fraction"
        else:
            with pytest.raises(UnsafeFileError, match=r"fractions\.Fraction"):
                view.pickled("a.pt", stubs)
    assert parsed == [(), ("a.*",), ("fractions.*",)]


def test_a_named_adapter_is_taken_without_looking(tmp_path):
    """--adapter costs no detection, whatever lies in the folder."""
    torch.save({"W": torch.ones(2)}, tmp_path / "a.pt")

    def never(_view):
        raise AssertionError

    known = {name: replace(adapter, detect=never) for name, adapter in adapters((), ()).items()}
    assert adapter_for(FileView(tmp_path), known, "reader_1").name == "reader_1"
    with pytest.raises(UsageError, match="There is no adapter 'reader_7'"):
        adapter_for(FileView(tmp_path), known, "reader_7")
    one = {"a": replace(known["reader_0"], detect=lambda _view: Refusal("no")), **adapters(())}
    assert adapter_for(FileView(tmp_path), one).name == "reader_0"
