"""Rows that fit by themselves and not beside others: each is caught, by file and reason."""

from __future__ import annotations

import shutil

import pytest
from safetensors.numpy import load_file, save_file

from darkmatter.leaderboard.layout import folder_of


def other_hardware(board, forge, sae="topk-w256-k16", **settings):
    """A second row on the same SAE with another key: the later of the two by its path, and the new one."""
    return again(board, forge, lambda raw: raw["analysis"].update(settings), sae)


def again(board, forge, change, sae="topk-w256-k16"):
    path = forge.row(board, sae)
    shutil.copytree(path.parent, board.parent / "kept")
    there = forge.moved(path, change)
    for kept in (board.parent / "kept").iterdir():
        shutil.copy(kept, path.parent / kept.name)
    return max(path, there), there


def again_with_other_chunks(board, forge):
    path, _ = other_hardware(board, forge, chunk_rows=1024)
    return path, "; what differs is chunk_rows: "


def again_on_another_device(board, forge):
    path, _ = other_hardware(board, forge, device="cuda")
    return path, "its SAE is in this cell already, in alice__topk-w256-k16/"


def again_under_another_owner(board, forge):
    _, there = other_hardware(board, forge, chunk_rows=1024)
    path = board / str(there.relative_to(board)).replace("alice__", "bob__")
    path.parent.mkdir(parents=True)
    there.rename(path)
    forge.sidecar(there).rename(forge.sidecar(path))
    return path, "its SAE is in this cell already, in alice__topk-w256-k16/"


def sums(path, forge, change):
    """Change the tensors of a sidecar, and make its hash fit again."""
    columns = load_file(forge.sidecar(path))
    change(columns)
    save_file(columns, forge.sidecar(path))
    forge.edit(path, lambda raw: raw["units"].update(count=len(columns["unit_id"])))


def again_with_its_precision_stated(board, forge):
    path, _ = again(board, forge, lambda raw: raw["sae"]["overrides"].update(dtype="float32"))
    return path, "; what differs is nothing that is measured"


def other_kind_of_activations(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["cache"].update(kind="file"))
    return path, "tells of its activations otherwise than controls/"


def other_count_of_rows(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["analysis"].update(test_rows=10**6))
    return path, "counts other rows of the same analysis than controls/"


def family_of_one(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(members=["x"], reference="x"))
    return path, "reconstruction speaks of one SAE, and its members say otherwise"


def family_with_a_name(board, forge):
    path = forge.row(board, sae="", evaluator="error_scaling")
    forge.edit(path, lambda raw: raw["sae"].update(name="best"))
    return path, "is of a family and is called 'best'"


def owner_in_capitals(board, forge):
    folder = folder_of("Alice", "topk-w256-k16")
    shutil.copytree(board / "alice__topk-w256-k16", board / folder)
    return forge.row(board / folder, sae=""), "its owner is written 'Alice'"


def reference_of_look_alikes(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(reference="hf:m\u0435ta/sae"))
    return path, "'hf:m\\u0435ta/sae' is not printable ASCII"


def unfinished(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.update(unfinished="the server was down"))
    return path, "is unfinished (the server was down)"


def units_shifted(board, forge):
    path = forge.row(board)
    sums(path, forge, lambda columns: columns.update(unit_id=columns["unit_id"] + 1))
    return path, "does not count them 0, 1, 2, and so on"


def units_left_out(board, forge):
    path = forge.row(board)
    sums(path, forge, lambda columns: columns.update({name: each[1:] for name, each in columns.items()}))
    return path, "its sidecar is over "


def undefined(raw, forge, name):
    fields = {"value": None, "ci_low": None, "ci_high": None, "status": "undefined", "reason": "it is"}
    forge.metric(raw, name).update(fields)


def undefined_with_its_sums(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: undefined(raw, forge, "fvu"))
    return path, "fvu: is undefined, but its sidecar has the sums that give it"


def undefined_with_the_sums_of_others(board, forge):
    path = forge.row(board)

    def hide(raw):
        undefined(raw, forge, "fvu")
        del raw["units"]["estimators"]["fvu"]

    forge.edit(path, hide)
    return path, "has the sums that give it in controls/"


def drop(raw, name):
    raw["metrics"] = [each for each in raw["metrics"] if each["name"] != name]
    raw["units"]["estimators"].pop(name, None)


def metric_deleted(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: drop(raw, "fvu"))
    return path, "lacks fvu, other than controls/"


def metric_twice(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["metrics"].append(forge.metric(raw, "fvu")))
    return path, "the metric 'fvu' occurs 2 times"


def worse_twin_of_a_control(board, forge):
    later, there = other_hardware(board, forge, "pca-k16", chunk_rows=1024)
    forge.edit(there, lambda raw: forge.metric(raw, "fvu").update(value=0.9, ci_low=0.89, ci_high=0.91))
    return later, "with other numbers: fvu"


def described_otherwise(board, forge, change, sae="topk-w256-k16"):
    """A second row on an SAE that says something else of it; the later one by its path is named."""
    later, there = other_hardware(board, forge, sae, chunk_rows=1024)
    forge.edit(there, lambda raw: change(raw["sae"]))
    return later


def architecture_changed(board, forge):
    path = described_otherwise(board, forge, lambda sae: sae["metadata"].update(architecture="gated"))
    return path, "says of its SAE another architecture than"


def width_changed(board, forge):
    path = described_otherwise(board, forge, lambda sae: sae.update(d_sae=64))
    return path, "says of its SAE another d_sae than"


def k_stated(board, forge):
    path = described_otherwise(board, forge, lambda sae: sae["overrides"].update(k=3))
    return path, "says of its SAE another overrides than"


def control_widened(board, forge):
    path = described_otherwise(board, forge, lambda sae: sae.update(d_sae=4096), sae="pca-k16")
    return path, "says of its SAE another d_sae than"


def l0_other_than_beside(board, forge):
    path = described_otherwise(board, forge, lambda sae: sae.update(l0=15.0))
    return path, "says of its SAE another l0 than"


def l0_changed(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(l0=8.0))
    return path, "says that its SAE's l0 is 8.0, and measures 16.0"


def called_in_capitals(board, forge):
    path = forge.row(board)
    folder = board / "alice__topk-x"
    shutil.copytree(path.parents[2], folder)
    path = forge.row(board, sae="topk-x")
    forge.edit(path, lambda raw: raw["sae"].update(name="TopK-w256-k16"))
    return path, "its name 'TopK-w256-k16' looks like 'topk-w256-k16', in alice__topk-w256-k16/"


def name_of_look_alikes(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(name="topk-w256-k\u0456"))
    return path, "'topk-w256-k\\u0456' is no plain name"


def name_with_what_is_not_seen(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(name="topk-w256-k16 "))
    return path, "'topk-w256-k16 ' is no plain name"


def long_text(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.update(notes=["x" * 5000]))
    return path, "has a text of 5000 characters in its notes, more than 4000"


def much_text(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw.update(notes=["x" * 4000] * 20))
    return path, "characters of text beside its numbers, more than 65536"


def long_name_of_a_curve(board, forge):
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["curves"].update({"x" * 5000: {}}))
    return path, "has a text of 5000 characters in its curves, more than 4000"


def card(board, old, new):
    path = board / "alice__topk-w256-k16" / "model_card.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return path


def card_with_another_model(board, forge):
    return card(
        board, "model: demo:model", "model: gpt2"
    ), "its model is 'gpt2', that of its rows 'demo:model'"


def card_with_another_text(board, forge):
    return card(board, "demo:stories", "hf:a/b"), "its text is 'hf:a/b', that of its rows 'demo:stories'"


def card_with_another_hook(board, forge):
    return card(board, "hook: blocks.2.", "hook: blocks.0."), "its hook is 'blocks.0.hook_resid_post'"


def card_that_parts_the_name_elsewhere(board, forge):
    folder = board / "alice__topk__w256"
    (board / "alice__topk-w256-k16").rename(folder)
    path = folder / "model_card.yaml"
    text = path.read_text().replace("owner: alice", "owner: alice__topk")
    path.write_text(text.replace("sae: topk-w256-k16", "sae: w256"))
    return path, "speaks of 'w256' of 'alice__topk'"


def card_of_nothing(board, forge):
    path = board / "alice__best" / "model_card.yaml"
    path.parent.mkdir()
    path.write_text(card(board, "sae: topk-w256-k16", "sae: best").read_text())
    return path, "is a card without any row"


TAMPERINGS = [
    made
    for name, made in list(globals().items())
    if getattr(made, "__module__", "") == __name__ and made.__code__.co_varnames[:2] == ("board", "forge")
    if made.__code__.co_argcount == 2
]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_a_row_that_disagrees_is_caught(board, forge, tamper):
    """A row whose checksum, hashes, key and place fit is still held against the others."""
    path, reason = tamper(board, forge)

    found = forge.faults(board, path)

    assert [each for each in found if reason in each], found


def test_a_control_of_another_machine_may_stand_beside_the_first(board, forge):
    """Everybody brings the controls of their cells, each measured on hardware of their own."""
    later, there = other_hardware(board, forge, "pca-k16", chunk_rows=1024)
    forge.edit(there, lambda raw: raw["sae"].update(l0=raw["sae"]["l0"] * 1.001))

    assert [
        each for each in forge.faults(board, later) if "in this cell already" in each or "another" in each
    ] == []


def test_a_sum_that_is_round_off_leaves_a_metric_undefined(board, forge):
    """An SAE that makes no error has no share of one, though its sidecar has the sums: nothing is wrong."""
    path = forge.row(board)

    def vanish(columns):
        columns["variance"] *= 1e-12

    def hide(raw):
        undefined(raw, forge, "fvu")
        del raw["units"]["estimators"]["fvu"]

    sums(path, forge, vanish)
    forge.edit(path, hide)

    assert [each for each in forge.faults(board, path) if each.startswith("fvu: is undefined")] == []
