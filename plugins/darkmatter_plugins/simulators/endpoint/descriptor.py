"""Options of the simulator ``endpoint``; imports neither torch nor a client."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from darkmatter import api

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


class EndpointConfig(api.Config):
    """Where text is sent, in which form, how fast, and at which cost at most."""

    base_url: str = Field(
        description="the server, such as http://localhost:8000/v1; text is sent nowhere else"
    )
    model: str = Field(min_length=1, description="the model that predicts activations")
    explainer: str | None = Field(None, description="the model that explains a latent; none: the same one")
    method: Literal["listing", "detection"] = Field(
        "listing", description="a level for each token, or for each fragment whether the latent fires"
    )
    shown: int = Field(5, ge=1, description="top fragments that the explainer is shown")
    concurrency: int = Field(4, ge=1, le=64, description="requests at the same time")
    timeout: float = Field(60, gt=0, description="seconds that the server may be silent")
    retries: int = Field(
        4, ge=0, le=20, description="further attempts, ever later, where the server is busy, broken or silent"
    )
    seed: int = Field(0, description="sent with each request, as is temperature 0")
    max_output_tokens: int = Field(2000, ge=16, description="longest answer")
    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="how the server calls the longest answer"
    )
    price_input: float | None = Field(None, ge=0, description="price of a million tokens sent")
    price_output: float | None = Field(None, ge=0, description="price of a million tokens answered")
    max_requests: int | None = Field(None, ge=0, description="most requests for one SAE")
    max_cost: float | None = Field(
        None, ge=0, description="highest cost of one SAE, in the unit of the prices"
    )
    api_key_env: str = Field("OPENAI_API_KEY", description="the environment variable that holds the key")

    @model_validator(mode="after")
    def _sound(self) -> EndpointConfig:
        # Checked here and not at the fields, whose errors show what was given: it may be a key.
        if _VARIABLE.fullmatch(self.api_key_env) is None:
            message = (
                "api_key_env names an environment variable (capitals, digits, _); a key has no place here"
            )
            raise ValueError(message)
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            message = "base_url must begin with http:// or https:// and a host"
            raise ValueError(message)
        if "@" in url.netloc or url.query or url.fragment:
            message = "base_url must not hold a user, a password or a query; keys come from api_key_env"
            raise ValueError(message)
        if (self.price_input is None) != (self.price_output is None):
            message = "price_input and price_output belong together"
            raise ValueError(message)
        if self.max_cost is not None and self.price_input is None:
            message = "max_cost needs price_input and price_output"
            raise ValueError(message)
        return self


SIMULATOR = api.Simulator(
    "endpoint",
    "A language model behind an OpenAI-compatible endpoint explains a latent and predicts its activations",
    "darkmatter_plugins.simulators.endpoint.run:make",
    config=EndpointConfig,
    reaches=(api.Reach("network"), api.Reach("money")),
)
