"""Requests to one OpenAI-compatible server: cached, counted, with the key kept out of everything."""

from __future__ import annotations

import json
import threading
import weakref
from typing import Any

from darkmatter import api
from darkmatter_plugins.simulators.endpoint.answers import UnreadableAnswer
from darkmatter_plugins.simulators.endpoint.descriptor import EndpointConfig
from darkmatter_plugins.simulators.endpoint.prompts import Messages
from darkmatter_plugins.simulators.endpoint.secret import Secret
from darkmatter_plugins.simulators.endpoint.spending import Answer, Spending, estimated_tokens

GIVE_UP_AFTER = 3
"""So many requests in a row without any answer: the server is dead, and no more are made."""

_LONGEST_REASON = 200


class Endpoint:
    """A server that completes chats.

    The key comes from the environment alone. It is taken out of every answer before anything else
    sees that, and errors of the client, which may quote it, are never chained to ours.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._secret = Secret(config.api_key_env)
        self._client = _client(config, self._secret)
        weakref.finalize(self, self._client.close)
        self._answers = api.CachedRecords("answers")
        self._slots = threading.BoundedSemaphore(config.concurrency)
        self._unanswered = 0
        self.spending = Spending(config)

    def ask(self, model: str, messages: Messages) -> str:
        """The text of the answer, from the cache where the same was asked before.

        Raises:
            ItemError: there is no answer, it was cut off, or a limit is reached.
        """
        config = self._config
        body = {
            "model": model,
            "messages": messages,
            "temperature": 0,
            "seed": config.seed,
            config.limit_field: config.max_output_tokens,
        }
        key = api.content_hash({"version": 1, "base_url": config.base_url, "body": body})
        answer = _kept(self._answers.get(key))
        cached = answer is not None
        if answer is None:
            fresh = self._request(body)
            answer = _kept(self._answers.keep(key, vars(fresh))) or fresh
        self.spending.use(answer, cached=cached)
        if answer.finish == "length":
            message = f"the answer was cut off at max_output_tokens ({config.max_output_tokens})"
            raise UnreadableAnswer(message)
        return answer.text

    def redacted(self, text: str) -> str:
        """Text without the key."""
        return self._secret.out_of(text)

    def _request(self, body: dict[str, Any]) -> Answer:
        """Ask the server, within the limits."""
        with self._slots:
            if self._unanswered >= GIVE_UP_AFTER:
                message = (
                    f"{self._config.base_url} gave no answer {self._unanswered} times in a row; given up"
                )
                raise api.ItemError(message)
            expected = estimated_tokens(body["messages"])
            reserved = (expected, self._config.max_output_tokens)
            self.spending.reserve(reserved)
            answer = None
            try:
                answer = self._read(self._send(body), expected)
            finally:
                self.spending.settle(reserved, answer)
            return answer

    def _send(self, body: dict[str, Any]) -> str:
        """The body of the server's response; the client itself retries and waits as the server asks."""
        import openai

        reason = ""
        try:
            response = self._client.chat.completions.with_raw_response.create(**body)
            self._unanswered = 0
            return str(response.text)
        except openai.APIStatusError as error:
            self._unanswered = 0
            reason = f"answered with status {error.status_code}: {_said(error)}"
            if error.status_code in {401, 403}:
                reason += f" The key is read from the environment variable {self._config.api_key_env}."
        except openai.APITimeoutError:
            self._unanswered += 1
            reason = f"was silent for {self._config.timeout:g} s"
        except openai.APIConnectionError as error:
            self._unanswered += 1
            reason = f"cannot be reached: {error.__cause__ or error}"
        except Exception as error:  # noqa: BLE001 - whatever a strange server makes the client raise
            reason = f"gave an answer that cannot be read ({type(error).__name__})"
        # Raised outside of the handlers: an error of the client in the chain might hold the key.
        raise api.ItemError(self._shown(f"{self._config.base_url} {reason}"))

    def _read(self, text: str, expected: int) -> Answer:
        """The answer in a response; token counts that the server does not tell are estimated."""
        try:
            data = json.loads(text)
            choice = data["choices"][0]
            content, finish = choice["message"]["content"], choice.get("finish_reason")
            usage = data.get("usage") or {}
            counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
            content = None
        if not isinstance(content, str):
            message = f"{self._config.base_url} gave no chat completion with text: {text[:80]!r}"
            raise api.ItemError(self._shown(message))
        content = self.redacted(content)
        estimates = [expected, estimated_tokens([{"content": content}])]
        sent, made = (
            count if type(count) is int and count >= 0 else estimate
            for count, estimate in zip(counts, estimates, strict=True)
        )
        return Answer(content, "length" if finish == "length" else "stop", sent, made)

    def _shown(self, message: str) -> str:
        """A message without the key, in one line, safe to show."""
        line = self.redacted(" ".join(api.printable(message).split()))
        return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def _client(config: EndpointConfig, secret: Secret) -> Any:
    try:
        import openai
    except ImportError:
        message = "the simulator 'endpoint' needs the openai client: pip install sae-darkmatter[openai]"
        raise api.ItemError(message) from None
    client = openai.OpenAI(
        api_key=secret.value,
        base_url=config.base_url,
        timeout=config.timeout,
        max_retries=config.retries,
        # Redirects would carry the text to a server that nobody named.
        http_client=openai.DefaultHttpxClient(follow_redirects=False),
    )
    # The client takes these from the environment by itself, whichever server it talks to.
    client.organization = client.project = client.admin_api_key = None
    secret.guard_logs()
    return client


def _kept(record: Any) -> Answer | None:
    """The answer in a record of the cache; None where it holds anything else."""
    try:
        answer = Answer(**record)
    except TypeError:
        return None
    counts = (answer.input_tokens, answer.output_tokens)
    sound = all(isinstance(each, str) for each in (answer.text, answer.finish))
    return answer if sound and all(type(each) is int for each in counts) else None


def _said(error: Any) -> str:
    """What the server said with an error status."""
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return str(said or error.response.text or "nothing")
