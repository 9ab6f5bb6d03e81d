"""SAEs saved as the weights of two linear layers, of which only a name says model and layer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from darkmatter import api
from darkmatter_plugins.adapters._names import match_in_path
from darkmatter_plugins.adapters._unsaid import DATASET


@dataclass(frozen=True)
class TwoLayers:
    """How one publisher names the layers, and its files or repositories.

    Attributes:
        format: the adapter's name.
        encoder, decoder: names of the layers; each has a weight and a bias, as nn.Linear keeps them.
        publisher: who published the model whose name the pattern finds.
        pattern: the name of a file or of a repository's folder; its groups are model and layer.
        example: a name that matches it.
    """

    format: str
    encoder: str
    decoder: str
    publisher: str
    pattern: re.Pattern[str]
    example: str

    @property
    def tensors(self) -> set[str]:
        """Names of the four tensors."""
        return {f"{layer}.{part}" for layer in (self.encoder, self.decoder) for part in ("weight", "bias")}

    def named(self, view: api.FileView, name: str) -> re.Match[str] | None:
        """The match of a published name, of the file or of a folder above it."""
        return match_in_path(view, name, self.pattern)

    def load(
        self,
        view: api.FileView,
        name: str,
        *,
        context_length: int | None,
        unsaid: tuple[api.Assumption, ...],
    ) -> api.SAE:
        """Codes f = relu(x W_enc + b_enc), x̂ = f W_dec + b_dec; the input has no bias subtracted.

        ``unsaid`` follows what is said here of model and hook point.
        """
        weights = view.weights(name)
        b_enc, b_dec = weights.take(f"{self.encoder}.bias", None), weights.take(f"{self.decoder}.bias", None)
        d_in, d_sae = b_dec.shape[0], b_enc.shape[0]
        model, hook, assumptions = self._place(view, name)
        sae = api.CanonicalSAE(
            W_enc=weights.take(f"{self.encoder}.weight", d_sae, d_in).T,
            W_dec=weights.take(f"{self.decoder}.weight", d_in, d_sae).T,
            b_enc=b_enc,
            b_dec=b_dec,
            activation=api.Relu(),
            hook_in=hook,
            metadata=api.SAEMetadata(
                format=self.format,
                architecture="standard",
                model=model,
                context_length=context_length,
                dtype=str(weights[f"{self.encoder}.weight"].dtype).removeprefix("torch."),
            ),
            assumptions=(
                *assumptions,
                *unsaid,
                api.Assumption("BOS policy not recorded.", about="bos"),
                DATASET,
            ),
        )
        weights.nothing_else()
        return sae

    def _place(
        self, view: api.FileView, name: str
    ) -> tuple[str | None, str | None, tuple[api.Assumption, ...]]:
        """(model, hook point, what is assumed of both)."""
        match = self.named(view, name)
        if match is None:
            nowhere = f"hook point not recorded, and no name is like {self.example}."
            return (
                None,
                None,
                (
                    api.Assumption("model not recorded.", about="model"),
                    api.Assumption(nowhere, about="hook"),
                ),
            )
        model, layer = match.groups()
        hook = f"blocks.{layer}.hook_resid_post"
        taken = (
            f"hook point not recorded; took {hook}, the residual stream after layer {layer}, from the name "
            f"{match[0]}."
        )
        named = api.Assumption(f"model not recorded; took {model} from the name.", about="model")
        return f"{self.publisher}/{model}", hook, (named, api.Assumption(taken, about="hook"))
