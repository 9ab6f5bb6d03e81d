"""Tamperings of a leaderboard: each is caught, with the name of the file and the reason."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from safetensors.numpy import load_file, save_file

from darkmatter.files.atomic import content_hash
from darkmatter.leaderboard.check import check
from darkmatter.leaderboard.layout import MAX_FILE_BYTES
from darkmatter.plugins import host


def value_edited(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: forge.metric(raw, "fvu").update(value=0.02, ci_low=0.01, ci_high=0.03))
    return path, "fvu: it is stated as 0.02, its sums give"


def value_edited_carelessly(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: forge.metric(raw, "fvu").update(value=0.02), seal=False)
    return path, "its checksum does not match"


def sidecar_edited(board, forge):
    path = forge.row(board)
    data = bytearray(forge.sidecar(path).read_bytes())
    data[-5] ^= 1
    forge.sidecar(path).write_bytes(data)
    return path, "is damaged (its hash does not match)"


def sidecar_edited_with_its_hash(board, forge):
    path = forge.row(board)
    columns = load_file(forge.sidecar(path))
    columns["error_sq"] *= 0.5
    save_file(columns, forge.sidecar(path))
    forge.edit(path, lambda raw: None)
    return path, "its sums give"


def sidecar_dropped(board, forge):
    path = forge.row(board)
    forge.sidecar(path).unlink()

    def forget(raw):
        raw["units"] = None
        forge.metric(raw, "fvu").update(value=0.001, ci_low=None, ci_high=None)

    forge.edit(path, forget)
    return path, "fvu: has no per-unit sums, which"


def interval_narrowed(board, forge):
    path = forge.row(board)

    def narrow(raw):
        fvu = forge.metric(raw, "fvu")
        fvu.update(ci_low=fvu["value"] * 0.999, ci_high=fvu["value"] * 1.001)

    forge.edit(path, narrow)
    return path, "fvu: its interval is"


def interval_inverted(board, forge):
    path = forge.row(board)

    def invert(raw):
        fvu = forge.metric(raw, "fvu")
        fvu["ci_low"], fvu["ci_high"] = fvu["ci_high"], fvu["ci_low"]

    forge.edit(path, invert)
    return path, "fvu: its interval is inverted"


def interval_elsewhere(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: forge.metric(raw, "fvu").update(ci_low=0.5, ci_high=0.6))
    return path, "does not contain its value"


def interval_dropped(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: forge.metric(raw, "fvu").update(ci_low=None, ci_high=None))
    return path, "fvu: has no interval, but its sidecar gives"


def ratio_of_other_sums(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["units"]["estimators"]["fvu"].update(denominator="target_sq"))
    return path, "fvu: follows from other sums"


def row_removed(board, forge):
    path = forge.row(board)
    path.unlink()
    forge.sidecar(path).unlink()
    return path, "was removed since"


def row_changed_where_no_hash_looks(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.update(timings={"evaluator_s": 1.0}), seal=False)
    return path, "was changed since"


def row_renamed(board, forge):
    path = forge.row(board)
    renamed = path.with_name(f"{'0' * 32}.json")
    forge.sidecar(path).rename(forge.sidecar(renamed))
    path.rename(renamed)
    forge.edit(renamed, lambda raw: None)
    return renamed, "lies where its content does not belong"


def key_changed(board, forge):
    path = forge.row(board)
    key = content_hash("any")
    renamed = path.with_name(f"{key}.json")
    forge.sidecar(path).rename(forge.sidecar(renamed))
    path.rename(renamed)
    forge.edit(renamed, lambda raw: raw.update(key=key))
    return renamed, "does not follow from its content"


def duplicate_key(board, forge):
    folder = board / "alice__topk-w256-k16"
    shutil.copytree(folder, board / "bob__topk-w256-k16")
    return forge.row(board / "bob__topk-w256-k16", sae=""), "duplicate key"


def moved_to_another_owner(board, forge):
    (board / "alice__topk-w256-k16").rename(board / "alice__topk-w512")
    return forge.row(board, sae="topk-w512"), "lies where its content does not belong"


def posing_as_an_sae(board, forge):
    path = forge.row(board, sae="pca-k16")
    forge.edit(path, lambda raw: raw["sae"].update(is_control=False))
    return path, "says that 'baseline:pca,k=16' is an SAE"


def version_unknown(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["evaluator"].update(version=99))
    return path, "unknown version 99 of reconstruction"


def evaluator_unknown(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["evaluator"].update(name="reconstructions"))
    return path, "unknown evaluator 'reconstructions'"


def metric_unknown(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: forge.metric(raw, "dead_fraction").update(name="liveliness"))
    return path, "liveliness: reconstruction has no such metric"


def direction_turned(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: forge.metric(raw, "fvu").update(higher_is_better=True))
    return path, "fvu: higher_is_better is True"


def range_violated(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: forge.metric(raw, "dead_fraction").update(value=-0.25))
    return path, "dead_fraction: -0.25 lies outside its range, [0, 1]"


def not_finite(board, forge):
    path = forge.row(board)
    path.write_text(path.read_text().replace('"value": 16.0', '"value": NaN', 1))
    return path, "holds the constant NaN"


def controls_removed(board, forge):
    shutil.rmtree(board / "controls" / "pca-k16")
    return forge.row(board), "missing controls in its cell (blocks.2.hook_resid_post): no pca"


def other_text_claimed(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["cache"]["text"].update(contexts_requested=6000))
    return path, "does not follow from their description"


def failed_row(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.update(status="failed", reason="no"))
    return path, "holds finished results"


def options_incomplete(board, forge):
    path = forge.row(board, sae="", evaluator="error_scaling")
    forge.edit(path, lambda raw: raw.update(config={}))
    return path, "its options are not complete"


def oversized(board, forge):
    path = forge.row(board)
    path.write_bytes(path.read_bytes() + b" " * MAX_FILE_BYTES)
    return path, f"more than the {MAX_FILE_BYTES}"


def oversized_sidecar(board, forge):
    path = forge.sidecar(forge.row(board))
    os.truncate(path, MAX_FILE_BYTES + 1)
    return path, f"has {MAX_FILE_BYTES + 1} bytes"


def symbolic_link(board, forge):
    path = forge.row(board)
    there = board.parent / "elsewhere.json"
    path.rename(there)
    path.symlink_to(there)
    return path, "is a symbolic link"


def linked_folder(board, forge):
    (board / "eve__x").symlink_to(board / "alice__topk-w256-k16")
    return board / "eve__x", "is a symbolic link"


def executable(board, forge):
    path = forge.row(board)
    path.chmod(0o755)
    return path, "is executable"


def stray_file(board, forge):
    path = board / "alice__topk-w256-k16" / "conftest.py"
    path.write_text("raise SystemExit")
    return path, "is a stray file"


def stray_page(board, forge):
    path = board / "site" / "more.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text("<script>")
    return path, "is a stray file"


def deep_folders(board, forge):
    path = board / "a" / "b" / "c" / "d" / "e"
    path.mkdir(parents=True)
    return path, "is a folder deeper"


def schema_field_added(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.update(award="best"))
    return path, "does not fit the result schema at award"


def checksum_removed(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.pop("checksum"), seal=False)
    return path, "has no checksum"


def cut_off(board, forge):
    path = forge.row(board)
    path.write_bytes(path.read_bytes()[:100])
    return path, "is not JSON, perhaps cut off"


def code_as_reference(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(reference="python:os:getcwd"))
    return path, "names code, which is never run"


def path_as_reference(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(reference="/home/alice/secret/sae"))
    return path, "is a path, which only its owner's machine has"


def path_in_a_note(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.update(notes=["read from /home/alice/secret/sae"]))
    return path, "holds a machine's path"


def card_removed(board, forge):
    path = board / "alice__topk-w256-k16" / "model_card.yaml"
    path.unlink()
    return path, "is missing"


def card_of_another(board, forge):
    path = board / "alice__topk-w256-k16" / "model_card.yaml"
    path.write_text(path.read_text().replace("owner: alice", "owner: bob"))
    return path, "speaks of 'topk-w256-k16' of 'bob'"


def card_with_other_weights(board, forge):
    path = board / "alice__topk-w256-k16" / "model_card.yaml"
    path.write_text(path.read_text().replace("reference: demo:topk-w256-k16", "reference: hf:a/b"))
    return forge.row(board), "its model card's another"


def card_with_weights_on_a_machine(board, forge):
    path = board / "alice__topk-w256-k16" / "model_card.yaml"
    text = path.read_text()
    weights = next(line for line in text.splitlines() if line.startswith("weights:"))
    path.write_text(text.replace(weights, "weights: '[here](javascript:alert(1))'"))
    return path, "which nobody can follow"


def card_unreadable(board, forge):
    path = board / "alice__topk-w256-k16" / "model_card.yaml"
    path.write_text("owner: [")
    return path, "cannot be read"


def sidecar_alone(board, forge):
    path = forge.row(board)
    path.unlink()
    return forge.sidecar(path), "is a sidecar without its result"


TAMPERINGS = [
    made
    for name, made in list(globals().items())
    if callable(made) and getattr(made, "__module__", "") == __name__
]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_a_tampering_is_caught_by_file_and_reason(board, forge, tamper):
    """Whatever is done to a row, its sidecar, its card or the tree, `check` names the file and says why."""
    forge.commit(board.parent)

    path, reason = tamper(board, forge)
    _, findings = check(board, host(), base="HEAD")

    named = [each for each in findings if each.file == str(path.relative_to(board))]
    assert [each for each in named if reason in each.reason], findings
    assert all(each.fix for each in findings)


def test_an_honest_leaderboard_passes(board, forge):
    """Rows as they were submitted have nothing wrong with them, with and without a base."""
    forge.commit(board.parent)

    assert check(board, host())[1] == []
    assert check(board, host(), base="HEAD")[1] == []


def test_rows_that_were_added_to_the_base_since_do_not_look_removed(board, forge):
    """List and content of files come from the merge-base, so that drift of main is nobody's fault."""
    parked = shutil.move(board / "alice__topk-w512-k16", board.parent.parent / "parked")
    forge.commit(board.parent)
    forge.git(board.parent, "switch", "-q", "-c", "mine")
    forge.git(board.parent, "switch", "-q", "main")
    shutil.move(parked, board / "alice__topk-w512-k16")
    forge.commit(board.parent)
    forge.git(board.parent, "switch", "-q", "mine")

    assert [each for each in check(board, host(), base="main")[1] if "since" in each.reason] == []


def test_a_new_row_of_an_old_version_is_refused(board, forge, monkeypatch):
    """Old rows stay when an evaluator is changed; nobody may add to them, with fewer checks, afterwards."""
    path = forge.row(board)
    forge.commit(board.parent)
    owned = host().get("evaluators", "reconstruction")
    monkeypatch.setitem(vars(owned.descriptor), "version", 2)
    before = [
        each for each in check(board, host(), base="HEAD")[1] if each.file == str(path.relative_to(board))
    ]
    other = path.with_name(f"{'1' * 32}.json")
    shutil.copy(forge.sidecar(path), forge.sidecar(other))
    shutil.copy(path, other)
    forge.edit(other, lambda raw: raw.update(key="1" * 32))

    after = [
        each for each in check(board, host(), base="HEAD")[1] if each.file == str(other.relative_to(board))
    ]

    assert before == []
    assert any("is new, but of version 1" in each.reason for each in after)


def test_a_hostile_name_stays_below_the_leaderboard(board, forge):
    """A name that climbs or that no terminal should see is only text: its folder's name is a slug."""
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(name="../../\x1b[31m<script>" + "a" * 300))

    _, findings = check(board, host())

    [fix] = [each.fix for each in findings if "does not belong" in each.reason]
    place = fix.split(" to ")[1]
    assert ".." not in place.split("/")
    assert "\x1b" not in place
    assert len(place.split("/")[0]) <= 80
    assert json.loads(path.read_text())["key"] in place
