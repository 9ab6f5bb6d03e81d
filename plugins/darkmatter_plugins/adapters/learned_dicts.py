"""HoagyC's sparse_coding: ``learned_dicts.pt``, a pickled list of (dictionary, hyperparameters).

A run writes ``RUN/_N/learned_dicts.pt`` with all dictionaries of its sweep; ``file#index`` chooses
one. The objects are read as stubs, so none of the repository's code is needed or run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from darkmatter import api
from darkmatter_plugins.adapters._learned_dict_classes import CLASSES, IDLE, TENSORS, reduce
from darkmatter_plugins.adapters._names import folders
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._unsaid import DATASET

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, MEANS = "config.yaml", "means.pt"
PACKAGE = "autoencoders."
STUBS = ("autoencoders.*", "numpy.*", "sklearn.*", "_codecs.encode")
"""The repository's classes, and what hyperparameters may be made of, which is never read."""

STEP = re.compile(r"_\d+")
HOOKS = {
    "residual": "hook_resid_post",
    "resid": "hook_resid_post",
    "mlp": "mlp.hook_post",
    "mlpout": "hook_mlp_out",
    "attn": "hook_resid_post",
    "attn_concat": "attn.hook_z",
}
"""Hook point of a ``layer_loc``; attn is the residual stream in the repository's make_tensor_name."""

LOCATIONS = "|".join(sorted(HOOKS, key=len, reverse=True))
FOLDERS = (
    re.compile(rf"(?:.*_)?(?P<place>{LOCATIONS})_l(?P<layer>\d+)(?:_.*)?"),
    re.compile(rf"l(?P<layer>\d+)_(?P<place>{LOCATIONS})"),
)
"""``tied_residual_l2_r4`` of runs and ``l2_residual`` of baselines."""

LISTED = 64
PLAIN_NAME = re.compile(r"[A-Za-z_]\w{0,39}", re.ASCII)
LARGEST = 1 << 40


class Entry(NamedTuple):
    """One dictionary of a file, not yet read."""

    object: api.Stub
    hyperparameters: dict[str, Any]

    @property
    def kind(self) -> str:
        """The class, without its module."""
        return self.object.kind.attribute

    def recorded(self) -> dict[str, int | float]:
        """Hyperparameters that are plain numbers, the width of the dictionary first."""
        named = {"dict_size": self.object.state.get("n_feats"), **self.hyperparameters}
        return {
            key: value
            for key, value in named.items()
            if PLAIN_NAME.fullmatch(str(key)) and type(value) in {int, float} and abs(value) < LARGEST
        }

    def __str__(self) -> str:
        recorded = self.recorded().items()
        numbers = [
            f"{key} {value:.4g}" if type(value) is float else f"{key} {value}" for key, value in recorded
        ]
        listed = ", ".join([self.kind[:80], *numbers])
        return listed if self.kind in CLASSES else f"{listed} (not supported)"


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """Objects of the repository's package, alone or in a list."""
    found = ours(view, lambda name: _entries(view, name) is not None)
    if not found:
        return none_found(view, f"holds objects of the package {PACKAGE.rstrip('.')}")
    count = len(_entries(view, found[0]) or ())
    return api.Detection(f"{found[0]} holds {count} learned dictionar{'y' if count == 1 else 'ies'}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one dictionary."""
    name = the_one(view, ours(view, lambda name: _entries(view, name) is not None))
    entries = _entries(view, name) or []
    index = _chosen(view, name, entries)
    entry, where = entries[index], f"{view.file(name)}#{index}"
    state = api.Fields(entry.object.state, where)
    saved = {key: value for key, value in state.values.items() if isinstance(value, api.SavedTensor)}
    tensors = {key: value.load() for key, value in saved.items() if key in TENSORS}
    weights = api.Weights(tensors, where, {key: value.info for key, value in saved.items()})
    parts = reduce(entry.kind, state, weights)
    weights.nothing_else(*IDLE.get(entry.kind, ()))
    config, assumptions = _config(view)
    means, about_means = _means(view, config, parts.rows_in.shape[1])
    hook, about_hook = _hook(view, config)
    centre = _sum(parts.centre, means)
    return api.CanonicalSAE(
        W_enc=parts.rows_in.T,
        W_dec=parts.rows_out,
        b_enc=parts.bias,
        b_dec=centre,
        subtract=centre,
        activation=parts.activation,
        hook_in=hook,
        metadata=api.SAEMetadata(
            format="learned_dicts",
            architecture=CLASSES[entry.kind].architecture,
            model=config.text("model_name"),
            dataset=config.text("dataset_name"),
            dtype=str(parts.rows_in.dtype).removeprefix("torch."),
            processing="compat",
            extra={"class": entry.kind, "index": index, "entries": len(entries), **entry.recorded()},
        ),
        assumptions=(about_hook, *about_means, *assumptions, *_unsaid(config)),
    )


def _entries(view: api.FileView, name: str) -> list[Entry] | None:
    """What a file holds, if every object in it is of the repository's package."""
    content = view.pickled(name, STUBS)
    items = content if isinstance(content, list) else [content]
    entries = [entry for entry in map(_entry, items) if entry is not None]
    return entries if entries and len(entries) == len(items) else None


def _entry(item: Any) -> Entry | None:
    """A pair of object and hyperparameters, or an object alone."""
    parts = item if isinstance(item, tuple) and len(item) == 2 else (item, {})
    made, hyperparameters = parts
    if not isinstance(made, api.Stub) or not made.name.startswith(PACKAGE):
        return None
    return Entry(made, hyperparameters) if isinstance(hyperparameters, dict) else None


def _chosen(view: api.FileView, name: str, entries: list[Entry]) -> int:
    """The index in the reference; a file with one dictionary needs none."""
    index = view.index
    if index is None and len(entries) == 1:
        return 0
    if index is not None and index < len(entries):
        return index
    problem = f"holds {len(entries)} dictionaries; say which by its index"
    if index is not None:
        problem = f"has no dictionary {index}; give one that it has"
    listed = [f"  #{number} {entry}" for number, entry in enumerate(entries[:LISTED])]
    more = [f"  ... and {len(entries) - LISTED} more"] if len(entries) > LISTED else []
    supported = [number for number, entry in enumerate(entries) if entry.kind in CLASSES]
    nearest = (supported or [0])[-1 if index is not None else 0]
    head = f"{view.file(name)}: {problem}, such as {view}#{nearest}. It holds:"
    raise api.SAEFileError("\n".join([head, *listed, *more]))


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Of vectors, either of which may not be there."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _config(view: api.FileView) -> tuple[api.Fields, list[api.Assumption]]:
    """The run's configuration; the published script often leaves it empty, which is no reason to stop."""
    where = str(view.file(CONFIG))
    if not view.has(CONFIG):
        return api.Fields({}, where), []
    try:
        return api.Fields(view.yaml(CONFIG), where), []
    except api.SAEFileError as error:
        return api.Fields({}, where), [api.Assumption(f"{CONFIG} cannot be read and is left out: {error}")]


def _means(view: api.FileView, config: api.Fields, d_in: int) -> tuple[Tensor | None, list[api.Assumption]]:
    """The mean that training subtracted from its activations, where the run saved it.

    The repository trains on and evaluates x - means, so that is what is encoded here; the mean is
    added to the reconstruction.
    """
    above = view.parent() if STEP.fullmatch(view.root.name) else None
    place = next((place for place in (view, above) if place is not None and place.has(MEANS)), None)
    if place is not None:
        content, where = place.pickled(MEANS), str(place.file(MEANS))
        if not isinstance(content, api.SavedTensor):
            message = f"{where}: holds a {type(content).__name__}; expected a tensor of shape [{d_in}]."
            raise api.SAEFileError(message)
        means = api.Weights({"means": content.load()}, where).take("means", d_in)
        said = f"the run's {MEANS} is subtracted from the input and added to the reconstruction."
        return means, [
            api.Assumption(said, to_be_sure="whether this run was trained with center_activations")
        ]
    for field, fate in (
        ("center_activations", f"by {MEANS}, which is missing"),
        ("center_dataset", "unsaved"),
    ):
        if config.flag(field, default=False):
            said = f"{field} is true: training subtracted a mean ({fate}); nothing is subtracted here."
            return None, [api.Assumption(said, to_be_sure="the mean of the run's first chunk of activations")]
    return None, []


def _hook(view: api.FileView, config: api.Fields) -> tuple[str | None, api.Assumption]:
    """The hook point, from the configuration's layer and layer_loc, else from the names of folders."""
    layer, place, source = config.integer("layer"), config.text("layer_loc"), CONFIG
    if layer is None or place is None:
        names = [(name, pattern.fullmatch(name)) for name in folders(view) for pattern in FOLDERS]
        named = next(((name, match) for name, match in names if match), None)
        if named is None:
            said = f"hook point not recorded, neither in {CONFIG} nor in the names of folders; none taken."
            return None, api.Assumption(said, about="hook")
        layer, place, source = int(named[1]["layer"]), named[1]["place"], f"the folder's name {named[0]!r}"
    if place not in HOOKS:
        said = (
            f"hook point not recorded; layer_loc is {place[:80]!r}, none of {', '.join(HOOKS)}; none taken."
        )
        return None, api.Assumption(said, about="hook")
    hook = f"blocks.{layer}.{HOOKS[place]}"
    said = f"hook point not recorded; took {hook} from layer {layer} and location {place!r} in {source}."
    return hook, api.Assumption(said, about="hook")


def _unsaid(config: api.Fields) -> list[api.Assumption]:
    said = [
        api.Assumption(
            "context length not recorded; the repository's scripts take 256 tokens.", about="context_length"
        ),
        api.Assumption("BOS policy not recorded.", about="bos"),
        api.Assumption(
            "weight processing of the model not recorded; taken as compat: the repository takes activations "
            "from TransformerLens with its defaults, which fold layer norms and centre the weights that "
            "write to the residual stream.",
            about="processing",
        ),
    ]
    if "dataset_name" not in config:
        said.append(DATASET)
    return said if "model_name" in config else [api.Assumption("model not recorded.", about="model"), *said]


ADAPTER = api.SAEAdapter(
    "learned_dicts",
    "HoagyC sparse_coding (learned_dicts.pt, one of its dictionaries by file#index)",
    "darkmatter_plugins.adapters.learned_dicts:load",
    filenames=("*.pt",),
    detect=detect,
    formats=frozenset({"pt"}),
    companions=(MEANS,),
    layouts=(
        api.Layout(
            "HoagyC sparse_coding",
            files=("<run>/_<step>/learned_dicts.pt", "<run>/_<step>/config.yaml", "<run>/means.pt"),
            architectures=tuple(CLASSES),
            known_from="HoagyC/sparse_coding at 69c5ae0, which wrote and evaluated the samples",
            traps=(
                "One file holds every dictionary of a sweep; file#index says which.",
                "encode alone does not centre: codes are those of encode(center(x)).",
                "A tied dictionary encodes with unit rows only if norm_encoder; it decodes with them always.",
                "The rotation of the centring need not be orthogonal, and old files have no centring.",
                "means.pt, one folder up, was subtracted from the activations before training.",
                "layer_loc attn is the residual stream.",
                "The classes RandomDict and TopKLearnedDict decode with rows as stored, not of unit norm.",
                "UntiedPositiveSAE stores a decoder that it never uses.",
                "config.yaml may be empty or missing.",
            ),
            samples=("hoagyc/*",),
        ),
    ),
)
