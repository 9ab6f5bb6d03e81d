"""Runs follow what SAEs record of their training, and say where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.cache.spec import ModelSpec
from darkmatter.errors import ResultWarning, UsageError
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.results.compare import compare_saes
from darkmatter.runs.items import Facts
from darkmatter.runs.job import Job
from darkmatter.runs.suite import make_suite
from darkmatter.runs.trained import bos_of_all, departures, may_be_same
from darkmatter.sae.overrides import Overrides, apply_overrides
from darkmatter_plugins import world

SAE = str(world.sae_paths()["topk-w256-k16"])
"""It records a BOS before each context."""

SILENT = str(world.sae_paths()["topk-w1024-k8"])
"""It records nothing about BOS."""

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"

MODEL = ModelSpec(name="gpt2")


@pytest.mark.parametrize(
    ("recorded", "policy"),
    [
        ([], None),
        ([None, None], None),
        ([True, None], None),
        ([False, None], "never"),
        ([False, False], "never"),
        ([False, True], None),
    ],
)
def test_saes_that_agree_are_followed(recorded, policy):
    """None is the default, which is BOS; those that say nothing have no vote."""
    assert bos_of_all(api.SAEMetadata(prepend_bos=bos) for bos in recorded) == policy


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt2", "gpt2-small", True),
        ("GPT2-small", "openai-community/gpt2", True),
        ("EleutherAI/pythia-70m-deduped", "/models/pythia-70m-deduped", True),
        ("gpt2-small", "gpt2-xl", False),
        ("google/gemma-2-2b", "google/gemma-2-2b-it", False),
        ("darkmatter-world", "/somewhere/data/model", True),
    ],
)
def test_models_are_compared_loosely(one, other, same):
    """Organisation, folder and case do not matter; a folder called model says nothing."""
    assert may_be_same(one, other) is same


def test_an_sae_that_says_nothing_departs_from_nothing():
    """Without a record there is nothing to compare with."""
    assert departures(api.SAEMetadata(), MODEL, bos=True) == []
    told = api.SAEMetadata(model="gpt2-small", prepend_bos=True, processing="raw")
    assert departures(told, MODEL, bos=True) == []


def test_each_departure_says_how_to_follow():
    """BOS and weight processing warn, with the option that follows them; another model is only noted."""
    told = api.SAEMetadata(model="gpt2-xl", prepend_bos=False, processing="compat")
    bos, processing, model = departures(told, MODEL, bos=True)

    assert "did not begin with BOS, this run's do. To follow it: --bos never" in bos.sentence
    assert "--override NAME.bos=true" in bos.sentence
    assert "--processing compat (model: {name: NAME, processing: compat})" in processing.sentence
    assert "'gpt2-xl', this run's is 'gpt2-small'" in model.sentence
    assert [each.warn for each in (bos, processing, model)] == [True, True, False]


def test_a_departure_from_what_is_assumed_says_so():
    """A reader's guess is warned of like a record, and not called one."""
    taken = api.SAEMetadata(model="gpt2-xl", prepend_bos=False, processing="compat")
    found = departures(taken, MODEL, bos=True, assumed={"bos", "processing", "model"})

    assert ["(assumed, not recorded)" in each.sentence for each in found] == [True, True, True]
    assert "--override NAME.processing=raw" in found[1].sentence


def test_what_is_assumed_is_not_recorded():
    """Values behind an open assumption go; what somebody stated in their place stays."""
    generator = torch.Generator().manual_seed(0)
    sae = api.CanonicalSAE(
        W_enc=torch.randn(4, 6, generator=generator),
        W_dec=torch.randn(6, 4, generator=generator),
        activation=api.Relu(),
        metadata=api.SAEMetadata(model="m", context_length=128, prepend_bos=False, processing="raw"),
        assumptions=(
            api.Assumption("128 taken.", about="context_length"),
            api.Assumption("no BOS taken.", about="bos"),
            api.Assumption("raw taken.", about="processing"),
        ),
    )
    facts = Facts.of(apply_overrides(sae, Overrides(bos=False)))

    assert facts.assumed == {"context_length", "processing"}
    assert facts.recorded == api.SAEMetadata(model="m", prepend_bos=False)
    assert facts.metadata.context_length == 128


def test_an_assumed_context_length_does_not_steer_a_run(suite):
    """A reader's guess of 128 tokens leaves contexts at their default length; a statement does not."""
    assumed = str(next((SAMPLES / "hook_z_attention").rglob("*.pt")))
    fields = suite({"assumed": assumed})
    fields["text"]["context_length"] = None
    guessed = job(fields)
    stated = job(fields | {"saes": {"assumed": {"ref": assumed, "context_length": 128}}})

    assert guessed.files[0].facts.metadata.context_length == 128
    assert guessed.context_length() == 256
    assert stated.context_length() == 128


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Makes suites over the embedded model."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    text = world.write_stories(tmp_path / "stories.jsonl", 30, latents=False)

    def suite(saes, text_fields=None, **fields):
        return {
            "model": str(world.model_path()),
            "text": {"path": str(text), "context_length": 64, "contexts": 30, **(text_fields or {})},
            "saes": saes,
            "evaluators": ["reconstruction"],
            "controls": False,
            **fields,
        }

    return suite


def job(fields) -> Job:
    return Job.of(make_suite(fields), host(), Progress(), 1)


def test_the_run_takes_the_policy_of_its_saes(suite):
    """No BOS where the SAEs were trained without; what the suite says wins; activations have no choice."""
    without = {"a": {"ref": SAE, "bos": False}, "b": SILENT}

    assert job(suite({"a": SAE})).request().text.bos is None
    assert job(suite(without)).request().text.bos == "never"
    assert job(suite(without, {"bos": "always"})).request().text.bos == "always"
    assert job(suite({**without, "c": SAE})).request().text.bos is None


def test_a_departure_is_warned_of_and_recorded(suite, tmp_path):
    """Per SAE, in the results of those that it holds of, and of no other."""
    saes = {"with": SAE, "without": {"ref": SAE, "bos": False}, "other": {"ref": SAE, "model": "gpt2"}}
    fields = suite(saes)
    fields["model"] = {"name": fields["model"], "processing": "raw"}
    with pytest.warns(ResultWarning, match="without: its training contexts did not begin with BOS") as caught:
        results = dm.run(**fields)
    notes = {result.sae.name: " ".join(result.sae.assumptions) for result in results}

    assert len([each for each in caught if "BOS" in str(each.message)]) == 1
    assert "did not begin with BOS" in notes["without"]
    assert "BOS" not in notes["with"] + notes["other"]
    assert "model gpt2 was given by the user (the file says darkmatter-world)." in notes["other"]


def test_a_run_without_bos_departs_from_saes_trained_with_it(suite):
    """The same the other way round, and the sentence says how to mend it."""
    with pytest.warns(ResultWarning, match="began with BOS, this run's do not. To follow it: --bos always"):
        dm.run(**suite({"a": SAE}, {"bos": "never"}))


def test_an_override_of_the_precision_enters_the_key_of_its_sae_alone(suite, tmp_path):
    """The other SAEs' results are found again; the one in bfloat16 is another result, and says so."""
    plain = dm.run(**suite({"a": SAE, "b": SILENT}), out=tmp_path / "out")
    again = dm.run(**suite({"a": {"ref": SAE, "dtype": "bfloat16"}, "b": SILENT}), out=tmp_path / "out")
    keys = [{result.sae.name: result.key for result in results} for results in (plain, again)]

    assert keys[0]["a"] != keys[1]["a"]
    assert keys[0]["b"] == keys[1]["b"]
    (changed,) = [result for result in again if result.sae.name == "a"]
    assert changed.sae.overrides == {"dtype": "bfloat16"}
    assert changed.sae.fingerprint == next(r for r in plain if r.sae.name == "a").sae.fingerprint
    before = next(result for result in plain if result.sae.name == "a")
    fvu = [next(m.value for m in result.metrics if m.name == "fvu") for result in (before, changed)]
    assert fvu[0] != fvu[1]


def test_saes_of_different_precision_are_compared(suite):
    """A paired comparison needs the same rows, not the same arithmetic; the difference is noted."""
    results = dm.run(**suite({"a": SAE, "b": {"ref": SAE, "dtype": "float64"}}))
    compared = compare_saes(results, "a", "b")

    assert {metric.verdict for metric in compared.metrics} <= {
        "tie",
        "no interval",
        "better",
        "worse",
        "differs",
    }
    assert any("dtype: float32 or float64" in note for note in compared.notes)


def test_the_plan_finds_what_a_run_with_overrides_made(suite, tmp_path):
    """Plans follow the keys of the engine."""
    from darkmatter.runs.plan import plan_job

    fields = suite({"a": {"ref": SAE, "dtype": "float64", "bos": True}})
    dm.run(**fields, out=tmp_path / "out")

    assert [each.action for each in plan_job(job(fields), tmp_path / "out").results] == ["reuse"]


def test_a_baseline_may_be_fitted_at_one_hook_point_alone(suite, tmp_path):
    """It keeps its plain name there, is nowhere else, and the plan knows; a hook point of no SAE skips it."""
    from darkmatter.runs.plan import plan_job

    below = str(world.sae_paths()["layer1-topk-w1024-k16"])
    here = {"ref": "baseline:zero", "hook": world.FAMILY_HOOK}
    fields = suite({"a": SAE, "below": below, "zero": here, "mean": "baseline:mean"})
    hooks = [world.FAMILY_HOOK, "blocks.1.hook_resid_post"]
    expected = {"a", "below", "zero", *(f"mean@{hook}" for hook in hooks)}

    assert {result.sae.name for result in dm.run(**fields, out=tmp_path / "out")} == expected
    planned = plan_job(job(fields), tmp_path / "out").results
    assert {each.sae: each.action for each in planned} == dict.fromkeys(expected, "reuse")

    nowhere = suite({"a": SAE, "zero": {**here, "hook": "blocks.0.hook_resid_post"}})
    (skipped,) = [result for result in dm.run(**nowhere) if result.status != "ok"]
    assert skipped.status == "skipped"
    assert "needs 'blocks.0.hook_resid_post' among the SAEs' hook points" in skipped.reason


def test_a_baseline_takes_no_overrides(suite):
    """A control has no file to be corrected; a field that would be ignored is refused."""
    with pytest.raises(UsageError, match=r"pca: a baseline is fitted in this run.*bos would change nothing"):
        job(suite({"a": SAE, "pca": {"ref": "baseline:pca,k=2", "bos": True}}))


def test_the_embedded_model_and_its_saes_do_not_warn_of_each_other():
    """``demo:model`` is the model that they record, under the name of its reference."""
    told = api.SAEMetadata(model="darkmatter-world")
    assert departures(told, ModelSpec(name="demo:model"), bos=True) == []
