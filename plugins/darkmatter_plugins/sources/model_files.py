"""From a model's name to a folder of checked files, without loading anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from darkmatter import api, sources

_HUB = "hf:"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TOKENIZER_FILES = ("tokenizer*", "vocab.*", "merges.txt", "added_tokens.json", "special_tokens_map.json")
_NO_VOCABULARY = {"tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "merges.txt"}
# Weights only as safetensors: reading a stranger's pickle may run code.
_WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    *_TOKENIZER_FILES,
)
_UNWANTED = ("*/*", "consolidated*")


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder on this machine; ``commit`` where it came from the Hub."""

    folder: Path
    commit: str | None = None

    def fingerprint(self) -> str:
        """The Hub's commit, or a hash of configuration and weights."""
        if self.commit is not None:
            return self.commit
        paths = [self.folder / "config.json", *sorted(self.folder.glob("*.safetensors"))]
        return api.content_hash(*((path.name, api.file_hash(path)) for path in paths))

    def tokenizer_fingerprint(self) -> str:
        """The Hub's commit, or a hash of the tokenizer's files."""
        if self.commit is not None:
            return self.commit
        return api.content_hash(*((path.name, api.file_hash(path)) for path in self.tokenizer_files()))

    def tokenizer_files(self) -> list[Path]:
        """The files that make the tokenizer, at least one of them a vocabulary."""
        found = {path for pattern in _TOKENIZER_FILES for path in self.folder.glob(pattern)}
        if {path.name for path in found} <= _NO_VOCABULARY:
            # transformers would make an empty tokenizer without a word.
            message = (
                f"{self.folder}: has no tokenizer. Expected tokenizer.json (or vocab.json) beside the model."
            )
            raise api.UsageError(message)
        return sorted(path for path in found if path.is_file())


def find_model(spec: sources.ModelSpec) -> ModelFiles:
    """The folder of a model: on this machine if there is one of that name, else from the Hub.

    ``hf:NAME`` is the Hub's, whatever folders there are.
    """
    if spec.name.startswith(_HUB):
        return _from_hub(spec, spec.name.removeprefix(_HUB))
    folder = sources.embedded_path(spec.name) or Path(spec.name).expanduser()
    if folder.is_dir():
        if spec.revision is not None:
            message = f"{spec.name} is a folder, which has no revision {spec.revision!r}. Leave it out."
            raise api.UsageError(message)
        return ModelFiles(_checked(folder.resolve()))
    if folder.exists():
        message = f"{spec.name} is a file. Name the folder that holds config.json and *.safetensors."
        raise api.UsageError(message)
    if not _HUB_ID.fullmatch(spec.name):
        raise api.UsageError(_no_folder(folder))
    return _from_hub(spec, spec.name)


def _no_folder(folder: Path) -> str:
    """What to say of a folder that is not there."""
    parent = folder.parent
    if not parent.is_dir():
        return f"There is no model folder {folder}: {parent} does not exist either."
    siblings = [entry.parent.name for entry in parent.glob("*/config.json")]
    hint = api.did_you_mean(folder.name, siblings[:200]) if siblings else "No folder beside it holds a model."
    return f"There is no model folder {folder}. {hint}"


def _checked(folder: Path) -> Path:
    """The folder, if it holds a model that can be read safely."""
    if not (folder / "config.json").is_file():
        message = f"{folder}: has no config.json. Name a model folder in Hugging Face layout."
        raise api.UsageError(message)
    if not any(folder.glob("*.safetensors")):
        message = (
            f"{folder}: has no *.safetensors. Weights in other formats (.bin, .pt) are pickles, which may "
            "run code, and are not read: save the model again with save_pretrained."
        )
        raise api.UsageError(message)
    return folder


def _from_hub(spec: sources.ModelSpec, name: str) -> ModelFiles:
    """The folder of a Hub model, downloaded if it is not in Hugging Face's cache."""
    if not _HUB_ID.fullmatch(name):
        message = f"{spec.name}: expected hf:ORG/MODEL, a model of the Hugging Face Hub."
        raise api.UsageError(message)
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name,
            revision=spec.revision,
            allow_patterns=list(_WANTED),
            ignore_patterns=list(_UNWANTED),
        )
    except Exception as error:
        # The Hub's client has no common base class for offline, missing, gated and bad names.
        first = str(error).partition("\n")[0]
        no_folder = "" if spec.name.startswith(_HUB) else f"{_no_folder(Path(name))} "
        message = (
            f"{no_folder}As a Hub model {name} cannot be had{' either' if no_folder else ''}: {first} If "
            "this machine is offline, download the model where there is a network and name its folder."
        )
        raise api.UsageError(message) from error
    path = Path(folder)
    return ModelFiles(_checked(path), commit=path.name)
