"""The word-level tokenizer in Hugging Face format, and packing of stories into contexts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .grammar import stories
from .lexicon import vocabulary

PAD, UNK, BOS, EOS = "<pad>", "<unk>", "<bos>", "<eos>"
SPECIAL = (PAD, UNK, BOS, EOS)
CONTEXT = 128


def word_ids() -> dict[str, int]:
    """Token ids: the special tokens first, then the vocabulary in its fixed order."""
    return {word: index for index, word in enumerate((*SPECIAL, *vocabulary()))}


def build_tokenizer() -> Any:
    """A fast tokenizer that splits at spaces and punctuation and puts BOS first, as Llama's does."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    ids = word_ids()
    core = Tokenizer(WordLevel(ids, unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[.,?“”]"), "isolated")]
    )
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, ids[BOS])])
    # WordPiece's decoder puts a space before each word, not before . , ?; quotation marks are closed up next.
    core.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=True),
            decoders.Fuse(),
            decoders.Replace("“ ", "“"),
            decoders.Replace(" ”", "”"),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        pad_token=PAD,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, with a class name all versions know."""
    build_tokenizer().save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    del config["model_max_length"]  # only a huge number that stands for "not given"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def contexts(seed: int, length: int = CONTEXT) -> Iterator[list[int]]:
    """Token ids of endless contexts: BOS, then the stream of stories in which BOS also opens every story.

    A story may go on from one context to the next; no context has BOS twice at its start.
    """
    ids = word_ids()
    bos = ids[BOS]
    stream: list[int] = []
    for story in stories(seed):
        stream.append(bos)
        stream.extend(ids[word] for word in story.words)
        while len(stream) >= length:
            if stream[0] == bos:
                yield stream[:length]
                stream = stream[length:]
            else:
                yield [bos, *stream[: length - 1]]
                stream = stream[length - 1 :]
