"""Tiny random Hugging Face models, each with a tokenizer of words."""

import os
from pathlib import Path

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"

WORDS = [
    "cat",
    "dog",
    "sat",
    "ran",
    "the",
    "a",
    "on",
    "mat",
    "and",
    "then",
    "big",
    "red",
    "saw",
    "it",
    "was",
    ".",
]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}


def save_tokenizer(folder):
    """A word-level tokenizer: 0 <s>, 1 </s>, 2 <unk>, then the words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<s>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL).save_pretrained(folder)


def build(architecture):
    """A random model of three layers, its norms' weights random too."""
    import transformers as hf

    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "vocab_size": 3 + len(WORDS)}
    wide = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
    }
    torch.manual_seed(0)
    if architecture == "gpt2":
        config = hf.GPT2Config(n_embd=16, n_layer=3, n_head=4, n_positions=32, **ids)
        model = hf.GPT2LMHeadModel(config)
    elif architecture == "llama":
        config = hf.LlamaConfig(**wide, intermediate_size=24, num_key_value_heads=2, **ids)
        model = hf.LlamaForCausalLM(config)
    elif architecture == "gemma2":
        config = hf.Gemma2Config(
            **wide, intermediate_size=24, num_key_value_heads=2, head_dim=4, sliding_window=6, **ids
        )
        model = hf.Gemma2ForCausalLM(config)
    else:
        model = hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**wide, intermediate_size=24, **ids))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A function from an architecture's name to the folder of its model."""
    folders = {}

    def folder_of(architecture):
        if architecture not in folders:
            folder = tmp_path_factory.mktemp("models") / architecture
            build(architecture).save_pretrained(folder)
            save_tokenizer(folder)
            folders[architecture] = folder
        return folders[architecture]

    return folder_of


@pytest.fixture(scope="session")
def story(tmp_path_factory):
    """A text of 80 documents over the tokenizer's words, with a word that it does not know."""
    generator = torch.Generator().manual_seed(1)
    words = [*WORDS, "zebra"]
    documents = [
        " ".join(words[i] for i in torch.randint(len(words), (5 + n % 30,), generator=generator))
        for n in range(80)
    ]
    path = tmp_path_factory.mktemp("text") / "story.txt"
    path.write_text("\n\n".join(documents))
    return path


@pytest.fixture(scope="session")
def real():
    """The folder of a real small model and text, where it is present."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "real"
    if not (folder / "stories260K").is_dir():
        pytest.skip("the real model is not on this machine")
    return folder
