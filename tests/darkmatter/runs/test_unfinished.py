"""A result that could not be finished stands, and the next run makes it again."""

import torch

from darkmatter import api
from darkmatter.plugins import Owned, host
from darkmatter.progress import Progress
from darkmatter.raw_activations import tensor_activations
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import Chosen
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine, open_results


class Asking:
    """Asks a server, which is there or not."""

    there = False

    def __init__(self, config):
        self.config = config

    def collectors(self):
        return ()

    def run(self, ctx):
        out = ctx.output()
        out.plain("answers", float(self.there), why_no_interval="a count")
        out.unfinished = "" if self.there else "the server is down"
        return out


ASKING = api.Evaluator(
    "asking", "Asks.", Asking, config=api.Config, metrics=(api.Metric("answers", "how many"),)
)


def run(out):
    """The result, how many were there already, and what the run warned of."""
    x = torch.randn(60, 4, 5, generator=torch.Generator().manual_seed(0))
    sae = api.CanonicalSAE(W_enc=torch.eye(5), W_dec=torch.eye(5), activation=api.Relu())
    with open_results(out) as results:
        engine = make_engine(
            tensor_activations(x), Analysis(), [Chosen(Owned(ASKING, "t", "t", "1"), api.Config())],
            host=host(), results=results, jobs=1, progress=Progress(),
        )  # fmt: skip
        (found,) = engine.run([SAEItem("a", "a", lambda: sae)], [], ControlPolicy(automatic=False))
    return found, engine.recorder.reused, engine.recorder.warnings


def test_it_is_kept_told_and_made_again(tmp_path, monkeypatch):
    """Numbers found so far are in the file with a warning; a later run replaces them and then keeps that."""
    found, _, warnings = run(tmp_path)
    assert (found.status, found.metrics[0].value) == ("ok", 0)
    assert warnings == ["a: unfinished: the server is down"]

    monkeypatch.setattr(Asking, "there", True)
    found, reused, warnings = run(tmp_path)
    assert (found.metrics[0].value, found.unfinished, reused, warnings) == (1, None, 0, [])
    assert run(tmp_path)[1] == 1
    assert len(list(tmp_path.glob("*/asking@*.json"))) == 1


def test_it_does_not_replace_one_that_is_finished(tmp_path, monkeypatch):
    """A server that goes down later costs nothing that is there."""
    monkeypatch.setattr(Asking, "there", True)
    run(tmp_path)
    monkeypatch.setattr(Asking, "there", False)
    found, reused, _ = run(tmp_path)
    assert (found.metrics[0].value, reused) == (1, 1)
