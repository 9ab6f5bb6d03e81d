"""A run with SAEs that have codes and no reconstruction: what needs one is skipped, the rest is right."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

import darkmatter as dm
from darkmatter import api
from darkmatter.cli.main import main
from darkmatter.errors import ItemError
from darkmatter.plugins import Owned, host
from darkmatter.progress import Progress
from darkmatter.raw_activations import tensor_activations
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import Chosen, choose_evaluators
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem, hooks_of
from darkmatter.runs.job import Job, make_engine
from darkmatter.runs.plan import plan_job
from darkmatter.runs.suite import make_suite
from darkmatter.sae.load import load_sae

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
NAMES = ("circuit_tracer/cross_layer_jumprelu", "gemma_scope_2/clt")
NEEDS = "needs an SAE that reconstructs its target"
CONTEXTS = 40


def sample(name):
    """(path of the SAE, activations [contexts, positions, d], codes [positions, d_sae] of its library).

    Every context is the sample's inputs, so that any held-out contexts have the same firing rates.
    """
    folder = SAMPLES / name
    expected = load_file(folder / "expected.safetensors")
    path = folder / json.loads((folder / "golden.json").read_text())["path"]
    return path, expected["x"].repeat(CONTEXTS, 1, 1), expected["codes"]


def check_density(metrics, codes):
    """The metrics of `density`, by name, are those of the library's codes."""
    rate = (codes != 0).double().mean(dim=0)
    alive = rate > 0
    second, fourth = (codes[:, alive].double().pow(power).mean(dim=0) for power in (2, 4))
    assert metrics["alive"] == int(alive.sum())
    assert metrics["dead"] == int((~alive).sum())
    assert metrics["median_rate"] == pytest.approx(float(rate[alive].quantile(0.5)))
    assert metrics["dense_10pct"] == pytest.approx(float((rate > 0.1).double().mean()))
    assert metrics["median_kurtosis"] == pytest.approx(float((fourth / second**2).quantile(0.5)), rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_evaluate_measures_the_codes_and_skips_what_needs_more(name):
    """Density and L0 are those of the library's codes; the other evaluators say what they need."""
    path, x, codes = sample(name)
    results = {r.evaluator.name: r for r in dm.evaluate({"clt": str(path)}, activations=x, skip_first=0)}
    check_density({m.name: m.value for m in results["density"].metrics}, codes)
    assert results["density"].sae.l0 == pytest.approx(float((codes != 0).double().sum(dim=1).mean()))
    for evaluator in ("reconstruction", "error_decomposition"):
        assert (results[evaluator].status, results[evaluator].reason) == ("skipped", NEEDS)


def test_run_and_plan_agree(tmp_path, capsys):
    """`darkmatter run` gives density and skips the rest without failing, as `plan` says."""
    path, x, codes = sample(NAMES[0])
    save_file({"x": x.contiguous()}, tmp_path / "x.safetensors")
    suite = make_suite(
        {
            "activations": str(tmp_path / "x.safetensors"),
            "saes": {"clt": str(path)},
            "evaluators": ["density", "reconstruction"],
            "controls": False,
            "analysis": {"skip_first": 0},
        }
    )
    job, out = Job.of(suite, host(), Progress(), 1), tmp_path / "out"

    def planned():
        return {each.evaluator: (each.action, each.reason) for each in plan_job(job, out).results}

    before = planned()
    arguments = ["run", "--activations", str(tmp_path / "x.safetensors"), "--sae", f"clt={path}"]
    arguments += ["--evaluators", "density,reconstruction", "--skip-first", "0", "--no-controls"]
    assert main([*arguments, "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["table", str(out), "--format", "json", "--all"]) == 0
    rows = json.loads(capsys.readouterr().out)

    check_density({row["metric"]: row["value"] for row in rows if row["evaluator"] == "density"}, codes)
    assert before["density"][0] == "make"
    assert before["reconstruction"] == ("skip", NEEDS)
    assert planned()["density"][0] == "reuse"
    assert planned()["reconstruction"] == ("skip", NEEDS)


def test_it_is_evaluated_where_it_reads():
    """Nothing is predicted, so no targets are asked for, also where raw activations bring some."""
    path, x, codes = sample(NAMES[1])
    sae = load_sae(path)
    item = SAEItem("clt", "clt", lambda: sae)
    assert hooks_of(sae, item, {"x": 12, "y": 5}, "x") == ("x", "x")
    assert sae.hook_in == sae.hook_out == "blocks.1.mlp.hook_in"
    (result,) = dm.evaluate({"clt": sae}, activations=x, y=x[..., :5], evaluators="density", skip_first=0)
    check_density({m.name: m.value for m in result.metrics}, codes)


@dataclass(frozen=True)
class Peek:
    """A collector that asks for what is not there; ``what`` is reconstruction or error."""

    what: str

    def start(self, info):
        return Peeking(self.what)


@dataclass
class Peeking:
    what: str
    seen: list = field(default_factory=list)

    def update(self, chunk, rows):
        getattr(chunk, self.what)

    def merge(self, other):
        pass

    def finish(self):
        return self


class Curious:
    """An evaluator that does not say that it needs a reconstruction; ``what`` is set by subclasses."""

    what = "error"

    def __init__(self, config):
        pass

    def collectors(self):
        return (Peek(self.what),)

    def run(self, ctx):
        ctx.collected(Peek(self.what))
        return ctx.output()


class AsksForTheReconstruction(Curious):
    what = "reconstruction"


class AsksLater(Curious):
    def collectors(self):
        return ()

    def run(self, ctx):
        ctx.collect([Peek(self.what)], "test")
        return ctx.output()


def evaluated(evaluator, path, x):
    """Results by evaluator: of this one and of density."""
    chosen = [
        Chosen(Owned(evaluator, "planted", "planted", "1"), api.Config()),
        *choose_evaluators(host(), {"density": {}}),
    ]
    store, analysis = tensor_activations(x), Analysis(skip_first=0)
    engine = make_engine(store, analysis, chosen, host=host(), results=None, jobs=2, progress=Progress())
    items = [SAEItem("clt", str(path), lambda: load_sae(path))]
    return {r.evaluator.name: r for r in engine.run(items, [], ControlPolicy(automatic=False))}


@pytest.mark.parametrize("implementation", [Curious, AsksForTheReconstruction, AsksLater])
def test_a_chunk_says_why_it_has_no_reconstruction(implementation):
    """An evaluator that forgot to say what it needs fails with the SAE's own reason, and density stands."""
    curious = api.Evaluator("curious", "Peeks.", implementation, config=api.Config, metrics=())
    path, x, codes = sample(NAMES[0])
    results = evaluated(curious, path, x)
    assert results["curious"].status == "failed"
    assert "It is layer 1 of a cross-layer transcoder" in results["curious"].reason
    check_density({m.name: m.value for m in results["density"].metrics}, codes)


class Absent(Curious):
    """Would be found out if any of it were asked to collect."""

    started: ClassVar[list] = []

    def collectors(self):
        self.started.append("collectors")
        return ()


def test_a_skipped_evaluator_collects_nothing():
    """The collectors of an evaluator that will be skipped do not ride the pass."""
    needs = frozenset({api.Requirement.RECONSTRUCTION})
    absent = api.Evaluator("absent", "Needs more.", Absent, config=api.Config, metrics=(), requires=needs)
    path, x, _ = sample(NAMES[0])
    assert evaluated(absent, path, x)["absent"].reason == NEEDS
    assert Absent.started == []


class Unknown(dm.SAE):
    """Codes alone, of functions whose weights nobody knows."""

    reconstructs = False
    no_reconstruction = "It has none."
    fingerprint = None

    def __init__(self, d, scale):
        self.d_in = self.d_out = self.d_sae = d
        self.hook_in = self.hook_out = None
        self.metadata, self.assumptions, self.scale = api.SAEMetadata(), (), scale

    def encode(self, x):
        return api.Codes.from_dense(torch.relu(x * self.scale))

    def decode(self, codes):
        raise ItemError(self.no_reconstruction)

    def reconstruct(self, x):
        raise ItemError(self.no_reconstruction)


def test_unknown_functions_are_known_by_their_codes():
    """Without a fingerprint of its own, an SAE with codes alone is told from another by what it encodes."""
    x = torch.randn(30, 10, 4, generator=torch.Generator().manual_seed(0))

    def fingerprint(scale):
        (result,) = dm.evaluate({"mine": Unknown(4, scale)}, activations=x, evaluators="density")
        assert result.status == "ok"
        return result.sae.fingerprint

    assert fingerprint(1.0) == fingerprint(1.0) != fingerprint(2.0)
