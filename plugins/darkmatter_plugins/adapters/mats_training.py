"""SAEs from before SAELens had folders: one ``.pt`` with pickled objects of mats_sae_training.

Two layouts. A dictionary of the run's configuration (an object) and a state dict; and a group, the
pickled container of one or more whole modules. Nothing in the file is run: objects are read as
names and fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from darkmatter import api
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._unsaid import DATASET

if TYPE_CHECKING:
    from torch import Tensor

STUBS = ("sae_training.*", "mats_sae_training.*", "sae_lens.*", "transformer_lens.*")
"""The library's classes under its three names, and what a pickled module holds beside them."""

CONFIG = ".LanguageModelSAERunnerConfig"
EXTRA = ("hook_point_head_index", "l1_coefficient", "lp_norm", "seed", "model_class_name", "model_kwargs")


class Entry(NamedTuple):
    """One SAE of a file: the run's configuration, and its tensors (not read yet)."""

    cfg: Any
    tensors: Any


def _entries(view: api.FileView, name: str) -> list[Entry]:
    """The SAEs of a file; none where it is another format's."""
    content = view.pickled(name, STUBS)
    if isinstance(content, dict):
        found = [Entry(content.get("cfg"), content.get("state_dict"))]
    else:
        modules = getattr(content, "state", {}).get("autoencoders", [])
        modules = list(modules.values()) if isinstance(modules, dict) else modules
        modules = [getattr(m, "state", {}) for m in modules] if isinstance(modules, list) else []
        found = [Entry(module.get("cfg"), module.get("_parameters")) for module in modules]
    return [
        entry
        for entry in found
        if str(getattr(entry.cfg, "name", "")).endswith(CONFIG)
        and isinstance(entry.tensors, dict)
        and "W_enc" in entry.tensors
    ]


def _names(view: api.FileView) -> list[str]:
    return ours(view, lambda name: bool(_entries(view, name)))


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A pickled configuration of the training code, beside or inside the weights."""
    names = _names(view)
    if not names:
        return none_found(view, f"holds a {CONFIG[1:]} and its weights")
    entries = _entries(view, names[0])
    count = f" and {len(entries)} SAEs" if len(entries) > 1 else ""
    return api.Detection(f"{names[0]} holds a {entries[0].cfg.name}{count}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Codes f = relu((x - b_dec) W_enc + b_enc), x̂ = (f * scaling_factor) W_dec + b_dec."""
    name = the_one(view, _names(view))
    entries = _entries(view, name)
    index = _chosen(view, name, entries)
    entry = entries[index]
    cfg = api.Fields(entry.cfg.state, f"{view.file(name)}, {entry.cfg.name}")
    d_in = cfg.size("d_in")
    d_sae = cfg.size("d_sae") if "d_sae" in cfg else d_in * cfg.size("expansion_factor")
    held = {key: saved for key, saved in entry.tensors.items() if isinstance(saved, api.SavedTensor)}
    weights = api.Weights({key: saved.load() for key, saved in held.items()}, str(view.file(name)))
    b_dec = weights.take("b_dec", d_in)
    hook = cfg.text("hook_point")
    sae = api.CanonicalSAE(
        W_enc=weights.take("W_enc", d_in, d_sae),
        W_dec=_decoder(weights, d_in, d_sae),
        b_enc=weights.take("b_enc", d_sae),
        b_dec=b_dec,
        activation=_activation(cfg),
        subtract=b_dec if cfg.flag("apply_b_dec_to_input", default=True) else None,
        hook_in=hook,
        metadata=api.SAEMetadata(
            format="mats_training",
            architecture="standard",
            model=cfg.text("model_name"),
            context_length=cfg.integer("context_size"),
            prepend_bos=cfg.flag("prepend_bos", default=True) if "prepend_bos" in cfg else None,
            dataset=cfg.text("dataset_path"),
            dtype=str(weights["W_enc"].dtype).removeprefix("torch."),
            processing="compat",
            extra={
                **cfg.some(*EXTRA),
                "configuration": entry.cfg.name,
                **({"index": index, "entries": len(entries)} if len(entries) > 1 else {}),
            },
        ),
        assumptions=_assumptions(cfg, hook),
    )
    weights.nothing_else()
    return sae


def _chosen(view: api.FileView, name: str, entries: list[Entry]) -> int:
    """Which SAE the reference asks for; a group of several must be asked with #index."""
    if len(entries) == 1:
        return 0
    index = view.index
    if index is not None and index < len(entries):
        return index
    listed = ", ".join(f"#{n} {entry.cfg.state.get('hook_point')}" for n, entry in enumerate(entries[:10]))
    asked = "" if index is None else f"there is no #{index}; "
    message = f"{view.file(name)}: holds {len(entries)} SAEs ({listed}); {asked}give one, {name}#0."
    raise api.SAEFileError(message)


def _decoder(weights: api.Weights, d_in: int, d_sae: int) -> Tensor:
    """W_dec, multiplied by scaling_factor where there is one (finetuned SAEs: codes are scaled)."""
    W_dec, factor = weights.take("W_dec", d_sae, d_in), weights.maybe("scaling_factor", d_sae)
    return W_dec if factor is None else W_dec * factor[:, None]


def _activation(cfg: api.Fields) -> api.Activation:
    if cfg.choice("activation_fn", {"relu": 0, "tanh-relu": 0}, default="relu") == "relu":
        return api.Relu()
    return api.TanhRelu()


def _assumptions(cfg: api.Fields, hook: str | None) -> tuple[api.Assumption, ...]:
    found = [
        api.Assumption(
            "weight processing of the model not recorded; taken as compat, TransformerLens's default of that "
            "time: layer norms folded, and weights that write to the residual stream centred.",
            about="processing",
        )
    ]
    if hook is None:
        found.append(api.Assumption("hook point not recorded; none taken.", about="hook"))
    if "prepend_bos" not in cfg:
        sentence = "BOS policy not recorded; that code put a BOS before each document and each part of one."
        found.append(api.Assumption(sentence, about="bos"))
    if "dataset_path" not in cfg:
        found.append(DATASET)
    head = cfg.integer("hook_point_head_index")
    if head is not None:
        found.append(api.Assumption(f"reads head {head} of its hook point only."))
    if cfg.number("noise_scale"):
        found.append(api.Assumption("noise_scale is not 0: the library's noise is left out."))
    return tuple(found)


ADAPTER = api.SAEAdapter(
    "mats_training",
    "SAEs of mats_sae_training and the first SAELens (one .pt file)",
    "darkmatter_plugins.adapters.mats_training:load",
    filenames=("*.pt",),
    detect=detect,
    formats=frozenset({"pt"}),
    layouts=(
        api.Layout(
            name="mats_sae_training, configuration and state dict",
            files=("final_sparse_autoencoder_<model>_<hook point>_<d_sae>.pt",),
            architectures=("standard",),
            known_from="the code of February 2024 and sae-lens 1.0, which wrote and evaluated the samples",
            traps=(
                (
                    "The configuration is a pickled object of a package that no longer exists "
                    "(sae_training); PyTorch's own loader refuses it or needs the old code."
                ),
                (
                    "Activations are those of a model with TransformerLens's default processing, so raw "
                    "GPT-2 activations have another mean."
                ),
                (
                    "A scaling_factor always multiplies the codes in the decoder, and activation_fn may be "
                    "tanh-relu."
                ),
            ),
            samples=("mats_training/dictionary*", "mats_training/sae_lens_*"),
        ),
        api.Layout(
            name="mats_sae_training, pickled group",
            files=("final_sae_group_<model>_<hook point>_<d_sae>.pt",),
            architectures=("standard",),
            known_from="the code of March 2024, which wrote and evaluated the samples",
            traps=(
                "One file may hold several SAEs, of several layers: file.pt#1 is the second one.",
                "The cached_activations_path in it still has {layer}; hook_point has the layer filled in.",
            ),
            samples=("mats_training/group_*",),
        ),
    ),
)
