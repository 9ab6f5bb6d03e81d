"""Where the model of the simulator ``local`` lies; imports no torch, because options are checked by it."""

from __future__ import annotations

from pathlib import Path

from darkmatter import api, sources
from darkmatter_plugins.sources.model_files import ModelFiles, find_model


def local_model(folder: str) -> ModelFiles:
    """The files of a model folder on this machine.

    Raises:
        ItemError: there is none, or it holds no model with a tokenizer.
    """
    if not Path(folder).expanduser().is_dir():
        message = f"there is no model folder {folder}; the simulator 'local' downloads nothing"
        raise api.ItemError(message)
    try:
        files = find_model(sources.ModelSpec(name=folder))
        files.tokenizer_files()
    except api.UsageError as error:
        raise api.ItemError(str(error)) from None
    return files
