"""What one item's fault costs (itself), what a resume changes (nothing), what a key tells apart."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.errors import DarkmatterError
from darkmatter.plugins import Owned, host
from darkmatter.progress import Progress
from darkmatter.raw_activations import tensor_activations
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import Chosen, choose_evaluators
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine
from darkmatter.stream.spool import ShardSpool
from darkmatter_plugins import world

D = 6


def x(contexts: int = 60) -> torch.Tensor:
    return torch.randn(contexts, 20, D, generator=torch.Generator().manual_seed(0))


def relu(**options) -> dm.SAE:
    return dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D, **options)


class Quiet:
    """An evaluator that measures nothing; its faults are planted by subclasses."""

    def __init__(self, config) -> None:
        self.config = config

    def collectors(self):
        return ()

    def run(self, ctx):
        return ctx.output()


class FailsToSay(Quiet):
    def collectors(self):
        raise RuntimeError("planted in collectors")


class FailsToRun(Quiet):
    def run(self, ctx):
        raise MemoryError("planted in run")


class FailsToConnect(Quiet):
    def run(self, ctx):
        raise ConnectionError("planted in run")


class SaysItTwice(Quiet):
    def run(self, ctx):
        out = ctx.output()
        for _ in range(2):
            out.plain("m", 1.0, why_no_interval="planted in run")
        return out


class GivesNothingToCollect(Quiet):
    def collectors(self):
        return (StartsNothing(),)

    def run(self, ctx):
        ctx.collected(next(iter(ctx.subject.encoded.broken)))
        return ctx.output()


class StartsNothing:
    """A collector whose start forgets to return it: planted in start."""

    def start(self, info):
        return None


class GivesATensor(Quiet):
    def run(self, ctx):
        out = ctx.output()
        out.tables["weights"] = {"tensor": torch.zeros(3)}
        return out


class Spec:
    """A collector that fails at one step."""

    def __init__(self, step: str) -> None:
        self.step = step

    def start(self, info):
        self._at("start")
        return self

    def _at(self, step):
        if step == self.step:
            raise RuntimeError(f"planted in {step}")

    def update(self, chunk, rows):
        self._at("update")

    def merge(self, other):
        self._at("merge")

    def finish(self):
        self._at("finish")


def collecting(step: str):
    spec = Spec(step)

    class Collects(Quiet):
        def collectors(self):
            return (spec,)

        def run(self, ctx):
            ctx.collected(spec)
            return ctx.output()

    return Collects


FAULTS = {
    "collectors": FailsToSay,
    "run": FailsToRun,
    "tensor": GivesATensor,
    "connection": FailsToConnect,
    "twice": SaysItTwice,
    "nothing": GivesNothingToCollect,
    **{step: collecting(step) for step in ("start", "update", "merge", "finish")},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_evaluators_fault_costs_its_own_result_only(fault):
    """Whatever a plugin's evaluator or collector raises, at whatever step, the others' results stand."""
    planted = api.Evaluator(
        name="planted",
        summary="Fails.",
        implementation=FAULTS[fault],
        config=api.Config,
        metrics=(api.Metric("m", "planted"),),
    )
    chosen = [
        *choose_evaluators(host(), {"reconstruction": {}}),
        Chosen(Owned(planted, "planted", "planted", "1"), api.Config()),
        *choose_evaluators(host(), {"density": {}}),
    ]
    engine = make_engine(
        tensor_activations(x()), Analysis(), chosen, host=host(), results=None, jobs=2, progress=Progress()
    )
    found = engine.run([SAEItem("relu", "planted", relu)], [], ControlPolicy(automatic=False))
    status = {result.evaluator.name: result.status for result in found}
    reason = next(result.reason for result in found if result.evaluator.name == "planted")

    assert status == {"reconstruction": "ok", "planted": "failed", "density": "ok"}
    assert any(word in reason for word in ("planted in", "serialize", "twice", "NoneType"))


def test_functions_of_other_sizes_are_other_saes(tmp_path):
    """Two function SAEs that differ only in latents that never fire do not share a result."""

    def padded(d_sae):
        encode = lambda z: torch.nn.functional.pad(z.relu(), (0, d_sae - D))
        return dm.SAE.from_functions(encode, lambda c: c[:, :D], d_in=D, d_sae=d_sae)

    results = dm.evaluate({"a": padded(10), "b": padded(20)}, activations=x(), out=tmp_path)
    keys = {(r.sae.name, r.key) for r in results if r.evaluator.name == "reconstruction"}

    assert len({key for _, key in keys}) == 2


def test_functions_that_keep_state_are_refused():
    """Codes are decoded again later: a decode that relies on the last encode would be silently wrong."""
    last = {}

    def encode(z):
        last["scale"] = float(z.norm())
        return z / last["scale"]

    def decode(codes):
        return codes.relu() * last["scale"]

    stateful = dm.SAE.from_functions(encode, decode, d_in=D, d_sae=D)
    whole = dm.SAE.from_functions(encode, decode, d_in=D, d_sae=D, reconstruct=torch.relu)
    frame = dm.evaluate({"bad": stateful, "good": whole}, activations=x(), jobs=1, chunk_rows=200).to_pandas()
    failed = frame[(frame.sae == "bad") & (frame.status == "failed")]

    assert "keep state" in failed.reason.iloc[0]
    assert not (frame[frame.sae == "good"].status == "failed").any()


def test_functions_that_keep_state_give_the_same_for_any_workers(monkeypatch):
    """Encode and decode of one chunk are not interleaved with another worker's."""
    from darkmatter import shards

    monkeypatch.setattr(shards, "SHARD_TOKENS", 60)
    last = {}

    def encode(z):
        last["scale"] = float(z.norm())
        return z.relu() / last["scale"]

    def fvu(jobs):
        sae = dm.SAE.from_functions(encode, lambda c: c * last["scale"], d_in=D, d_sae=D)
        found = dm.evaluate({"s": sae}, activations=x(), jobs=jobs, evaluators=["reconstruction"])
        return found.to_pandas().set_index("metric").value["fvu"]

    assert fvu(1) == fvu(4)


@pytest.mark.parametrize("setting", ["newer", "older"])
def test_torchs_precision_settings_come_back(setting):
    """Whichever of torch's two settings a user has, a run works without TF32 and puts it back."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        if setting == "newer":
            matmul.fp32_precision = "tf32"
        else:
            torch.set_float32_matmul_precision("high")
        wanted = matmul.fp32_precision
        dm.evaluate({"s": relu()}, activations=x(), evaluators=["density"])
        assert matmul.fp32_precision == wanted
    finally:
        torch.set_float32_matmul_precision("highest")
        matmul.fp32_precision = before


def test_a_baseline_that_has_no_target_is_a_row():
    """Beside a transcoder, controls that reconstruct their input are skipped with a reason, every time."""
    given = {
        "t": dm.SAE.from_functions(torch.relu, lambda c: c[:, :3], d_in=D, d_sae=D, d_out=3),
        "mean": "baseline:mean",
    }
    for saes in (given, {"mean": "baseline:mean"}):
        frame = dm.evaluate(saes, activations=x(), y=x()[..., :3]).to_pandas()
        mean = frame[frame.sae == "mean"]
        assert set(mean.status) == {"skipped"}
        assert "its own target" in mean.reason.iloc[0]


def test_a_full_disk_is_no_saes_fault(tmp_path, monkeypatch):
    """Without room for the spool the run stops, keeps what is finished and says how to go on."""

    def full(self, file, codes, reconstruction=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ShardSpool, "append", full)
    path = tmp_path / "x.safetensors"
    from safetensors.torch import save_file

    save_file({"x": x()}, path)
    with pytest.raises(DarkmatterError, match=r"No space left.*run the same command again"):
        dm.run(activations=str(path), saes={"zero": "baseline:zero"}, out=tmp_path / "out")


@pytest.fixture
def suite(tmp_path, monkeypatch) -> dict:
    """Two SAEs at two hook points of the embedded model."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    saes = world.sae_paths()
    return {
        "model": str(world.model_path()),
        "text": {
            "path": str(world.write_stories(tmp_path / "stories.jsonl", 30, latents=False)),
            "context_length": 64,
            "contexts": 40,
        },
        "hooks": ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"],
        "saes": {"one": str(saes["layer1-topk-w1024-k16"]), "two": str(saes["topk-w256-k16"])},
        "evaluators": ["reconstruction"],
    }


def files(out: Path) -> set[str]:
    return {str(p.relative_to(out)) for p in out.rglob("*.json")}


@pytest.mark.parametrize("kept", ["one", "two", "one two"])
def test_a_resume_neither_loses_nor_renames_controls(suite, tmp_path, kept):
    """However much was finished, the controls are those of the whole run, at each hook point."""
    out = tmp_path / "out"
    dm.run(**suite, out=out)
    whole = files(out)
    for folder in out.iterdir():
        if folder.is_dir() and folder.name not in kept.split():
            shutil.rmtree(folder)
    dm.run(**suite, out=out)

    assert files(out) == whole
    assert len(whole) == 10


def test_bad_activations_at_one_hook_cost_that_hook_only(suite, tmp_path, monkeypatch):
    """NaN at one hook point fails the SAEs there; the other hook point is evaluated."""
    from darkmatter.cache.store import CachedActivations

    read = CachedActivations.read

    def broken(self, hook, start, stop):
        rows = read(self, hook, start, stop)
        return rows * float("nan") if hook.startswith("blocks.1") else rows

    monkeypatch.setattr(CachedActivations, "read", broken)
    frame = dm.run(**suite, controls=False).to_pandas().set_index("sae")

    assert "NaN or infinity" in frame.reason["one"]
    assert (frame.loc["two"].status == "ok").all()


def test_saes_that_do_not_fit_together_are_loaded_by_turn(suite, monkeypatch):
    """Weights beyond the budget are let go and loaded again, and the numbers are the same."""
    from darkmatter.runs import engine, loaded

    whole = dm.run(**suite).to_pandas().set_index(["sae", "metric"]).value
    monkeypatch.setattr(engine, "GROUP_BYTES", 1)
    monkeypatch.setattr(loaded.Budget, "take", lambda self, wanted: False)
    turns = dm.run(**suite).to_pandas().set_index(["sae", "metric"]).value

    assert turns.equals(whole)


def test_a_run_whose_saes_all_fail_says_why_without_running_the_model(suite, tmp_path, capsys):
    """A mistyped path is not answered with advice about hook points, nor after minutes of work."""
    from darkmatter.cli.main import main

    arguments = ["--model", suite["model"], "--text", suite["text"]["path"], "--sae", str(tmp_path / "gone")]
    for hook in ([], ["--hook", "blocks.1.hook_resid_post"]):
        status = main(["run", *arguments, *hook, "--out", str(tmp_path / "o")])
        shown = capsys.readouterr()
        assert status == 1
        assert "no such file" in shown.err + shown.out
        assert "no hook point" not in shown.err
        assert not (tmp_path / "cache").exists()
