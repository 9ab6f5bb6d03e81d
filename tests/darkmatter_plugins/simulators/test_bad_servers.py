"""Dead, slow, busy, broken and hostile servers: a reason for each latent, and the key nowhere."""

import json
import logging
import socket
import sys
import time
import traceback

import pytest
import torch

from darkmatter.api import ItemError
from darkmatter_plugins.simulators.endpoint.client import GIVE_UP_AFTER
from darkmatter_plugins.simulators.endpoint.descriptor import EndpointConfig
from darkmatter_plugins.simulators.endpoint.run import make

pytest.importorskip("openai", reason="the openai client is not installed")


@pytest.fixture
def key(server):
    """The key that the environment holds."""
    import os

    return os.environ["OPENAI_API_KEY"]


@pytest.fixture
def simulators(server, words):
    """A function that makes simulators of the stand-in server."""
    return lambda **options: make(
        EndpointConfig(**{"base_url": server.url, "model": "m", "retries": 0, "timeout": 5} | options), words
    )


def reason_of(maker, fragments):
    """Why a latent cannot be simulated."""
    with pytest.raises(ItemError) as caught:
        maker.fit(fragments)(fragments.tokens)
    return str(caught.value)


def unused_port():
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_dead_server_fails_each_latent_and_is_soon_left_alone(simulators, fragments):
    """Each latent has its reason; after a few silent requests no more are made."""
    maker = simulators(base_url=f"http://127.0.0.1:{unused_port()}/v1")
    reasons = [reason_of(maker, fragments(latent)) for latent in range(GIVE_UP_AFTER + 2)]

    assert all("cannot be reached" in reason for reason in reasons[:GIVE_UP_AFTER])
    assert all("given up" in reason for reason in reasons[GIVE_UP_AFTER:])
    assert maker.usage().requests == GIVE_UP_AFTER


def test_a_slow_server_fails_the_latent_in_time(simulators, fragments, server):
    """Whoever is silent for longer than the timeout is not waited for."""
    server.answer = lambda body, headers: time.sleep(1.0)
    began = time.monotonic()
    reason = reason_of(simulators(timeout=0.2), fragments())

    assert "was silent for 0.2 s" in reason
    assert time.monotonic() - began < 0.9


def test_a_busy_server_is_asked_again_when_it_says(simulators, fragments, server):
    """429 with retry-after and 500 are no failures as long as attempts are left."""
    wait = {"Retry-After": "0.3"}
    scripted = iter(
        [(429, wait, '{"error": {"message": "slow down"}}'), (500, {"Retry-After": "0.1"}, "oops")]
    )
    understanding = server.answer
    server.answer = lambda body, headers: next(scripted, None) or understanding(body, headers)
    began = time.monotonic()
    maker = simulators(retries=2)

    assert maker.fit(fragments()).explanation == "fires on w7"
    assert time.monotonic() - began >= 0.3
    assert len(server.bodies) == 3
    assert maker.usage().requests == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((500, {}, "oops"), "status 500: oops"),
        ((429, {}, '{"error": {"message": "quota used up"}}'), "status 429: quota used up"),
        ((401, {}, '{"error": {"message": "no"}}'), "variable OPENAI_API_KEY"),
        ((307, {"Location": "http://127.0.0.1:1/v1/chat/completions"}, ""), "status 307"),
        ((200, {}, '{"choices": [{"mess'), "no chat completion"),
        ((200, {}, "[]"), "no chat completion"),
        ((200, {}, '{"choices": []}'), "no chat completion"),
        ((200, {}, '{"choices": [{"message": {"content": null}}]}'), "no chat completion"),
        ((200, {"Content-Type": "text/html"}, "<html>it works</html>"), "no chat completion"),
        ((200, {}, "[" * 100_000), "no chat completion"),
        ((200, {"Content-Length": "5000"}, '{"choices": []}'), ""),
    ],
    ids=str,
)
def test_what_is_no_answer_is_a_reason_and_not_kept(simulators, fragments, server, cache, given, reason):
    """Error states, cut and strange bodies fail the latent, and the next run asks again."""
    understanding, server.answer = server.answer, lambda body, headers: given
    assert reason in reason_of(simulators(timeout=1), fragments())
    assert list(cache.rglob("*.json")) == []
    server.answer = understanding
    assert simulators().fit(fragments()).explanation == "fires on w7"


@pytest.mark.parametrize(
    ("content", "finish", "reason"),
    [
        ("I would rather not", "stop", "not the JSON object"),
        ('{"1": 1}', "stop", "keys are not 1 to 6"),
        ('{"1": 1, "2"', "length", "cut off at max_output_tokens"),
    ],
)
def test_a_model_that_answers_nonsense_fails_the_latent(
    simulators, fragments, server, content, finish, reason
):
    """What the model said is kept, so that the same run again gives the same failure without a request."""
    explaining = server.answer

    def nonsense(body, headers):
        given = explaining(body, headers)
        if given["choices"][0]["message"]["content"] != "fires on w7":
            given["choices"][0] |= {"finish_reason": finish, "message": {"content": content}}
        return given

    server.answer = nonsense
    reasons = [reason_of(simulators(), fragments(n=3)) for _ in range(2)]

    assert reason in reasons[0]
    assert reasons[0] == reasons[1]
    assert len(server.bodies) == 1 + 3


@pytest.mark.parametrize("method", ["listing", "detection"])
def test_one_answer_of_the_wrong_shape_costs_its_fragments_alone(simulators, fragments, server, method):
    """They have no prediction; the others keep theirs."""
    understanding = server.answer
    scripted = iter(
        [
            understanding,
            understanding,
            lambda body, headers: {"choices": [{"message": {"content": "no"}}]},
            understanding,
        ]
    )
    server.answer = lambda body, headers: next(scripted, understanding)(body, headers)
    tokens = torch.arange(24 * 2).view(24, 2) % 48
    predicted = simulators(method=method).fit(fragments())(tokens)
    lost = slice(1, 2) if method == "listing" else slice(10, 20)

    assert predicted[lost].isnan().all()
    assert int(predicted.isnan().sum()) == predicted[lost].numel()
    assert predicted.nan_to_num().sum() > 0


def test_the_key_comes_from_the_variable_that_is_named_and_no_other(
    simulators, fragments, server, monkeypatch
):
    """A server gets neither the key of another nor what the client would add by itself."""
    for name in ("OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "not-for-you")
    simulators(api_key_env="NO_SUCH_KEY").fit(fragments())
    monkeypatch.setenv("MY_KEY", "sk-mine-123456\n")
    simulators(api_key_env="MY_KEY", seed=1).fit(fragments())

    sent = [headers["authorization"] for headers in server.headers]
    assert sent == ["Bearer none", "Bearer sk-mine-123456"]
    assert "not-for-you" not in str(server.headers)


def test_a_key_that_no_header_can_hold_is_an_error_without_it(simulators, monkeypatch):
    """The reason names the variable and not what it holds."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-schlüssel-123")
    with pytest.raises(ItemError, match="OPENAI_API_KEY") as caught:
        simulators()
    assert "schl" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("place", ["explanation", "levels", "broken"])
def test_a_key_that_the_server_echoes_is_nowhere(
    simulators, fragments, server, cache, key, caplog, capfd, status, place
):
    """Not in explanations, reasons, tracebacks, logs, outputs or the cache, wherever the server puts it."""
    explaining = server.answer

    def echo(body, headers):
        own = headers["authorization"]
        assert own == f"Bearer {key}"
        if place == "levels" and "State in one short sentence" in body["messages"][0]["content"]:
            return explaining(body, headers)
        good = {"choices": [{"message": {"content": f"your key is {own}"}, "finish_reason": "stop"}]}
        bad = {"error": {"message": f"{own} {'x' * 190}{key}", "code": key, "type": own}}
        text = json.dumps(good if status == 200 else bad)
        return (status, {"X-Echo": own, "X-Request-Id": own}, f"{own} {text}" if place == "broken" else text)

    server.answer = echo
    seen = []
    with caplog.at_level(logging.DEBUG):
        for maker in (simulators(), simulators()):
            try:
                simulation = maker.fit(fragments())
                seen.append(simulation.explanation)
                simulation(fragments().tokens)
            except ItemError as error:
                chain = [repr(each) for each in (error.__cause__, error.__context__)]
                seen += [str(error), *chain, "".join(traceback.format_exception(error))]
            seen += [str(maker.usage()), maker.config.model_dump_json()]
    seen += [path.read_text() for path in cache.rglob("*") if path.is_file()]
    seen += [caplog.text, *capfd.readouterr()]

    assert server.bodies
    assert "[key]" in caplog.text  # the libraries did log what the server echoed
    assert "cannot be reached" not in str(seen)
    assert [text for text in seen if key in text] == []


def test_without_the_client_the_reason_says_what_to_install(words, monkeypatch):
    """The extra is named where it is missing."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ItemError, match=r"'endpoint' needs .* pip install sae-darkmatter\[openai\]"):
        make(EndpointConfig(base_url="http://127.0.0.1:1/v1", model="m"), words)
