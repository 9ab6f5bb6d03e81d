"""The demo's suites: what they run, and that they are suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkmatter.cli.main import main
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.runs.job import Job
from darkmatter.runs.suite import Suite, make_suite, read_suite
from darkmatter_plugins.evaluators import EVALUATORS
from darkmatter_plugins.world import FAMILY_HOOK, SAES
from darkmatter_plugins.world.suite import write_demo


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Suite]:
    """The demo as it is run, and paper.yaml as it is read."""
    folder: Path = tmp_path_factory.mktemp("demo")
    return make_suite(write_demo(folder)), read_suite(folder / "paper.yaml")


def test_the_demo_and_its_full_version_differ_in_budgets_alone(suites: tuple[Suite, Suite]) -> None:
    """Same model, text, SAEs and seed; paper.yaml has defaults, the world's data, two controls everywhere."""
    demo, paper = suites
    differ = {name for name in Suite.model_fields if getattr(demo, name) != getattr(paper, name)}

    assert differ == {"evaluators", "only", "saes"}
    assert list(demo.saes) == list(paper.saes)
    assert [name for name in demo.saes if demo.saes[name] != paper.saes[name]] == ["mean", "pca-k16"]
    assert list(demo.evaluators) == list(paper.evaluators)
    named = {"feature_recovery": "concepts", "feature_editing": "dataset", "concept_erasure": "dataset"}
    assert {name: list(options) for name, options in paper.evaluators.items() if options} == {
        name: [option] for name, option in named.items()
    }


def test_the_demo_runs_every_evaluator_on_every_shipped_sae(suites: tuple[Suite, Suite]) -> None:
    """No built-in evaluator and no shipped SAE is left out, and controls stand at the family's hook alone."""
    job = Job.of(suites[0], host(), Progress(), 1)

    assert {each.evaluator.name for each in job.chosen} == {each.name for each in EVALUATORS}
    assert [item.name for item in job.items] == [sae.name for sae in SAES]
    assert set(job.hooks()) == {sae.hook for sae in SAES}
    assert {item.hook for item in job.baselines} == {FAMILY_HOOK}
    assert all(chosen.only is None or chosen.only for chosen in job.chosen)


def test_the_demo_says_what_it_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options other than the defaults, and restrictions to some SAEs, are printed below the table."""
    monkeypatch.setattr("darkmatter.cli.commands.run.execute", lambda *_a, **_k: 0)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()

    assert "- ce_attribution: contexts = 48, controls = none" in printed.out
    assert "seeds = 1, latents = 30; measures only topk-w1024-k16" in printed.out
    assert "- error_decomposition" not in printed.out
    assert "paper.yaml" in printed.err
