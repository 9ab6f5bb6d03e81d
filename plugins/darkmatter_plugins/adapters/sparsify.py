"""EleutherAI sparsify: ``<hook point>/cfg.json`` and ``sae.safetensors``, a run's config.json above."""

from __future__ import annotations

import re

from darkmatter import api
from darkmatter_plugins.adapters._hooks import module_input, module_output
from darkmatter_plugins.adapters._names import folders

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"
RUN = "config.json"
SEED = re.compile(r"seed\d+")
ACTIVATIONS = {"topk": "the k largest", "groupmax": "the largest of each of k groups"}


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A configuration with d_in and k beside weights with an encoder."""
    if not view.has(CONFIG):
        return api.Refusal(f"there is no {CONFIG} beside {WEIGHTS}")
    cfg = view.json(CONFIG)
    if "d_in" not in cfg or "k" not in cfg:
        return api.Refusal(f"{CONFIG} has no d_in and k")
    if "encoder.weight" not in (view.header(WEIGHTS) or {}):
        return api.Refusal(f"{WEIGHTS} has no tensor encoder.weight")
    return api.Detection(f"{CONFIG} has d_in and k, {WEIGHTS} has encoder.weight")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE, transcoder or skip transcoder."""
    cfg = api.Fields(view.json(CONFIG), str(view.file(CONFIG)))
    d_in = cfg.size("d_in")
    transcode = cfg.flag("transcode", default=False)
    weights = view.weights(WEIGHTS)
    W_enc = weights.take("encoder.weight", _latents(cfg, d_in), d_in).T
    d_sae = W_enc.shape[1]
    skip = weights.maybe("W_skip", d_in, d_in)
    if cfg.flag("skip_connection", default=False) and skip is None:
        message = f"{weights.where}: has no tensor 'W_skip', though {cfg.where} has skip_connection: true."
        raise api.SAEFileError(message)
    b_dec = weights.take("b_dec", d_in)
    run = _run(view)
    hook_in, hook_out, assumptions = _hooks(view, run.text("model"), transcode=transcode)
    metadata = api.SAEMetadata(
        format="sparsify",
        architecture=_architecture(cfg, skip=skip is not None, transcode=transcode),
        model=run.text("model"),
        context_length=run.integer("ctx_len"),
        dataset=run.text("dataset"),
        dtype=str(weights["b_dec"].dtype).removeprefix("torch."),
        extra=cfg.some("activation", "k", "multi_topk", "normalize_decoder") | run.some("split", "seed"),
    )
    sae = api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=weights.take("W_dec", d_sae, d_in),
        b_enc=weights.take("encoder.bias", d_sae),
        b_dec=b_dec,
        activation=_activation(cfg),
        subtract=None if transcode else b_dec,
        W_skip=None if skip is None else skip.T,
        hook_in=hook_in,
        hook_out=hook_out,
        metadata=metadata,
        assumptions=(*assumptions, *_defaults(cfg), *_unsaid(run)),
    )
    weights.nothing_else()
    return sae


def _latents(cfg: api.Fields, d_in: int) -> int | None:
    """How many latents the configuration says; None where it does not."""
    count = cfg.integer("num_latents")
    return d_in * cfg.size("expansion_factor") if count == 0 else count


def _activation(cfg: api.Fields) -> api.Activation:
    k = cfg.size("k")
    if cfg.choice("activation", ACTIVATIONS, default="topk") == "groupmax":
        return api.GroupMax(k)
    # Versions before 1.0 could keep signs: the k largest magnitudes, no ReLU.
    return api.AbsTopK(k) if cfg.flag("signed", default=False) else api.TopK(k)


def _architecture(cfg: api.Fields, *, skip: bool, transcode: bool) -> str:
    kind = cfg.text("activation") or "topk"
    kind = "abstopk" if kind == "topk" and cfg.flag("signed", default=False) else kind
    return kind + ("_skip" if skip else "") + ("_transcoder" if transcode else "")


def _hook_point(view: api.FileView) -> str:
    """The folder's name, or the one above where a run trained several seeds."""
    return next((name for name in folders(view) if not SEED.fullmatch(name)), "")


def _hooks(
    view: api.FileView, model: str | None, *, transcode: bool
) -> tuple[str | None, str | None, list[api.Assumption]]:
    name = _hook_point(view)
    after, before = module_output(name, model), module_input(name)
    if after is None:
        what = f"hook point not recorded, and the folder's name {name!r} is none we know."
        return None, None, [api.Assumption(what, about="hook")]
    if transcode:
        what = f"hook points not recorded; taken from the folder's name {name!r}: {before} to {after}."
        return before, after, [api.Assumption(what, about="hook")]
    what = f"hook point not recorded; taken from the folder's name {name!r}, at the module's output: {after}."
    return after, after, [api.Assumption(what, about="hook")]


def _run(view: api.FileView) -> api.Fields:
    """The configuration of the whole run, one or two folders up."""
    above = view.parent()
    for _ in range(2):
        if above is not None and above.has(RUN):
            return api.Fields(above.json(RUN, allow_nan=True), str(above.file(RUN)))
        above = above.parent() if above is not None else None
    return api.Fields({}, str(view))


def _defaults(cfg: api.Fields) -> list[api.Assumption]:
    """Sparsify's defaults of fields that shape numbers, where they are not recorded."""
    taken = {
        "activation": "topk, sparsify's default",
        "transcode": "false: b_dec is subtracted, and the input is predicted",
    }
    return [
        api.Assumption(
            f"{name} not recorded; taken as {value}.",
            to_be_sure="the run's command line or configuration",
        )
        for name, value in taken.items()
        if name not in cfg
    ]


def _unsaid(run: api.Fields) -> list[api.Assumption]:
    fields = {"model": "model", "ctx_len": "context_length", "dataset": None}
    said = [
        api.Assumption(f"{name} not recorded (no run-level {RUN} above).", about=about)
        for name, about in fields.items()
        if name not in run
    ]
    packed = "BOS policy not recorded; sparsify packs documents, with the tokenizer's own special tokens."
    return [*said, api.Assumption(packed, about="bos")]


ADAPTER = api.SAEAdapter(
    "sparsify",
    "EleutherAI sparsify (cfg.json, sae.safetensors)",
    "darkmatter_plugins.adapters.sparsify:load",
    filenames=(WEIGHTS,),
    detect=detect,
    layouts=(
        api.Layout(
            name="sparsify",
            files=("<hook point>/cfg.json", "<hook point>/sae.safetensors", "config.json of the run above"),
            architectures=("topk", "abstopk", "groupmax", "each with _skip, _transcoder or _skip_transcoder"),
            known_from="eai-sparsify 1.3.3, which wrote and evaluated the samples",
            traps=(
                "W_dec is stored as rows [d_sae, d_in], not as the transpose that nn.Linear keeps.",
                "num_latents 0 means d_in times expansion_factor.",
                "A transcoder does not subtract b_dec from its input; an SAE does.",
                "The skip connection is added in forward only, so decode(encode(x)) lacks it.",
                (
                    "signed: true, from before 1.0, keeps the k largest magnitudes with their signs; no such "
                    "file has been evaluated."
                ),
                "SAELens 6.51 and 6.54 fail on every current checkpoint.",
            ),
            samples=("sparsify/*",),
        ),
    ),
)
