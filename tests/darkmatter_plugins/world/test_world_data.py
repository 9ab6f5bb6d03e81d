"""The shipped model and SAEs: small, readable without pickles, and as good as the docs say."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from darkmatter_plugins import world

torch = pytest.importorskip("torch")
DOC = Path(__file__).parents[3] / "docs" / "embedded-world.md"
NAMES = [sae.name for sae in world.SAES]
BY_NAME = {sae.name: sae for sae in world.SAES}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The shipped tokenizer."""
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(world.model_path(), local_files_only=True)


@pytest.fixture(scope="module")
def model() -> Any:
    """The shipped model."""
    pytest.importorskip("transformers")
    from darkmatter_plugins.world.activations import load_model

    return load_model(world.model_path())


def test_the_shipped_data_is_small_and_safe() -> None:
    """Everything shipped stays under 16 MB and in formats that run no code when read."""
    files = [path for path in world.data_dir().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 16_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".npz"}


def test_stories_survive_the_tokenizer(tokenizer: Any) -> None:
    """Text to tokens and back gives the text, one token a word after BOS, and no unknown words."""
    for story in islice(world.stories(9), 100):
        ids = tokenizer(story.text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.unk_token_id not in ids
        assert tuple(tokenizer.convert_ids_to_tokens(ids)[1:]) == story.words
        assert tokenizer.decode(ids, skip_special_tokens=True) == story.text


@pytest.mark.parametrize("kind", ["indirect_object", "pronoun"])
def test_minimal_pairs_have_equal_token_lengths(tokenizer: Any, kind: str) -> None:
    """Prompts of a pair line up token by token and differ where the pair says; answers are single tokens."""
    for pair in world.minimal_pairs(50, seed=2, kind=kind):
        a, b = (
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in (pair.clean, pair.corrupted)
        )
        assert len(a) == len(b)
        assert [i for i, (left, right) in enumerate(zip(a, b, strict=True)) if left != right] == [
            pair.differs_at
        ]
        assert len(tokenizer(pair.answer, add_special_tokens=False)["input_ids"]) == 1


def test_the_model_is_as_good_as_documented(model: Any) -> None:
    """The held-out loss of the shipped weights is the one in the docs."""
    from darkmatter_plugins.world.train_model import held_out_loss

    stated = re.search(r"Held-out loss, packed contexts \| ([0-9.]+)", DOC.read_text(encoding="utf-8"))
    assert stated is not None
    assert held_out_loss(model, 96) == pytest.approx(float(stated.group(1)), abs=0.04)


@pytest.mark.parametrize(("kind", "least"), [("indirect_object", 0.65), ("pronoun", 0.95)])
def test_the_model_knows_the_minimal_pairs(model: Any, tokenizer: Any, kind: str, least: float) -> None:
    """The model prefers the right answer to the wrong one: editing and erasure have something to change."""
    pairs = world.minimal_pairs(64, seed=4, kind=kind)
    right = 0
    for pair in pairs:
        ids = tokenizer(pair.clean, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(ids).logits[0, -1]
        answer, wrong = tokenizer.convert_tokens_to_ids([pair.answer, pair.wrong])
        right += bool(logits[answer] > logits[wrong])
    assert right / len(pairs) >= least


@pytest.mark.parametrize("name", NAMES)
def test_sae_files_have_the_documented_layout(name: str) -> None:
    """Every SAE's files are there, finite, and have the keys and shapes of their format."""
    sae, folder = BY_NAME[name], world.data_dir() / "saes" / BY_NAME[name].folder
    assert all((folder / file).is_file() for file in sae.files)
    shapes = _shapes(folder, sae)
    d, f = 128, sae.width
    if sae.layout == "sparsify":
        assert shapes == {"encoder.weight": (f, d), "encoder.bias": (f,), "W_dec": (f, d), "b_dec": (d,)}
        assert json.loads((folder / "layers.2/cfg.json").read_text())["k"] == sae.l0
    else:
        expected = {"W_enc": (d, f), "b_enc": (f,), "W_dec": (f, d), "b_dec": (d,)}
        assert shapes == expected | ({"threshold": (f,)} if sae.kind == "jumprelu" else {})
    if sae.layout == "saelens":
        config = json.loads((folder / "cfg.json").read_text())
        assert (config["architecture"], config["d_in"], config["d_sae"]) == (sae.kind, d, f)
        assert config["metadata"]["hook_name"] == sae.hook
        assert config.get("k") == (sae.l0 if sae.kind == "topk" else None)


def _shapes(folder: Path, sae: world.ShippedSae) -> dict[str, tuple[int, ...]]:
    np = pytest.importorskip("numpy")
    if sae.layout == "gemma_scope":
        with np.load(folder / "params.npz", allow_pickle=False) as file:
            tensors = {name: file[name] for name in file.files}
    else:
        safetensors = pytest.importorskip("safetensors.numpy")
        tensors = safetensors.load_file(folder / next(f for f in sae.files if f.endswith(".safetensors")))
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_sae_figures_are_those_of_the_docs(model: Any) -> None:
    """Reconstruction of two SAEs on few held-out contexts is near the documented FVU and L0."""
    from darkmatter_plugins.world.activations import collect
    from darkmatter_plugins.world.figures import measure, read_sae

    table = dict(
        re.findall(r"\| `([\w-]+)` \| `[\w.]+` \| ([0-9.]+ \| [0-9.]+)", DOC.read_text(encoding="utf-8"))
    )
    assert set(table) == set(NAMES)
    rows = collect(model, [world.FAMILY_HOOK], 64, world.HELD_OUT_SEED)[world.FAMILY_HOOK].double()
    train = torch.arange(len(rows)) < 0.6 * len(rows)
    for name in ("topk-w1024-k16", "gemma-jumprelu-w1024"):
        fvu, l0 = (float(value) for value in table[name].split(" | "))
        found = measure(read_sae(BY_NAME[name]), rows, train)
        assert found["fvu"] == pytest.approx(fvu, rel=0.2)
        assert found["l0"] == pytest.approx(l0, rel=0.1)


def test_paths_and_hooks_cover_the_catalogue() -> None:
    """Names are unique, each has a folder and a hook, and the family has five widths at one L0."""
    paths = world.sae_paths()
    assert len(NAMES) == len(set(NAMES)) == len(paths)
    assert set(world.sae_hooks()) == set(paths)
    assert all(path.is_dir() for path in paths.values())
    family = {
        s.width
        for s in world.SAES
        if (s.hook, s.kind, s.l0, s.layout) == (world.FAMILY_HOOK, "topk", 16, "saelens")
    }
    assert family == {256, 512, 1024, 2048, 4096}
    assert set(world.sae_paths("blocks.2.hook_mlp_out")) == {"mlp-topk-w1024-k16"}
