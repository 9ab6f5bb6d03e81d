"""A plan says what the run then does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from darkmatter.descriptors import Requirement
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.runs.chosen import Chosen
from darkmatter.runs.job import Job
from darkmatter.runs.plan import plan_job
from darkmatter.runs.suite import make_suite
from darkmatter_plugins import world

SAE = str(world.sae_paths()["topk-w256-k16"])
MATCHED = {"pca-k…": "make", "pca_topk-k…": "make", "random-k…": "make"}


@pytest.fixture
def job(tmp_path):
    """Makes jobs over random activations."""

    def job(saes, *, d=128, needs=None, others=None, **fields):
        generator = torch.Generator().manual_seed(0)
        tensors = {"x": torch.randn(30, 20, d, generator=generator), **(others or {})}
        save_file(tensors, tmp_path / "x.safetensors")
        suite = make_suite(
            {
                "activations": str(tmp_path / "x.safetensors"),
                "saes": saes,
                "evaluators": ["reconstruction"],
                **fields,
            }
        )
        made = Job.of(suite, host(), Progress(), 1)
        if needs is not None:
            (chosen,) = made.chosen
            evaluator = replace(chosen.evaluator, requires=frozenset(needs))
            vars(made)["chosen"] = [Chosen(replace(chosen.owned, descriptor=evaluator), chosen.config)]
        return made

    return job


def planned(job, out, **how):
    """Action by SAE."""
    return {each.sae: each.action for each in plan_job(job, out, **how).results}


def test_a_wrong_size_fails_already_in_the_plan(job, tmp_path):
    """An SAE of another width than the activations is said to fail, with both sizes."""
    found = plan_job(job({"mine": SAE}, d=8), tmp_path / "out").results

    assert (found[0].sae, found[0].evaluator, found[0].action) == ("mine", "all", "fail")
    assert "d_in = 128" in found[0].reason
    assert "8 features" in found[0].reason


def test_a_stated_hook_is_not_said_to_be_the_files(job, tmp_path):
    """Where sizes differ, the message says whose word the hook point is."""
    stated = plan_job(job({"mine": {"ref": SAE, "hook": "blocks.1.hook_mlp_out"}}, d=8), tmp_path / "out")
    recorded = plan_job(job({"mine": SAE}, d=8), tmp_path / "out")

    assert "blocks.1.hook_mlp_out was stated, the file does not decide" in stated.results[0].reason
    assert "the file says blocks." in recorded.results[0].reason


def test_a_failing_sae_is_one_row_of_the_plan(job, tmp_path):
    """What hinders every evaluator is said once, not once for each of them."""
    several = job({"mine": SAE}, d=8, evaluators=["reconstruction", "density"])
    found = plan_job(several, tmp_path / "out").results

    assert [(each.sae, each.evaluator) for each in found if each.action == "fail"] == [("mine", "all")]


def test_baselines_and_matched_controls_are_reused(job, tmp_path):
    """Once everything is there, baselines and controls are named and reused; recompute makes them."""
    saes = {"mine": SAE, "zero": "baseline:zero"}
    before = planned(job(saes), tmp_path)
    outcome = job(saes).run(tmp_path)
    after = planned(job(saes), tmp_path)

    assert before == {"mine": "make", "zero": "make", "mean": "make", **MATCHED}
    assert set(after) == {result.sae.name for result in outcome.results}
    assert sorted(name.split("-k")[0] for name in after if "-k" in name) == ["pca", "pca_topk", "random"]
    assert not set(MATCHED) & set(after)
    assert set(after.values()) == {"reuse"}
    assert planned(job(saes), tmp_path, recompute=True) == dict.fromkeys(after, "make")


def test_the_plan_knows_which_saes_an_evaluator_measures(job, tmp_path):
    """Restricted evaluators are planned for their SAEs alone, as the run makes them."""
    restricted = job(
        {"a": SAE, "b": SAE},
        evaluators=["reconstruction", "density"],
        only={"density": ["b"]},
        controls=False,
    )
    pairs = [("a", "reconstruction"), ("b", "reconstruction"), ("b", "density")]

    assert [(each.sae, each.evaluator) for each in plan_job(restricted, tmp_path).results] == pairs
    outcome = restricted.run(tmp_path)
    assert {(each.sae.name, each.evaluator.name) for each in outcome.results} == set(pairs)


def test_another_seed_makes_baselines_again(job, tmp_path):
    """A control fitted on other rows is not taken for the wanted one."""
    saes = {"zero": "baseline:zero"}
    job(saes).run(tmp_path)

    assert planned(job(saes), tmp_path)["zero"] == "reuse"
    assert planned(job(saes, seed=1), tmp_path)["zero"] == "make"


@pytest.mark.parametrize(
    ("need", "tensor"),
    [
        (Requirement.LABELS, "labels"),
        (Requirement.LABELS_OR_MODEL, "labels"),
        (Requirement.TOKENS, "tokens"),
        (Requirement.LOSS, "loss"),
    ],
)
def test_needs_are_compared_with_what_is_there(job, tmp_path, need, tensor):
    """An evaluator is skipped exactly where the file lacks what it needs, as in the run."""
    values = torch.zeros(30, 20) if tensor == "loss" else torch.zeros(30, 20, dtype=torch.int64)

    def action(**how):
        result = plan_job(job({"mine": SAE}, needs={need}, **how), tmp_path / "out").results[0]
        return result.action, result.reason

    assert action() == ("skip", f"needs {need.value}")
    assert action(others={tensor: values})[0] == "make"


def test_skipped_results_stay_skipped(job, tmp_path):
    """A skipped result that is stored is said to be skipped, not reused."""
    saes, needs = {"mine": SAE}, {Requirement.LABELS}
    job(saes, needs=needs, controls=False).run(tmp_path)
    assert planned(job(saes, needs=needs, controls=False), tmp_path) == {"mine": "skip"}


def test_controls_do_not_take_the_names_of_saes(job, tmp_path):
    """An SAE called like a control keeps its name in the plan, and the control gets another."""
    found = planned(job({"mean": SAE}), tmp_path / "out")
    assert found == {"mean": "make", "mean-control": "make", **MATCHED}


def test_a_family_is_planned_as_it_is_made(job, tmp_path):
    """What its SAEs have counts as there, and an SAE's own arithmetic is part of the key, as in the run."""
    saes = {"a": SAE, "b": {"ref": SAE, "dtype": "float64"}}
    family = {"evaluators": ["error_scaling"], "controls": False}
    assert planned(job(saes, **family), tmp_path) == {"family:activations": "make"}
    job(saes, **family).run(tmp_path)
    assert planned(job(saes, **family), tmp_path) == {"family:activations": "reuse"}


@pytest.fixture
def model_job(tmp_path, monkeypatch):
    """Makes jobs over the embedded model."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    text = world.write_stories(tmp_path / "stories.jsonl", 30, latents=False)

    def model_job(saes, **fields):
        suite = {
            "model": str(world.model_path()),
            "text": {"path": str(text), "context_length": 64, "contexts": 30},
            "saes": saes,
            "evaluators": ["reconstruction"],
            **fields,
        }
        return Job.of(make_suite(suite), host(), Progress(), 1)

    return model_job


def test_an_sae_of_another_hook_fails_already_in_the_plan(model_job, tmp_path):
    """What the run refuses for its hook point is no work to be done."""
    mlp = str(world.sae_paths()["mlp-topk-w1024-k16"])
    job = model_job({"good": SAE, "mlp": mlp}, hooks=["blocks.2.hook_resid_post"], controls=False)
    results = {each.sae: each for each in plan_job(job, tmp_path / "out").results}

    assert results["good"].action == "make"
    assert results["mlp"].action == "fail"
    assert "--hook blocks.2.hook_mlp_out" in results["mlp"].reason


def test_the_plan_of_two_hooks_agrees_with_the_run(model_job, tmp_path):
    """Controls are named by hook point where there are several, and found again."""
    saes = {"resid": SAE, "mlp": str(world.sae_paths()["mlp-topk-w1024-k16"])}
    outcome = model_job(saes).run(tmp_path / "out")
    found = planned(model_job(saes), tmp_path / "out")

    assert set(found) == {result.sae.name for result in outcome.results}
    assert set(found.values()) == {"reuse"}
