"""Options of ``darkmatter run``: none is ignored, and a bad one is wrong usage."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from darkmatter.cli.commands.run import IN_SUITE, OF_MODELS
from darkmatter.cli.commands.run import plan as plan_command
from darkmatter.cli.commands.run import run as run_command
from darkmatter.cli.main import main
from darkmatter_plugins import world

BESIDE_A_SUITE = {"suite", "out", "jobs", "executor", "recompute", "all_metrics", "as_json"}

OPTIONS = {
    "model": ["--model", "m"],
    "revision": ["--revision", "main"],
    "model_dtype": ["--model-dtype", "float32"],
    "processing": ["--processing", "raw"],
    "text": ["--text", "t.txt"],
    "text_field": ["--text-field", "text"],
    "ctx": ["--ctx", "12"],
    "contexts": ["--contexts", "400"],
    "bos": ["--bos", "never"],
    "packing": ["--packing", "packed"],
    "activations": ["--activations", "x.safetensors"],
    "hooks": ["--hook", "blocks.0.hook_resid_post"],
    "saes": ["--sae", "somewhere"],
    "adapter": ["--adapter", "saelens"],
    "overrides": ["--override", "bos=true"],
    "evaluators": ["--evaluators", "density"],
    "settings": ["--set", "density.active_above=1"],
    "skip_first": ["--skip-first", "0"],
    "skip_last": ["--skip-last", "0"],
    "split": ["--split", "context"],
    "dtype": ["--dtype", "float32"],
    "device": ["--device", "cpu"],
    "seed": ["--seed", "0"],
    "controls": ["--no-controls"],
}
"""Every option that a suite file says too, mostly at its default: given is given."""


@pytest.fixture
def suite(tmp_path):
    """A suite file over random activations with one SAE of the embedded world."""
    x = torch.randn(30, 20, 128, generator=torch.Generator().manual_seed(0))
    save_file({"x": x}, tmp_path / "acts.safetensors")
    sae = world.sae_paths()["topk-w256-k16"]
    path = tmp_path / "suite.yaml"
    path.write_text(
        f"activations: acts.safetensors\nsaes: {{mine: '{sae}'}}\nevaluators: {{reconstruction: {{}}}}\n"
    )
    return path


@pytest.fixture
def call(tmp_path, capsys):
    """Run the command line; gives (status, stdout, stderr as one line)."""

    def call(*arguments):
        out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
        status = main([*map(str, arguments), *out])
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return call


@pytest.mark.parametrize("command", [run_command, plan_command], ids=["run", "plan"])
def test_every_option_is_either_in_the_suite_or_beside_it(command):
    """A new option cannot be forgotten: it says where it stands in a suite file, or works with one."""
    named = {p.name for p in command.params if p.expose_value}
    assert named - BESIDE_A_SUITE == set(IN_SUITE) == set(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_an_option_that_a_suite_decides_is_refused(call, suite, name):
    """No option is ignored without a word beside a suite file; the message says where to put it."""
    option, *_ = OPTIONS[name]
    status, out, err = call("run", suite, *OPTIONS[name])

    assert (status, out) == (2, "")
    shown = "--controls/--no-controls" if name == "controls" else option
    assert f"{shown} cannot be combined with the suite file" in err
    assert f"{shown} as `{IN_SUITE[name]}`" in err


def test_options_of_the_run_itself_work_with_a_suite(call, suite):
    """Where results go, how many threads, what is shown and whether to go on are not the suite's."""
    arguments = [suite, "--jobs", 1, "--executor", "local", "--recompute", "--all"]

    assert call("run", *arguments)[0] == 0
    status, out, _ = call("plan", *arguments, "--json")
    assert status == 0
    assert {result["action"] for result in json.loads(out)["results"]} == {"make"}


@pytest.mark.parametrize("name", OF_MODELS)
def test_activations_refuse_what_only_a_model_has(call, suite, name):
    """An option about a text or a model is refused beside --activations, even at its default."""
    option, *_ = OPTIONS[name]
    acts = suite.with_name("acts.safetensors")
    status, _, err = call("run", "--activations", acts, "--sae", "x", *OPTIONS[name])

    assert status == 2
    assert f"--activations and {option} cannot be combined" in err


@pytest.mark.parametrize("device", ["gpu", "cuda:999", "cpu:0", "auto"])
def test_a_device_that_is_not_there_names_those_that_are(call, suite, device):
    """A bad device is wrong usage, not a failure of every SAE."""
    status, _, err = call("run", "--activations", suite, "--sae", "x", "--device", device)

    assert status == 2
    assert "analysis.device" in err
    assert "it has cpu" in err
    assert "unexpected" not in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks about machines without CUDA")
def test_cuda_where_there_is_none(call, suite):
    """Asking for CUDA on a machine without it is wrong usage."""
    status, _, err = call("run", "--activations", suite, "--sae", "x", "--device", "cuda")

    assert status == 2
    assert "no such device; it has cpu" in err


@pytest.mark.parametrize("command", ["run", "plan", "demo"])
@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_results_do_not_go_into_a_file(call, suite, command, below):
    """``--out FILE`` is said in one paragraph before anything is loaded."""
    arguments = [] if command == "demo" else [suite]
    status, _, err = call(command, *arguments, "--out", suite.with_name("acts.safetensors") / below)

    assert status == 2
    assert "acts.safetensors is a file; results go to a folder" in err


@pytest.mark.parametrize("command", ["run", "demo"])
def test_no_threads_are_refused(call, suite, command):
    """``--jobs 0`` does not silently mean all cores."""
    status, _, err = call(command, *([] if command == "demo" else [suite]), "--jobs", 0)

    assert status == 2
    assert "--jobs" in err


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ray", "no Ray executor"),
        ("ray:localhost:6379", "--jobs"),
        ("locla", "Did you mean 'local'?"),
    ],
)
def test_executors_that_do_not_exist(call, suite, value, message):
    """Only the local executor exists; asking for Ray says so and what to do."""
    status, _, err = call("run", suite, "--executor", value)

    assert status == 2
    assert message in err


def test_the_one_executor_is_listed_as_threads(capsys):
    """``list executors`` says what the local executor does: threads, not processes."""
    assert main(["list", "executors"]) == 0
    assert "threads" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("saes", "message"),
    [
        (["a=x", "a=y"], "two --sae are called 'a'"),
        (["x/y", "x/y"], "'x/y' is given more than once"),
        (["baseline:mean", "baseline:mean"], "NAME=baseline:mean"),
    ],
)
def test_two_saes_need_two_names(call, suite, saes, message):
    """The same name, or the same SAE without a name, twice is wrong usage."""
    acts = suite.with_name("acts.safetensors")
    status, _, err = call("run", "--activations", acts, *(f"--sae={sae}" for sae in saes))

    assert status == 2
    assert message in err


def test_an_unknown_demo_names_the_nearest(call, tmp_path):
    """``demo --suite`` with a misspelt name writes nothing and names the one there is."""
    status, _, err = call("demo", "--suite", "demmo")

    assert status == 2
    assert "Did you mean 'demo'" in err
    assert not (tmp_path / "out").exists()


def test_the_suite_of_the_demo_runs_from_anywhere(tmp_path, monkeypatch):
    """The suite file that the demo leaves names its text by a reference that no folder changes."""
    from darkmatter.runs.suite import read_suite

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("darkmatter.cli.commands.run.execute", lambda *_a, **_k: 0)
    assert main(["demo", "--out", "d"]) == 0
    monkeypatch.chdir("/")

    text = read_suite(tmp_path / "d" / "suite" / "suite.yaml").text
    assert text.path == "demo:stories"


def stated(*arguments):
    """The overrides of each SAE as ``run`` would take them."""
    from darkmatter.cli.options import overrides_by_name

    return {name: o.given() for name, o in overrides_by_name(arguments, ["v1.k", "plain"]).items()}


def test_overrides_are_of_one_sae_or_of_all():
    """A name may hold dots and may end like a field; what is said by name wins."""
    assert stated("v1.k.norm_factor=0.3", "k=4", "v1.k.k=5") == {
        "v1.k": {"norm_factor": 0.3, "k": 5},
        "plain": {"k": 4},
    }
    assert stated("model=a=b.c") == {"v1.k": {"model": "a=b.c"}, "plain": {"model": "a=b.c"}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hok=x", "no override 'hok'. Did you mean 'hook'"),
        ("good.hok=x", "no override 'hok'. Did you mean 'hook'"),
        ("god.hook=x", "no --sae 'god' that is read from files. Did you mean 'good'"),
        ("mean.hook=x", "no --sae 'mean' that is read from files"),
        ("good.bos=ture", "expected true or false"),
        ("good.hook", "expected [NAME.]FIELD=VALUE"),
    ],
)
def test_bad_overrides_name_the_nearest(call, suite, override, message):
    """An unknown field, name or value, or a control, is wrong usage before anything is loaded."""
    acts = suite.with_name("acts.safetensors")
    saes = ("--sae", "good=somewhere", "--sae", "mean=baseline:mean")
    status, out, err = call("run", "--activations", acts, *saes, "--override", override)

    assert (status, out) == (2, "")
    assert message in err


def test_an_override_needs_an_sae(call, suite):
    """With nothing but controls there is nothing to be said."""
    acts = suite.with_name("acts.safetensors")
    status, _, err = call("run", "--activations", acts, "--sae", "baseline:mean", "--override", "bos=true")

    assert status == 2
    assert "no --sae that is read from files" in err


def test_what_is_assumed_is_said_once_on_stderr(call, suite):
    """SAEs of which the same is assumed share a line; controls of which nothing is assumed have none."""
    acts = suite.with_name("acts.safetensors")
    sae = world.sae_paths()["topk-w1024-k8"]
    saes = ("--sae", f"one={sae}", "--sae", f"two={sae}", "--sae", "baseline:mean")
    arguments = (*saes, "--evaluators", "reconstruction", "--override", "two.model=other")
    status, out, err = call("run", "--activations", acts, *arguments)

    assert status == 0
    assert err.count("BOS policy not recorded") == 1
    assert "one, two: hook point not recorded" in err
    assert "two: model other was given by the user" in err
    assert "mean:" not in err
    assert "not recorded" not in out
