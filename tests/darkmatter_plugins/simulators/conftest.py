"""A stand-in for an OpenAI-compatible server, whose answers a test decides, and text with activations."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from darkmatter.api import Fragments

KEY = "sk-test-0123456789abcdef"


class Words:
    """A tokenizer whose token n is the word ``wN``."""

    bos = eos = None
    special = frozenset()

    def encode(self, texts):
        return [[int(word[1:]) for word in text.split()] for text in texts]

    def decode(self, tokens):
        return [f" w{token}" for token in tokens]


def completion(content, finish="stop", usage=(100, 10)):
    """The body of a chat completion."""
    message = {"role": "assistant", "content": content}
    counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": counts}


def is_explaining(body):
    """Whether a request asks for an explanation."""
    return "State in one short sentence" in body["messages"][0]["content"]


def material(body):
    """The numbered text in a request to predict."""
    return json.loads(body["messages"][1]["content"].partition("Material: ")[2])


def sensible(body, headers):
    """The answer of a model that has understood: the unit fires on w7, at level 9."""
    if is_explaining(body):
        return completion("fires on w7")
    asked = material(body)
    if all(isinstance(item, list) for item in asked.values()):
        return completion(json.dumps({number: int(" w7" in item) for number, item in asked.items()}))
    return completion(json.dumps({number: 9 * (item == " w7") for number, item in asked.items()}))


class StandIn:
    """The server; ``answer(body, headers)`` gives a body, or (status, headers, text)."""

    def __init__(self):
        self.answer = sensible
        self.bodies, self.headers = [], []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def _handler(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with stand_in.lock:
                    stand_in.bodies.append(body)
                    stand_in.headers.append(headers)
                    stand_in.at_once += 1
                    stand_in.most_at_once = max(stand_in.most_at_once, stand_in.at_once)
                given = stand_in.answer(body, headers)
                with stand_in.lock:
                    stand_in.at_once -= 1
                status, headers, text = given if isinstance(given, tuple) else (200, {}, json.dumps(given))
                try:
                    self.send_response(status)
                    kind = {"Content-Type": "application/json", "Content-Length": str(len(text.encode()))}
                    for name, value in (kind | headers).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(text.encode())
                except (BrokenPipeError, ConnectionResetError):
                    pass

        return Handler


@pytest.fixture
def server(monkeypatch):
    """A stand-in server; the key is in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    stand_in = StandIn()
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def words():
    """The tokenizer of the fragments."""
    return Words()


def fragments_of(latent=7, n=4, length=6):
    """Fragments of a latent that fires on the word of its number, 2.0 each time; all are top ones."""
    tokens = torch.arange(n * length).view(n, length) % 9
    return Fragments(tokens, 2.0 * (tokens == latent), n)


@pytest.fixture
def fragments():
    """A function that makes a latent's fragments."""
    return fragments_of
