"""A stand-in of the Hugging Face hub on 127.0.0.1, and commands that talk to it alone."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
LFS = (".safetensors", ".npz", ".pt", ".pth")


def commit_of(number: int) -> str:
    return f"{number:x}".rjust(40, "c")


@dataclass
class Repository:
    """Files by commit, and what each branch or tag means."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """A new commit of these files, to which the branch moves."""
        made = commit_of(len(self.commits) + 1)
        self.commits[made] = files
        self.names[branch] = made
        return made


@dataclass
class Hub:
    """What the stand-in has, what it was asked, and how it misbehaves."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    garbled: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    sizeless: set[str] = field(default_factory=set)
    address: str = ""

    def repository(self, name: str, files: dict[str, bytes] | None = None) -> Repository:
        made = self.repositories.setdefault(name, Repository())
        if files is not None:
            made.commit(files)
        return made

    def downloads(self) -> list[str]:
        """The files whose content was asked for, in order."""
        return [text.partition("/resolve/")[2].partition("/")[2] for text in self.requests if "GET" in text
                and "/resolve/" in text]  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    """The endpoints that huggingface_hub uses to look at and to download a repository."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_arguments):
        pass

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, *, body):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self.about(name, revision or "main")
        elif "/resolve/" in path:
            name, _, rest = path[1:].partition("/resolve/")
            revision, _, file = rest.partition("/")
            self.content(name, revision, file, body=body)
        else:
            self.refuse(404, "NotFound")

    def files(self, name, revision):
        """(commit, files), or None after an answer that there are none."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.refuse(401, "RepoNotFound")
            return None
        if repository.gated:
            self.refuse(403, "GatedRepo")
            return None
        commit = repository.names.get(revision, revision)
        if commit not in repository.commits:
            self.refuse(404, "RevisionNotFound")
            return None
        return commit, repository.commits[commit]

    def about(self, name, revision):
        found = self.files(name, revision)
        if found is not None:
            commit, files = found
            siblings = [sibling(path, content) for path, content in files.items()]
            for about in siblings:
                if about["rfilename"] in self.hub.sizeless:
                    del about["size"]
            self.send(200, json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode())

    def content(self, name, revision, file, *, body):
        found = self.files(name, revision)
        if found is None:
            return
        commit, files = found
        if file not in files:
            self.refuse(404, "EntryNotFound")
            return
        content, headers = files[file], {"X-Repo-Commit": commit, "ETag": f'"{etag(file, files[file])}"'}
        if file.endswith(LFS):
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        if file in self.hub.garbled:
            content = bytes([content[0] ^ 1]) + content[1:]
        if body and file in self.hub.broken:
            self.send(500, b"out of order")
            return
        self.send(200, content, headers, body=body)

    def refuse(self, status, code):
        self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def send(self, status, content, headers=None, *, body=True):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(content)


def etag(path, content):
    return hashlib.sha256(content).hexdigest() if path.endswith(LFS) else git_blob(content)


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sibling(path, content):
    """What the hub's API says of one file."""
    about = {"rfilename": path, "size": len(content), "blobId": git_blob(content)}
    if path.endswith(LFS):
        digest = hashlib.sha256(content).hexdigest()
        about["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 130}
    return about


@pytest.fixture
def hub():
    """A hub without repositories."""
    made = Hub()
    handler = type("OurHandler", (Handler,), {"hub": made})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Our cache, for this process and for the commands that it starts."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def darkmatter(hub, cache, tmp_path):
    """Runs the command with the stand-in as its hub."""
    # Proxies would stand between, and other tests set the hub's variables for the whole process.
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.upper().endswith("_PROXY") and not key.startswith("HF_")
    }
    settings = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
    }

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "darkmatter.cli.main", *map(str, arguments)],
            env={**inherited, **settings, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


def tree(folder: Path, prefix: str = "") -> dict[str, bytes]:
    """The files of a folder as a repository has them."""
    return {
        f"{prefix}{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def sample():
    """The files of a golden sample, below a folder of the repository."""

    def files(name, prefix=""):
        return tree(SAMPLES / name / "sae", prefix)

    return files
