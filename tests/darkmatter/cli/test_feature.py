"""The command ``darkmatter feature``."""

import pytest
import torch
from safetensors.torch import save_file

pytest_plugins = ["darkmatter.testing.fixtures"]


@pytest.fixture
def files(tmp_path):
    """Activations with tokens, and an SAE whose third latent never fires."""
    from darkmatter import api
    from darkmatter.sae.saved import save_sae

    tokens = torch.randint(6, (60, 10), generator=torch.Generator().manual_seed(7))
    x = torch.stack([(tokens == 3).float() * 2, (tokens >= 4).float(), torch.zeros(60, 10)], dim=2)
    save_file({"x": x, "tokens": tokens}, tmp_path / "x.safetensors")
    sae = api.CanonicalSAE(W_enc=torch.eye(3), W_dec=torch.eye(3), activation=api.Relu())
    save_sae(sae, tmp_path / "sae")
    return tmp_path


@pytest.fixture
def folder(files, run_cli):
    """A results folder that knows the SAE as ``mine``, but none of its latents."""
    source = ("--activations", files / "x.safetensors", "--sae", f"mine={files / 'sae'}")
    done = run_cli("run", *source, "--evaluators", "density", "--out", files / "out", "--no-controls")
    assert done.status == 0, done.stderr
    return files / "out"


def test_a_name_in_a_results_folder_is_measured_with_its_settings(run_cli, folder):
    """The card says what the latent fires on; the folder is left as it was; twice gives the same."""
    before = sorted(path.name for path in folder.rglob("*"))
    done = run_cli("feature", "mine", "0", "--results", folder)
    assert done.status == 0, done.stderr
    assert "# Latent 0" in done.stdout
    assert "100.0% of its activation is on '#3'" in done.stdout
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert run_cli("feature", "mine", "0", "--results", folder).stdout == done.stdout


def test_a_reference_with_its_activations_needs_no_results(run_cli, files):
    """The same card from files alone, as a page where the file's name says so."""
    page = files / "card.html"
    done = run_cli("feature", files / "sae", "0", "1", "--activations", files / "x.safetensors", "-o", page)
    assert (done.status, done.stdout) == (0, ""), done.stderr
    assert page.read_text().count("<article>") == 2


def test_a_reference_with_its_model_and_text_tells_what_the_model_does(run_cli):
    """With a model the card has effects on the prediction, and edges from an upstream SAE that is named."""
    source = ("--model", "demo:model", "--text", "demo:stories", "--ctx", "64", "--contexts", "12")
    upstream = ("--upstream", "demo:layer1-topk-w1024-k16")
    few = ("effect_contexts=1", "context_positions=1", "edges=2", "random_edges=1")
    settings = [part for each in few for part in ("--set", each)]
    done = run_cli("feature", "demo:topk-w256-k16", "--sample", "1", *source, *upstream, *settings)
    assert done.status == 0, done.stderr
    for told in ("KL of the prediction without it", "token removed", "promoted", "layer1-topk-w1024-k16 "):
        assert told in done.stdout
    assert "Not measured" not in done.stdout


def test_measured_latents_are_shown_without_measuring_again(run_cli, files, folder):
    """Where the folder has the latent, the card is made of that and the activations are not read."""
    source = ("--activations", files / "x.safetensors", "--sae", f"mine={files / 'sae'}", "--no-controls")
    run_cli("run", *source, "--evaluators", "feature_effects", "--out", folder)
    (files / "x.safetensors").unlink()
    for arguments in (["0"], ["--sample", "2"]):
        done = run_cli("feature", "mine", *arguments, "--results", folder)
        assert done.status == 0, done.stderr
        assert "# Latent 0" in done.stdout


def test_a_dead_latent_names_the_next_command(run_cli, folder):
    """It has no card: exit status 1, the nearest that fire, and the cards of the others all the same."""
    done = run_cli("feature", "mine", "2", "1", "--results", folder)
    assert done.status == 1
    assert "Nearest that fire: 1, 0. Try `darkmatter feature mine 1`" in done.stderr
    assert "# Latent 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["mine", "3"], "3 latents, 0 to 2. Try `darkmatter feature mine 2`"),
        (["mien", "0"], "Did you mean 'mine'?"),
        (["mine"], "--sample N"),
        (["mine", "0", "--sample", "1"], "either INDEX"),
        (["mine", "0", "--text", "a.txt"], "--text cannot be combined"),
    ],
)
def test_wrong_usage_says_what_to_do(run_cli, folder, arguments, hint):
    """A wrong index, an unknown name and options that contradict each other are usage errors."""
    done = run_cli("feature", *arguments, "--results", folder)
    assert done.status == 2
    assert hint in done.stderr


def test_a_missing_results_folder_is_said(run_cli, tmp_path):
    """Without results there is a sentence on how to make them."""
    done = run_cli("feature", "mine", "0", "--results", tmp_path / "none")
    assert done.status == 2
    assert "there is no folder" in done.stderr


def test_two_folders_of_one_name_are_two_saes(run_cli, files):
    """The card is of the SAE asked for, not of an upstream one whose folder is called the same."""
    from darkmatter import api
    from darkmatter.sae.saved import save_sae

    wide = api.CanonicalSAE(W_enc=torch.eye(3, 5), W_dec=torch.eye(5, 3), activation=api.Relu())
    save_sae(wide, files / "up" / "sae")
    done = run_cli(
        *("feature", files / "sae", "0", "--upstream", files / "up" / "sae"),
        *("--activations", files / "x.safetensors"),
    )
    assert done.status == 0, done.stderr
    assert "3 latents" in done.stdout
    assert "5 latents" not in done.stdout


def test_an_sae_and_its_upstream_need_two_names(run_cli, files):
    """One name for both is refused, because one of them would hide the other."""
    both = ("feature", f"a={files / 'sae'}", "0", "--upstream", f"a={files / 'up'}")
    done = run_cli(*both, "--activations", files / "x.safetensors")
    assert done.status == 2
    assert "are both called 'a'" in done.stderr
