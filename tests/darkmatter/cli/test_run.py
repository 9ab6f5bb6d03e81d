"""``darkmatter run`` and ``plan`` as a user meets them: exit status, messages, resuming."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from darkmatter.cli.main import main
from darkmatter_plugins import world
from darkmatter_plugins.evaluators.reconstruction.run import Reconstruction

D = 8
COUNTS = r"\((\d+) measured, (\d+) skipped; (\d+) of them reused\)"


def write_sae(folder: Path, d: int = D, scale: float = 1.0, hook: str = "blocks.2.hook_resid_post") -> Path:
    """A small standard SAE in SAELens's layout."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(d, 3 * d, generator=generator)
    folder.mkdir(parents=True)
    config = {
        "architecture": "standard",
        "d_in": d,
        "d_sae": 3 * d,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"hook_name": hook, "sae_lens_version": "6.51.1"},
    }
    (folder / "cfg.json").write_text(json.dumps(config))
    weights = {
        "W_enc": w,
        "b_enc": torch.zeros(3 * d),
        "W_dec": scale * 0.1 * w.T.contiguous(),
        "b_dec": torch.zeros(d),
    }
    save_file(weights, folder / "sae_weights.safetensors")
    return folder


@pytest.fixture
def acts(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    path = tmp_path / "acts.safetensors"
    save_file({"x": torch.randn(60, 30, D, generator=generator)}, path)
    return path


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command line; gives (status, stdout, stderr as one line)."""

    def call(*arguments, out="out"):
        status = main([*map(str, arguments), "--out", str(tmp_path / out)])
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return call


def rows(out: Path, capsys) -> list[dict]:
    assert main(["table", str(out), "--format", "json", "--all"]) in {0, 1}
    return json.loads(capsys.readouterr().out)


def test_bad_saes_become_rows_and_the_others_are_evaluated(run, acts, tmp_path, capsys):
    """A missing file, a wrong d_in and NaN weights cost exit 1 and a row each, nothing else."""
    good = write_sae(tmp_path / "good")
    wide = write_sae(tmp_path / "wide", d=12)
    broken = write_sae(tmp_path / "broken", scale=float("nan"))
    status, out, err = run(
        "run", "--activations", acts, *(f"--sae={p}" for p in (good, wide, broken, tmp_path / "gone"))
    )
    found = rows(tmp_path / "out", capsys)
    failed = {row["sae"]: row["reason"] for row in found if row["status"] == "failed"}

    assert status == 1
    assert "| good" in out
    assert set(failed) == {"wide", "broken", "gone"}
    assert "d_in = 12" in failed["wide"]
    assert "has 8 features" in failed["wide"]
    assert "W_dec" in failed["broken"]
    assert "no such file" in failed["gone"]
    assert "run the same command again" in err
    assert {row["sae"] for row in found if row["metric"] == "fvu" and row["status"] == "ok"} >= {
        "good",
        "mean",
    }


def test_the_same_command_again_reuses_everything(run, acts, tmp_path):
    """Nothing is computed twice, and the output is the same."""
    command = ("run", "--activations", acts, "--sae", write_sae(tmp_path / "good"))
    first, again = run(*command), run(*command)

    assert first[0] == again[0] == 0
    assert first[1] == again[1]
    assert "0 of them reused" in first[2]
    measured, skipped, reused = map(int, re.search(COUNTS, again[2]).groups())
    assert reused == measured + skipped > 0


def test_recompute_gives_the_same_values(run, acts, tmp_path, capsys):
    """--recompute makes results again, and they are the same."""
    command = ("run", "--activations", acts, "--sae", write_sae(tmp_path / "good"))
    run(*command)
    before = rows(tmp_path / "out", capsys)
    status, _, err = run(*command, "--recompute")

    assert status == 0
    assert "0 of them reused" in err
    assert rows(tmp_path / "out", capsys) == before


def test_a_mended_sae_replaces_its_failure(run, acts, tmp_path, capsys):
    """After the file is there, the same command finishes the job and the failed row is gone."""
    command = ("run", "--activations", acts, "--sae", f"mine={tmp_path / 'late'}")
    assert run(*command)[0] == 1
    write_sae(tmp_path / "late")
    status, _, _ = run(*command)

    assert status == 0
    assert {row["status"] for row in rows(tmp_path / "out", capsys) if row["sae"] == "mine"} <= {
        "ok",
        "undefined",
        "skipped",
    }


def files_of(out: Path) -> dict[str, bytes]:
    """Every result file and sidecar with its bytes."""
    return {str(path): path.read_bytes() for path in out.rglob("*@*") if path.is_file()}


def with_other_fvu(change):
    """A ``Reconstruction.run`` that does ``change`` to the output of the real one."""
    real = Reconstruction.run

    def run(self, ctx):
        out = real(self, ctx)
        if ctx.sae_name == "good":
            change(out)
        return out

    return run


def exhaust(out) -> None:
    message = "no memory left"
    raise MemoryError(message)


def set_fvu(out) -> None:
    out.metrics[:] = [m.model_copy(update={"value": 99.0}) if m.name == "fvu" else m for m in out.metrics]


@pytest.mark.parametrize("change", [exhaust, set_fvu])
def test_recompute_never_destroys_a_result(run, acts, tmp_path, capsys, monkeypatch, change):
    """An evaluator that now fails, or says something else, is reported; what is on disk stays."""
    command = ("run", "--activations", acts, "--sae", write_sae(tmp_path / "good"))
    run(*command)
    before, shown = files_of(tmp_path / "out"), rows(tmp_path / "out", capsys)
    monkeypatch.setattr(Reconstruction, "run", with_other_fvu(change))
    status, _, err = run(*command, "--recompute")
    now = files_of(tmp_path / "out")

    assert status == 1
    assert "good / reconstruction" in err
    assert ("MemoryError" if change is exhaust else "is now 99.0") in err
    assert "mean / reconstruction" not in err
    assert {path: now[path] for path in before} == before
    assert rows(tmp_path / "out", capsys) == shown


def test_a_failure_after_a_success_is_shown_until_it_is_mended(run, acts, tmp_path, capsys):
    """An SAE that goes bad is a failed row beside the older numbers; mended, even reused, it is gone."""
    good, mine = write_sae(tmp_path / "good"), tmp_path / "mine"
    command = ("run", "--activations", acts, "--sae", mine, "--evaluators", "reconstruction")

    def states() -> set[tuple[str, str]]:
        found = rows(tmp_path / "out", capsys)
        return {(r["sae"].partition("=")[0], r["status"]) for r in found if r["sae"].startswith("mine")}

    shutil.copytree(good, mine)
    run(*command)
    at_first = states()
    shutil.rmtree(mine)
    write_sae(mine, scale=float("nan"))
    assert run(*command)[0] == 1
    assert states() == {("mine (weights", "ok"), ("mine", "failed")}
    assert main(["table", str(tmp_path / "out")]) in {0, 1}
    assert "mine: reconstruction failed" in capsys.readouterr().out
    shutil.rmtree(mine)
    shutil.copytree(good, mine)
    assert run(*command)[0] == 0
    assert states() == at_first
    assert {status for _, status in at_first} <= {"ok", "undefined"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluators", "reconstructoin"], "Did you mean 'reconstruction'"),
        (["--set", "error_decomposition.biass=false"], "Did you mean 'bias'"),
        (["--set", "density.active_above=-3"], "density"),
        (["--set", "nonsense"], "EVALUATOR.FIELD=VALUE"),
        (["--set", "feature_effects.indices=5000"], "expected a list, such as [5000] (got '5000')"),
        (["--set", "feature_effects.indices=[5"], "is no list"),
        (["--set", "autointerp.simulator=ngram,order=3"], "'ngram' has no options; leave 'order' out"),
        (["--set", "feature_recovery.concepts=word_lists"], "'path' is missing"),
        (
            ["--set", "feature_recovery.concepts=ioi"],
            "expected concepts. Datasets that give them: word_lists",
        ),
        (["--evaluators", "feature_recovery"], "set one of concepts"),
        (["--sae", "baseline:pcaa"], "Did you mean 'pca"),
        (["--sae", "baseline:pca,k=many"], "it cannot be 'many'; expected a whole number."),
        (["--model", "somewhere"], "cannot be combined"),
        (["--seed", "x"], "not a valid integer"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage_exits_2_with_the_nearest_valid_choice(run, acts, tmp_path, arguments, message):
    """The command line, unknown names and bad options are wrong usage, said in one paragraph."""
    status, out, err = run("run", "--activations", acts, "--sae", write_sae(tmp_path / "s"), *arguments)

    assert status == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_the_option_that_is_missing_is_named(run):
    """A model without a text, or the other way round, says which of the two is missing."""
    assert "--text is missing." in run("plan", "--model", "m", "--sae", "a")[2]
    assert "--model is missing." in run("plan", "--text", "t.txt", "--sae", "a")[2]


def test_a_failure_is_said_in_full_once(run, acts, tmp_path):
    """The table and the last lines have the first line of a long reason, stderr has all of it."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "sae_weights.safetensors").write_text("{")
    status, out, err = run("run", "--activations", acts, "--sae", tmp_path / "bad")

    assert status == 1
    assert "no adapter recognises this" in out
    assert "saelens" not in out
    assert err.count("no adapter recognises this") == 2
    assert err.count("more adapters found none of their files") == 1


def test_files_of_another_kind_are_not_suggested(run, tmp_path):
    """Only files of the same ending with a name like it are offered instead of one that is not there."""
    (tmp_path / "acts.safetensors").write_text("")
    (tmp_path / "Makefile").write_text("")
    near = run("run", "--activations", tmp_path / "act.safetensors", "--sae", "a")[2]
    far = run("run", "--activations", tmp_path / "nothere.safetensors", "--sae", "a")[2]

    assert "Did you mean 'acts.safetensors'?" in near
    assert far.rstrip().endswith("nothere.safetensors.")


def test_without_anything_the_next_step_is_named(run):
    """A bare `run` says what to give and how to start."""
    status, _, err = run("run")

    assert status == 2
    assert "darkmatter init" in err
    assert "darkmatter demo" in err


def test_an_sae_worse_than_the_mean_is_warned_about(run, acts, tmp_path):
    """FVU above 1 is a valid number and most likely the wrong activations."""
    status, _, err = run("run", "--activations", acts, "--sae", write_sae(tmp_path / "loud", scale=50))

    assert status == 0
    assert "worse than always giving the mean" in err
    assert "darkmatter inspect" in err


def test_few_training_rows_are_warned_about(run, tmp_path):
    """Below 20 training rows a dimension the held-out R² is pessimistic, and the run says so."""
    path = tmp_path / "few.safetensors"
    save_file({"x": torch.randn(200, D, generator=torch.Generator().manual_seed(2))}, path)
    status, _, err = run("run", "--activations", path, "--sae", write_sae(tmp_path / "s"))

    assert status == 0
    assert "120 training rows are fewer than 20 x 8 dimensions" in err


def test_activations_that_are_not_finite_are_an_error(run, tmp_path):
    """NaN rows are named, not averaged."""
    x = torch.randn(60, 30, D)
    x[3, 4, 5] = float("nan")
    path = tmp_path / "nan.safetensors"
    save_file({"x": x}, path)
    status, _, err = run("run", "--activations", path, "--sae", write_sae(tmp_path / "s"))

    assert status == 1
    assert "NaN or infinity" in err
    assert "mask" in err


@pytest.fixture
def model(tmp_path, monkeypatch) -> list[str]:
    """Options for the embedded model on a few stories, with a cache of its own."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    text = world.write_stories(tmp_path / "stories.jsonl", 30, latents=False)
    return ["--model", str(world.model_path()), "--text", str(text), "--ctx", "64", "--contexts", "30"]


def test_a_hook_that_the_model_lacks_names_the_nearest(run, model, tmp_path):
    """A misspelt hook point is wrong usage, with the hook points that look like it."""
    sae = world.sae_paths()["topk-w256-k16"]
    status, _, err = run("run", *model, "--hook", "blocks.2.hook_resid_pots", "--sae", sae)

    assert status == 2
    assert "blocks.2.hook_resid_post" in err


def test_an_sae_of_another_hook_is_a_row(run, model, tmp_path, capsys):
    """An SAE that records another hook point is not silently evaluated at this one."""
    saes = world.sae_paths()
    status, out, err = run(
        "run",
        *model,
        *("--hook", "blocks.2.hook_resid_post"),
        *("--sae", f"good={saes['topk-w256-k16']}", "--sae", f"mlp={saes['mlp-topk-w1024-k16']}"),
        *("--evaluators", "reconstruction"),
    )

    assert status == 1
    assert "--hook blocks.2.hook_mlp_out" in err
    assert "| good" in out


def test_hooks_default_to_what_the_saes_record(run, model, tmp_path, capsys):
    """Without --hook each SAE is evaluated where it was trained, attention's z flattened."""
    saes = world.sae_paths()
    status, _, err = run(
        "run",
        *model,
        *("--sae", f"z={saes['attn-topk-w1024-k16']}", "--sae", f"mlp={saes['mlp-topk-w1024-k16']}"),
        *("--evaluators", "reconstruction"),
    )
    found = {row["sae"]: row for row in rows(tmp_path / "out", capsys) if row["metric"] == "fvu"}

    assert status == 0, err
    assert found["z"]["hook"] == "blocks.2.attn.hook_z"
    assert found["mlp"]["hook"] == "blocks.2.hook_mlp_out"
    assert found["z"]["value"] < 0.1
    assert found["mlp"]["value"] < 0.1


@pytest.mark.parametrize("content", ["", "\n\n", '{"text": ""}\n'])
def test_an_empty_text_is_an_error(run, tmp_path, content):
    """A text without words says so instead of giving an empty table."""
    path = tmp_path / "empty.jsonl"
    path.write_text(content)
    sae = world.sae_paths()["topk-w256-k16"]
    status, out, err = run("run", "--model", world.model_path(), "--text", path, "--sae", sae)

    assert status in {1, 2}
    assert out == ""
    assert "empty.jsonl" in err
    assert "Traceback" not in err


def test_a_model_that_is_not_there_is_an_error(run, tmp_path):
    """A wrong model path is said before anything is loaded."""
    text = tmp_path / "t.txt"
    text.write_text("words")
    status, _, err = run(
        "run",
        "--model",
        tmp_path / "nope",
        "--text",
        text,
        "--sae",
        "baseline:zero",
        "--hook",
        "blocks.0.hook_resid_post",
    )

    assert status in {1, 2}
    assert "nope" in err


def test_plan_says_what_would_be_made_reused_and_fail(run, acts, tmp_path):
    """Planning computes nothing and agrees with what the run then does."""
    command = ["--activations", acts, "--sae", write_sae(tmp_path / "good"), "--sae", tmp_path / "gone"]
    _, before, _ = run("plan", *command, "--json")
    run("run", *command)
    _, after, _ = run("plan", *command, "--json")

    def actions(text):
        return {(r["sae"], r["evaluator"]): r["action"] for r in json.loads(text)["results"]}

    assert actions(before)["good", "density"] == "make"
    assert actions(after)["good", "density"] == "reuse"
    assert actions(before)["gone", "all"] == "fail"
    assert not json.loads(before)["needs"]["model forward"].endswith("tokens")


def test_init_writes_a_suite_that_is_valid_once_edited(tmp_path, capsys, acts):
    """The template parses as a suite; an existing file is not overwritten."""
    from darkmatter.runs.suite import read_suite

    path = tmp_path / "suite.yaml"
    assert main(["init", str(path)]) == 0
    assert main(["init", str(path)]) == 2
    suite = read_suite(path)

    assert suite.hooks == ("blocks.2.hook_resid_post",)
    assert set(suite.saes) == {"mine", "pca"}


def test_a_suite_file_gives_what_the_options_give(run, acts, tmp_path):
    """A YAML suite with relative paths and the options are two ways to say the same run."""
    write_sae(tmp_path / "good")
    (tmp_path / "suite.yaml").write_text(
        "activations: acts.safetensors\nsaes: {good: good}\nevaluators: {reconstruction: {}}\nseed: 3\n"
    )
    _, by_file, _ = run("run", tmp_path / "suite.yaml", out="a")
    _, by_options, _ = run(
        "run",
        "--activations",
        acts,
        "--sae",
        tmp_path / "good",
        "--evaluators",
        "reconstruction",
        "--seed",
        3,
        out="b",
    )

    assert by_file == by_options


def test_a_misspelt_suite_field_names_the_nearest(run, tmp_path):
    """Unknown fields of a suite are wrong usage."""
    path = tmp_path / "suite.yaml"
    path.write_text("activations: a.safetensors\nsaes: {}\nevaluator: {}\n")
    status, _, err = run("run", path)

    assert status == 2
    assert "Did you mean 'evaluators'" in err


def test_a_run_that_measures_nothing_it_was_asked_for_fails(run, acts, tmp_path):
    """Exit status 1 and a count of what was measured: a skipped result is none."""
    asked = ("--evaluators", "width_scaling_law", "--no-controls", "--out", tmp_path / "out")
    status, _, err = run("run", "--activations", acts, "--sae", write_sae(tmp_path / "s"), *asked)

    assert status == 1
    assert "(0 measured, 1 skipped; 0 of them reused)" in err
    assert "Nothing was measured: width_scaling_law" in err


def test_options_alone_leave_the_default_choice_of_evaluators(run, acts, tmp_path):
    """What runs only where it is named stays away, unless an option is set for it."""
    sae = ("--activations", acts, "--sae", write_sae(tmp_path / "s"))
    usual = run("plan", *sae, "--set", "density.active_above=1")[1]
    named = run("plan", *sae, "--set", "error_saes.seeds=1")[1]

    assert "density" in usual
    assert "error_saes" not in usual
    assert "error_saes" in named


def test_a_list_is_written_in_brackets(run, acts, tmp_path):
    """Options that are lists, and null, can be set on the command line."""
    sae = ("--activations", acts, "--sae", write_sae(tmp_path / "s"))
    status, out, err = run("plan", *sae, "--set", "feature_effects.indices=[0, 1]")
    assert (status, "feature_effects" in out) == (0, True), err
    assert run("plan", *sae, "--set", "feature_effects.indices=null")[0] == 0
