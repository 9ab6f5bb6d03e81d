"""The simulator ``local`` against probabilities computed apart from it."""

import pytest
import torch

from darkmatter.api import Fragments, ItemError
from darkmatter_plugins.simulators.local import run
from darkmatter_plugins.simulators.local.descriptor import LocalConfig
from darkmatter_plugins.simulators.local.run import make, simulation_prompt


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model of two layers over bytes."""
    return save_byte_model(tmp_path_factory.mktemp("models") / "bytes")


def save_byte_model(folder, positions=2048, alphabet=None):
    """A random Llama whose tokens are bytes (or only those of ``alphabet``)."""
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet()) if alphabet is None else alphabet
    vocabulary = {letter: n for n, letter in enumerate(["<s>", "</s>", "<unk>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        vocab_size=len(vocabulary),
        bos_token_id=0,
        eos_token_id=1,
    )
    model = hf.LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


def test_predictions_are_expected_digits(folder, words, fragments):
    """Σ d p_d · 10/9 over the ten digits, from one forward pass per token written out by hand."""
    import transformers as hf

    shown = fragments(n=2)
    simulation = make(LocalConfig(model=str(folder)), words).fit(shown)
    predicted = simulation(shown.tokens)

    model = hf.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    digits = [tokenizer.convert_tokens_to_ids(str(d)) for d in range(10)]
    for row, tokens in zip(predicted, shown.tokens, strict=True):
        text = simulation_prompt(simulation.explanation)
        for expected, token in zip(row, tokens, strict=True):
            text += f" w{token}\t"
            ids = torch.tensor([[0, *tokenizer(text)["input_ids"]]])
            with torch.no_grad():
                chances = model(ids).logits[0, -1].double().softmax(dim=0)[digits]
            level = sum(d * float(p) for d, p in enumerate(chances)) / float(chances.sum()) * 10 / 9
            assert float(expected) == pytest.approx(level, rel=1e-4)
            text += "?\n"
    assert predicted.dtype == torch.float64
    assert predicted.std() > 0


def test_a_digit_that_is_certain_is_its_level(folder, words, fragments, monkeypatch):
    """A model that always marks 9 predicts 10, one that always marks 0 predicts 0."""
    maker = make(LocalConfig(model=str(folder)), words)
    simulation = maker.fit(fragments())
    for digit, level in ((9, 10.0), (0, 0.0)):
        wanted = maker.reader._digits[digit]

        class Certain:
            device = "cpu"

            def __call__(self, ids, wanted=wanted):
                logits = torch.zeros(*ids.shape, 259)
                logits[..., wanted] = 1e4
                return type("Output", (), {"logits": logits})

        monkeypatch.setattr(maker.reader, "_model", Certain())
        assert torch.equal(simulation(fragments().tokens), torch.full((4, 6), level, dtype=torch.float64))


def test_the_same_twice_is_the_same(folder, words, fragments):
    """Nothing is drawn: explanation and predictions repeat bit for bit, and the counts are told."""
    makers = [make(LocalConfig(model=str(folder)), words) for _ in range(2)]
    simulations = [maker.fit(fragments()) for maker in makers]
    one, other = (simulation(fragments().tokens) for simulation in simulations)

    assert simulations[0].explanation == simulations[1].explanation != ""
    assert torch.equal(one, other)
    assert makers[0].reader is makers[1].reader
    assert makers[0].usage().requests == 1 + 4


def test_the_explainer_sees_where_the_latent_fires(words, fragments, folder, monkeypatch):
    """The tokens of positive level stand in brackets."""
    maker = make(LocalConfig(model=str(folder), shown=2), words)
    seen = []
    monkeypatch.setattr(maker.reader, "continuation", lambda ids, count: seen.append(ids) or "seven\nmore")

    assert maker.fit(fragments()).explanation == "seven"
    text = maker.reader._tokenizer.decode(seen[0])
    assert "-  w6[ w7] w8 w0 w1 w2\n" in text
    assert text.count("\n- ") == 2


def test_what_does_not_fit_is_said(tmp_path, words, fragments):
    """A prompt longer than the model reads fails the latent with both lengths."""
    short = save_byte_model(tmp_path / "short", positions=64)
    with pytest.raises(ItemError, match="the model reads at most 64"):
        make(LocalConfig(model=str(short)), words).fit(fragments())


def test_a_vocabulary_without_digits_is_refused(tmp_path, words):
    """Where digits share a token, their probabilities say nothing."""
    letters = save_byte_model(tmp_path / "letters", alphabet=["a", "b"])
    with pytest.raises(ItemError, match="digit"):
        make(LocalConfig(model=str(letters)), words)


def test_only_folders_are_models(tmp_path, words):
    """Options already refuse a name, of which nothing is downloaded, and a folder without a model."""
    with pytest.raises(ValueError, match="downloads nothing"):
        LocalConfig(model="gpt2")
    with pytest.raises(ValueError, match=r"config\.json"):
        LocalConfig(model=str(tmp_path))
    unchecked = LocalConfig.model_construct(model="gpt2")
    with pytest.raises(ItemError, match="downloads nothing"):
        make(unchecked, words)
    assert run._reader.cache_info().maxsize == 1


def test_a_silent_latent_and_a_missing_tokenizer_are_errors(folder, words, fragments):
    """There is nothing to explain, or no text to read."""
    silent = Fragments(fragments().tokens, torch.zeros(4, 6), 4)
    with pytest.raises(ItemError, match="does not fire"):
        make(LocalConfig(model=str(folder)), words).fit(silent)
    with pytest.raises(ItemError, match="tokenizer"):
        make(LocalConfig(model=str(folder)), None)
