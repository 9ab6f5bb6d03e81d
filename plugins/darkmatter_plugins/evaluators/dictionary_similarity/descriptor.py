"""What `dictionary_similarity` measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter import api


class DictionarySimilarityConfig(api.Config):
    """Options of `dictionary_similarity`."""

    others: tuple[str, ...] | None = Field(
        None, description="names of the SAEs that are compared with; null: all at the hook point"
    )
    latents: Literal["all", "alive"] = Field(
        "all", description="latents of both dictionaries that count: all, or those that fire on held-out rows"
    )
    threshold: float = Field(0.9, ge=-1, le=1, description="cosine above which two latents are the same")
    max_matching: int = Field(
        4096, ge=0, description="dictionaries are matched where the narrower has no more latents than this"
    )
    max_cosines: int = Field(
        1 << 25, ge=1, description="and where there are no more pairs of latents than this (8 bytes each)"
    )
    vocabulary: bool = Field(
        default=False, description="also compare with the model's token embeddings and unembeddings"
    )

    def looks_at(self) -> tuple[str, ...] | None:
        """The others, where they are named."""
        return self.others


_M = api.Metric

_BOTH = {
    "others→this": "mean over the latents of another SAE of the largest cosine with a latent of this one",
    "this→others": "mean over the latents of this SAE of the largest cosine with a latent of another one",
}

DICTIONARY_SIMILARITY = api.Evaluator(
    name="dictionary_similarity",
    summary="How much of one SAE's decoder directions another SAE has, beyond what chance gives.",
    implementation="darkmatter_plugins.evaluators.dictionary_similarity.run:DictionarySimilarity",
    config=DictionarySimilarityConfig,
    reaches=(),
    order=90,
    requires=frozenset({api.Requirement.FAMILY, api.Requirement.DECODER}),
    sees=frozenset({"family", "named"}),
    source="Cunningham et al.: mean max cosine similarity of dictionaries, in both directions",
    metrics=(
        *(
            _M(f"mmcs[{way}]", f"{text}, mean over the others", low=-1, high=1, primary=True)
            for way, text in _BOTH.items()
        ),
        *(
            _M(
                f"mmcs_excess[{way}]",
                f"mmcs[{way}] less what as many random directions give",
                low=-2,
                high=2,
                primary=True,
            )
            for way in _BOTH
        ),
        _M(
            "matched_share[others]",
            "share of the narrower dictionary whose partner in the best one-to-one matching has a cosine "
            "above `threshold`, mean over the others",
            low=0,
            high=1,
            primary=True,
        ),
        _M("matched_cosine[others]", "mean cosine of matched latents, mean over the others", low=-1, high=1),
        _M(
            "mmcs[*]",
            "mmcs[a→b]: mean over the latents of a of the largest cosine with a latent of b",
            low=-1,
            high=1,
        ),
        _M(
            "mmcs_excess[*]",
            "mmcs[a→b] less its expectation for random directions, as many as b has",
            low=-2,
            high=2,
        ),
        _M("matched_share[*]", "matched_share of this and one other SAE", low=0, high=1),
        _M("matched_cosine[*]", "mean cosine of the latents of this and one other SAE", low=-1, high=1),
    ),
)
