"""Which predictions are wanted of which sources, and why others cannot be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.cross_layer.descriptor import CrossLayerConfig, Kind
from darkmatter_plugins.evaluators.cross_layer.designs import Block, Design, Fit, Wanted

ITSELF, ALL = "itself", "all"


def label(name: str) -> str:
    """What stands in the brackets for a source; an SAE may be called like one of ours."""
    return f"sae:{name}" if name in {ITSELF, ALL} else name


@dataclass
class Plan:
    """Predictions to fit, and for those that cannot be fitted the reason by what stands in the brackets."""

    wanted: list[Wanted] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def designs(self) -> list[Design]:
        """The designs of all predictions, each once."""
        return list(dict.fromkeys(each.design for each in self.wanted))

    def add(self, name: str, design: Design, x: Block, blocks: tuple[Block, ...]) -> None:
        """A prediction from blocks alone, and one from x and the blocks jointly."""
        self.wanted.append(Wanted(name, design, blocks))
        self.wanted.append(Wanted(name, design, (x, *blocks), joint=True))


def activation(ctx: api.EvalContext) -> Block:
    """The SAE's own x."""
    return Block("", "activation", ctx.info.d_in)


def reconstruction(source: api.EncodedSAE) -> Block:
    """A source's reconstruction."""
    return Block(source.name, "reconstruction", source.info.d_out)


def plan_all(
    ctx: api.EvalContext,
    config: CrossLayerConfig,
    sources: Sequence[api.EncodedSAE],
    live: Mapping[str, Tensor],
) -> Plan:
    """Every prediction from what stands beside; ``live`` are the latents that fire, by source."""
    plan, x = Plan(), activation(ctx)
    _add_own(plan, ctx, ITSELF, x, Block("", "reconstruction", ctx.info.d_out))
    if "reconstruction" in config.kinds:
        _reconstructions(plan, config, x, sources)
    else:
        plan.refused[ALL] = "reconstructions are not among the kinds that are asked for"
    if "activation" in config.kinds:
        # SAEs of one hook point share it; what stands at this one is x itself.
        for hook, each in sorted({each.hook: each for each in sources if each.hook != ctx.hook}.items()):
            block = Block(each.name, "activation", each.info.d_in)
            plan.add(f"activation@{hook}", Design((x, block)), x, (block,))
    if "codes" in config.kinds:
        for name in ("", *(each.name for each in sources)):
            _codes(plan, ctx, config, name, live[name])
    return plan


def _add_own(plan: Plan, ctx: api.EvalContext, name: str, x: Block, own: Block) -> None:
    """A prediction from what the SAE itself makes of x."""
    if ctx.hook_out != ctx.hook:
        plan.add(name, Design((x, own)), x, (own,))
    else:  # of an SAE both together are the error, so that nothing would stay
        plan.wanted.append(Wanted(name, Design((own,)), (own,)))


def _reconstructions(
    plan: Plan, config: CrossLayerConfig, x: Block, sources: Sequence[api.EncodedSAE]
) -> None:
    blocks = {each.name: reconstruction(each) for each in sources if each.sae.reconstructs}
    for each in sources:
        if not each.sae.reconstructs:
            plan.refused[label(each.name)] = f"{each.name} gives codes and no reconstruction"
    joint = Design((x, *blocks.values()))
    fits = joint.width <= config.max_joint_width
    for name, block in blocks.items():
        plan.add(label(name), joint if fits else Design((x, block)), x, (block,))
    if not blocks:
        plan.refused[ALL] = "no source that reconstructs was encoded"
    elif fits:
        plan.add(ALL, joint, x, tuple(blocks.values()))
    else:
        plan.refused[ALL] = (
            f"x and all sources together are {joint.width} regressors, more than max_joint_width "
            f"{config.max_joint_width}"
        )


def _codes(plan: Plan, ctx: api.EvalContext, config: CrossLayerConfig, name: str, live: Tensor) -> None:
    x = activation(ctx)
    bracket = f"{label(name) if name else ITSELF}:codes"
    if len(live) > config.max_code_width:
        plan.refused[bracket] = (
            f"{len(live)} latents fire in training, more than max_code_width {config.max_code_width}"
        )
        return
    needed = config.rows_per_regressor * (len(live) + x.width)
    if ctx.n_train < needed:
        plan.refused[bracket] = (
            f"{len(live)} latents fire in training; these and x need {needed} rows "
            f"(rows_per_regressor {config.rows_per_regressor}), there are {ctx.n_train}"
        )
        return
    if len(live) == 0:
        plan.refused[bracket] = "no latent fires in training"
        return
    block = Block(name, "codes", len(live), live)
    if name:
        plan.add(bracket, Design((x, block)), x, (block,))
    else:
        _add_own(plan, ctx, bracket, x, block)


def _single(wanted: Wanted, kinds: Sequence[Kind]) -> bool:
    """Whether a prediction is from one kind of one other SAE alone."""
    return len(wanted.blocks) == 1 and wanted.blocks[0].source != "" and wanted.blocks[0].kind in kinds


def plan_shuffled(ctx: api.EvalContext, plan: Plan) -> Plan:
    """The predictions from each reconstruction and each one's codes again, for rows in another order."""
    found, x = Plan(), activation(ctx)
    for each in plan.wanted:
        if _single(each, ("reconstruction", "codes")):
            found.add(f"{each.name}:shuffled", Design((x, *each.blocks)), x, each.blocks)
    return found


def plan_random(ctx: api.EvalContext, fits: Sequence[Fit]) -> Plan:
    """For each reconstruction: as many random mixtures of x as it has dimensions (its rank, at most d)."""
    plan = Plan()
    for own in fits:
        if not _single(own.wanted, ("reconstruction",)):
            continue
        design, name = own.wanted.design, f"{own.wanted.name}:random"
        generator = torch.Generator().manual_seed(ctx.seed)
        rank = min(own.found.rank, ctx.info.d_in)
        if rank == 0:
            plan.refused[name] = "the source's reconstruction does not vary"
            continue
        mixing = torch.randn(ctx.info.d_in, rank, generator=generator, dtype=torch.float64)
        plan.wanted.append(Wanted(name, design, design.blocks[:1], mixing=mixing))
    return plan
