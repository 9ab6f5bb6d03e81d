"""Whether a simulator predicts numbers for text, the same each time, and says what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from darkmatter.descriptors import Simulator
from darkmatter.models import TextTokenizer
from darkmatter.simulating import Fragments, Usage
from darkmatter.testing.rules import default_config, descriptor_of, require, undisturbed

_SHAPE = (8, 6)
_WORDS = 12


def check_simulator(
    simulator: Simulator | str,
    config: Mapping[str, Any] | None = None,
    *,
    tokenizer: TextTokenizer | None = None,
) -> None:
    """Raise AssertionError unless a simulator conforms.

    Fitted to eight fragments it predicts a float64 number, or NaN, for every token of other fragments, the
    same twice and whatever stands in the batch beside them; it changes nothing it is given; it has an
    explanation (which may be empty), a concurrency from 1 up, and tells its usage.

    Args:
        simulator: a descriptor, or the name of an installed one (then imports are checked too).
        config: options; by default the defaults.
        tokenizer: what turns token ids 1 to 12 into text; by default none.
    """
    described = descriptor_of("simulators", simulator, Simulator)
    where = f"the simulator {described.name!r}"
    options = default_config(described, config)
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, _WORDS + 1, _SHAPE, generator=draw)
    fragments = Fragments(tokens, (tokens == 3).float() * 2, n_top=4)
    others = torch.randint(1, _WORDS + 1, _SHAPE, generator=draw)
    with undisturbed(where, first=True):
        maker = described.resolve()(options, tokenizer)
        _require_parts(maker, where)
        expected = maker.expect(1, len(others), others.shape[1])
        simulation = maker.fit(fragments)
        require(
            callable(simulation),
            "What fit returns is called with tokens.",
            f"{where}: fit returned a {type(simulation).__name__}, which cannot be called",
            "give its class `def __call__(self, tokens: Tensor) -> Tensor`.",
        )
        found, again = simulation(others), described.resolve()(options, tokenizer).fit(fragments)(others)
        alone = simulation(others[2:3])
    require(
        isinstance(found, torch.Tensor) and found.shape == others.shape and found.dtype == torch.float64,
        "A simulation gives one float64 number per token.",
        f"{where}: {getattr(found, 'dtype', type(found).__name__)} {tuple(getattr(found, 'shape', ()))}",
        "return a float64 tensor of the tokens' shape.",
    )
    require(
        not bool(found.isinf().any()) and torch.equal(found.nan_to_num(), again.nan_to_num()),
        "The same fragments give the same finite predictions (or NaN).",
        f"{where}: infinite numbers, or two answers",
        "seed what is drawn, and keep nothing between latents.",
    )
    require(
        torch.allclose(found[2:3].nan_to_num(), alone.nan_to_num(), rtol=1e-6, atol=1e-9),
        "A fragment is predicted by itself.",
        f"{where}: other numbers beside other fragments",
        "do not let fragments of a batch see each other.",
    )
    require(
        isinstance(getattr(simulation, "explanation", None), str)
        and maker.concurrency >= 1
        and all(isinstance(each, Usage) for each in (expected, maker.usage())),
        "A simulator tells its explanation, concurrency and usage.",
        f"{where}: {getattr(simulation, 'explanation', None)!r}, {maker.concurrency!r}, {maker.usage()!r}",
        "explanation='' and concurrency=1 will do; usage() returns an api.Usage.",
    )


def _require_parts(maker: object, where: str) -> None:
    """What makes simulations has all that is asked of it."""
    missing = [name for name in ("expect", "fit", "usage") if not callable(getattr(maker, name, None))]
    missing += [] if isinstance(getattr(maker, "concurrency", None), int) else ["concurrency"]
    require(
        not missing,
        "The implementation returns what makes simulations (api.SimulatorMaker).",
        f"{where}: a {type(maker).__name__} without {', '.join(missing)}",
        "see `darkmatter_simulators` in docs/plugins.md for a complete one.",
    )
