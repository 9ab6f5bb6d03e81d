"""What we ask of ``huggingface_hub``, and its errors in plain words.

It is imported when it is used: it reads HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE then, and
keeps its own cache and tokens.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from darkmatter.errors import ItemError, is_out_of_room
from darkmatter.fetching.record import COMMIT, git_blob_of, sha256_of
from darkmatter.fetching.select import RemoteFile
from darkmatter.printable import printable

_TRANSPORT = {"httpx", "httpx2", "httpcore", "requests", "urllib3"}
"""Libraries whose errors say that a server could not be reached; it depends on hub's version which."""


def listing(repo: str, revision: str | None) -> tuple[str, list[RemoteFile]]:
    """(commit, files) of a repository at a branch, tag or commit (None: its main branch)."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    commit = str(info.sha)
    if not _is_commit(commit):
        message = f"{repo}: the hub names the commit {commit[:80]!r}; expected 40 hex digits."
        raise ItemError(message)
    return commit, [_remote(sibling) for sibling in info.siblings or ()]


def download(
    repo: str, commit: str, file: RemoteFile, advance: Callable[[int], None], *, force: bool
) -> tuple[Path, Path]:
    """(file, snapshot folder) of one file at one commit; one that is there already is not fetched again."""
    from huggingface_hub import hf_hub_download

    options: dict[str, Any] = {"force_download": force}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
        options["tqdm_class"] = _bar(advance)
    came = hf_hub_download(repo, file.path, revision=commit, **options)
    # The settings may name a folder relative to where we are now; the record is read elsewhere too.
    found = Path(os.path.abspath(came))  # noqa: PTH100 - resolve() would follow links, out of the snapshot
    snapshot = found.parents[file.path.count("/")]
    if found != snapshot.joinpath(*file.path.split("/")) or snapshot.name != commit:
        message = f"{repo}: {file.path} came to {found}, which is not in the snapshot of {commit}."
        raise ItemError(message)
    return found, snapshot


def damage(file: RemoteFile, path: Path) -> str | None:
    """How a downloaded file differs from what the hub states of it."""
    size = path.stat().st_size
    if size != file.size:
        return f"has {size} bytes; the hub states {file.size}"
    if file.sha256 is not None and sha256_of(path) != file.sha256:
        return "its SHA-256 is not the one that the hub states"
    if file.sha256 is None and file.git_blob is not None and git_blob_of(path) != file.git_blob:
        return "its git hash is not the one that the hub states"
    return None


@contextlib.contextmanager
def said_plainly(reference: str, repo: str, revision: str | None) -> Iterator[None]:
    """Raise what the hub's library raises inside as an ``ItemError`` that says what to do."""
    from huggingface_hub import constants, errors

    endpoint = printable(re.sub(r"//[^/@]*@", "//", constants.ENDPOINT))  # without a password
    if constants.HF_HUB_OFFLINE:
        message = (
            f"{reference}: HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, so nothing is downloaded. Unset "
            f"it and run this again: darkmatter fetch {reference}"
        )
        raise ItemError(message)
    try:
        with _quiet():
            yield
    except ItemError:
        raise
    except errors.GatedRepoError as error:
        message = (
            f"{reference}: access to {repo} is restricted. Accept its conditions at {endpoint}/{repo}, log "
            "in with `hf auth login` (or set HF_TOKEN), and run this again."
        )
        raise ItemError(message) from error
    except errors.RepositoryNotFoundError as error:
        message = (
            f"{reference}: {endpoint} has no repository {repo!r} that you may read. Check its spelling; if "
            "it is private, log in with `hf auth login` (or set HF_TOKEN)."
        )
        raise ItemError(message) from error
    except errors.RevisionNotFoundError as error:
        message = f"{reference}: {repo} has no branch, tag or commit {revision!r}."
        raise ItemError(message) from error
    except errors.HFValidationError as error:
        message = f"{reference}: {repo!r} cannot be the name of a repository ({printable(str(error))})."
        raise ItemError(message) from error
    except Exception as error:
        said = _trouble(error, endpoint)
        if said is None:
            raise
        message = f"{reference}: {said} What has come is kept; run this again to go on."
        raise ItemError(message) from error


def _trouble(error: Exception, endpoint: str) -> str | None:
    """A sentence for trouble with the network, the server or the disk; None for anything else."""
    from huggingface_hub import errors

    root = type(error).__module__.partition(".")[0]
    response = getattr(error, "response", None)
    if isinstance(error, errors.HfHubHTTPError) and response is not None:
        return f"{endpoint} answered with status {response.status_code}."
    if is_out_of_room(error):
        return f"the disk cannot take the files ({error})."
    unreachable = root in _TRANSPORT or isinstance(error, ConnectionError | TimeoutError)
    if unreachable or isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"{endpoint} cannot be reached ({type(error).__name__}); check the network, the proxy settings "
            "and HF_ENDPOINT."
        )
    if isinstance(error, OSError):
        return f"a file could not be downloaded or stored ({printable(str(error))})."
    return None


def _remote(sibling: Any) -> RemoteFile:
    lfs = sibling.lfs
    size = sibling.size if sibling.size is not None else getattr(lfs, "size", None)
    return RemoteFile(
        path=str(sibling.rfilename),
        size=None if size is None else int(size),
        sha256=None if lfs is None else str(lfs.sha256),
        git_blob=None if lfs is not None or not _is_commit(str(sibling.blob_id)) else str(sibling.blob_id),
    )


def _is_commit(text: str) -> bool:
    return re.fullmatch(COMMIT, text) is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars of the library's own: names from the hub reach a terminal only through ``printable``."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _bar(advance: Callable[[int], None]) -> type[Any]:
    """A progress bar that shows nothing and reports bytes."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            advance(int(n or 0))

    return Bar
