"""Golden samples of HoagyC's sparse_coding: a pickled list of (dictionary, hyperparameters).

The classes are imported from a checkout (``--source``). Trained kinds go through the repository's
own ensembles and ``to_learned_dict``; as its training script does on a CPU, so that all
dictionaries of a file are views of one storage. ``codes`` are those of ``encode(center(x))``, as
``predict`` and the repository's metrics have them; ``reconstruction`` is ``predict(x)``.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchopt
import yaml
from _common import (
    D_IN,
    D_SAE,
    Build,
    Golden,
    affine_weights,
    generator,
    randn,
    sae_folder,
    stable_inputs,
    uniform,
    write,
)
from autoencoders.ensemble import DictSignature, FunctionalEnsemble
from autoencoders.learned_dict import (
    AddedNoise,
    Identity,
    IdentityPositive,
    IdentityReLU,
    LearnedDict,
    RandomDict,
    ReverseSAE,
    Rotation,
    TiedSAE,
)
from autoencoders.mlp_tests import TiedPositiveSAE, UntiedPositiveSAE
from autoencoders.pca import PCAEncoder
from autoencoders.sae_ensemble import FunctionalSAE, FunctionalTiedSAE
from autoencoders.topk_encoder import TopKEncoder, TopKLearnedDict
from torch import Tensor

LIBRARY = "hoagyc"
VERSION = "HoagyC/sparse_coding 69c5ae0"
K = 6
CENTRING = ("center_trans", "center_rot", "center_scale")

Entry = tuple[LearnedDict, dict[str, Any]]


def encoder(name: str) -> Tensor:
    """Rows of norms between 0.3 and 1.8, so that a normalisation left out shows."""
    return affine_weights(generator(name), D_IN, D_SAE)["W_dec"]


def bias(name: str) -> Tensor:
    return affine_weights(generator(name), D_IN, D_SAE)["b_enc"]


def quiet(build: Callable[[], LearnedDict]) -> LearnedDict:
    """The constructor of a tied dictionary prints a matrix."""
    with contextlib.redirect_stdout(io.StringIO()):
        return build()


def trained(name: str, signature: type[DictSignature], **arguments: Any) -> list[Entry]:
    """Three dictionaries of an ensemble, taken out of it as the training script does."""
    alphas = (1e-4, 3e-4, 1e-3)
    models = [signature.init(D_IN, D_SAE, alpha, **arguments) for alpha in alphas]
    for number, (params, _) in enumerate(models):
        seed = f"{name}/{number}"
        params["encoder"] = encoder(seed)
        params["encoder_bias"] = bias(seed)
        if "decoder" in params:
            params["decoder"] = encoder(seed + "/decoder")
    ensemble = FunctionalEnsemble(models, signature, torchopt.adam, {"lr": 1e-3}, device="cpu")
    return [
        (
            quiet(partial(signature.to_learned_dict, params, buffers)),
            {"dict_size": D_SAE, "l1_alpha": buffers["l1_alpha"].item()},
        )
        for params, buffers in ensemble.unstack(device="cpu")
    ]


def topk_trained(name: str) -> list[Entry]:
    """Two top-k dictionaries; their ensemble records a sparsity instead of an l1_alpha."""
    entries: list[Entry] = []
    for k in (3, K):
        _, buffers = TopKEncoder.init(D_IN, D_SAE, k)
        made = TopKEncoder.to_learned_dict({"dict": encoder(f"{name}/{k}")}, buffers)
        entries.append((made, {"dict_size": D_SAE, "sparsity": k}))
    return entries


def centred(name: str) -> list[Entry]:
    """A rotation that is none (any matrix of full rank), a translation and a scale for each coordinate."""
    gen = generator(name + "/centre")
    return trained(
        name,
        FunctionalTiedSAE,
        translation=randn(gen, D_IN, scale=0.5),
        rotation=torch.linalg.qr(randn(gen, D_IN, D_IN)).Q + randn(gen, D_IN, D_IN, scale=0.1),
        scaling=uniform(gen, D_IN, low=0.4, high=2.0),
    )


def tied(name: str, *, norm_encoder: bool = True) -> LearnedDict:
    return quiet(lambda: TiedSAE(encoder(name), bias(name), norm_encoder=norm_encoder))


def tied_old(name: str) -> LearnedDict:
    """As the class before September 2023 left it: without the attributes of the centring."""
    made = tied(name, norm_encoder=False)
    for attribute in CENTRING:
        delattr(made, attribute)
    return made


def random_dict(name: str) -> LearnedDict:
    made = RandomDict(D_IN, D_SAE)
    made.encoder, made.encoder_bias = encoder(name), bias(name)
    return made


def identity_relu(name: str) -> LearnedDict:
    made = IdentityReLU(D_IN)
    made.bias = randn(generator(name), D_IN, scale=0.5)
    return made


def rotation(name: str) -> Tensor:
    return torch.linalg.qr(randn(generator(name), D_IN, D_IN)).Q[:8].contiguous()


def evaluated(dictionary: LearnedDict, x: Tensor) -> tuple[Tensor, Tensor]:
    """(codes, reconstruction) of the class; a tied one of an old file first fills in what it lacks."""
    if isinstance(dictionary, TiedSAE):
        dictionary.initialize_missing()
    return dictionary.encode(dictionary.center(x)), dictionary.predict(x)


def saved(
    out: Path,
    name: str,
    *,
    entries: Callable[[str], list[Entry] | LearnedDict],
    index: int | None = None,
    run: str = "tied_residual_l2_r4/_9",
    file: str = "learned_dicts.pt",
    config: dict[str, Any] | None = None,
    means: bool = False,
    hook: str | None = "blocks.2.hook_resid_post",
    notes: tuple[str, ...] = (),
) -> None:
    """Save with torch.save, as every script of the repository does; read back, evaluate."""
    folder = sae_folder(out, LIBRARY, name) / run
    folder.mkdir(parents=True)
    torch.save(entries(name), folder / file)
    if config is not None:
        (folder / "config.yaml").write_text(yaml.dump(config))
    mean = torch.zeros(D_IN)
    if means:
        mean = randn(generator(name + "/means"), D_IN)
        torch.save(mean, folder.parent / "means.pt")
    content = torch.load(folder / file, weights_only=False)
    dictionary = content if isinstance(content, LearnedDict) else content[index or 0][0]
    x = stable_inputs(name, (D_IN,), lambda x: evaluated(dictionary, x - mean)[0])
    with torch.no_grad():
        codes, reconstruction = evaluated(dictionary, x - mean)
        sample = Golden(
            name=name,
            architecture=type(dictionary).__name__,
            class_name=type(dictionary).__name__,
            path=f"sae/{run}/{file}" + ("" if index is None else f"#{index}"),
            d_in=D_IN,
            d_sae=codes.shape[-1],
            x=x,
            codes=codes,
            reconstruction=reconstruction + mean,
            hook_name=hook,
            notes=list(notes),
            recorded={"model_name": config["model_name"], "dataset": config["dataset_name"]}
            if config
            else {},
            written_by="hand" if any("by hand" in note for note in notes) else "library",
            evaluated_with="the class's encode(center(x)) and predict(x)",
            dense=bool((codes != 0).all()),
        )
    write(out, LIBRARY, VERSION, sample)


def single(build: Callable[[str], LearnedDict]) -> Callable[[str], list[Entry]]:
    """A file with one dictionary in its list."""
    return lambda name: [(build(name), {"dict_size": D_SAE, "l1_alpha": 8e-4})]


def mixed(name: str) -> list[Entry]:
    """Every class that a reader can turn down, before one that it can read."""
    refused: list[LearnedDict] = [AddedNoise(0.1, D_IN), ReverseSAE(encoder(name), bias(name))]
    return [(made, {"dict_size": D_SAE}) for made in (*refused, tied(name))]


def config_of(layer: int, layer_loc: str, **changes: Any) -> dict[str, Any]:
    """The fields of the repository's TrainArgs that are plain."""
    return {
        "layer": layer,
        "layer_loc": layer_loc,
        "model_name": "EleutherAI/pythia-70m-deduped",
        "dataset_name": "openwebtext",
        "center_dataset": False,
        "seed": 0,
        **changes,
    }


def samples() -> dict[str, Build]:
    """Every sample, by name."""
    views = "the dictionaries of the file are views of one storage"
    cases: dict[str, dict[str, Any]] = {
        "tied": {"entries": partial(trained, signature=FunctionalTiedSAE), "index": 1, "notes": (views,)},
        "tied_centred": {"entries": centred, "index": 2, "notes": ("the rotation is not orthogonal",)},
        "tied_not_normalised": {
            "entries": single(partial(tied, norm_encoder=False)),
            "notes": ("norm_encoder false: the encoder as stored, the decoder normalised",),
        },
        "tied_old": {
            "entries": single(tied_old),
            "notes": ("center_trans, center_rot, center_scale taken out by hand",),
        },
        "tied_means": {
            "entries": single(tied),
            "means": True,
            "config": config_of(2, "residual", center_activations=True),
            "notes": ("trained on x - means; reconstruction is predict(x - means) + means",),
        },
        "tied_attention": {
            "entries": single(tied),
            "run": "run/_31",
            "config": config_of(3, "attn"),
            "hook": "blocks.3.hook_resid_post",
            "notes": ("layer_loc attn is the residual stream in the repository's make_tensor_name",),
        },
        "untied": {
            "entries": partial(trained, signature=FunctionalSAE),
            "index": 0,
            "run": "untied_mlp_l1_r2/_3",
            "hook": "blocks.1.mlp.hook_post",
            "notes": (views, "the stored decoder is normalised when it decodes"),
        },
        "topk": {
            "entries": topk_trained,
            "index": 1,
            "run": "output_topk/_27",
            "config": config_of(4, "mlpout"),
            "hook": "blocks.4.hook_mlp_out",
        },
        "topk_single": {
            "entries": lambda name: TopKLearnedDict(encoder(name), 14),
            "run": "l2_residual",
            "file": "pca_topk.pt",
            "notes": ("the dictionary alone, as the script for baselines saves it; it is not normalised",),
        },
        "pca": {
            "entries": lambda name: PCAEncoder(encoder(name), K),
            "run": "l2_residual",
            "file": "pca.pt",
            "notes": ("the largest scores by magnitude, with their sign",),
        },
        "rotation": {"entries": single(lambda name: Rotation(rotation(name)))},
        "random": {
            "entries": random_dict,
            "run": "l2_residual",
            "file": "random.pt",
            "notes": ("the decoder is the encoder as stored, not normalised",),
        },
        "identity": {"entries": single(lambda _: Identity(D_IN))},
        "identity_positive": {"entries": single(lambda _: IdentityPositive(D_IN))},
        "identity_relu": {"entries": identity_relu, "run": "l2_residual", "file": "identity_relu.pt"},
        "tied_positive": {
            "entries": single(lambda name: TiedPositiveSAE(encoder(name), bias(name), norm_encoder=True))
        },
        "untied_positive": {
            "entries": single(
                lambda name: UntiedPositiveSAE(encoder(name), bias(name), encoder(name + "/decoder"))
            ),
            "notes": ("the class decodes with its normalised encoder; the stored decoder is not used",),
        },
        "beside_refused": {
            "entries": mixed,
            "index": 2,
            "notes": ("entries 0 and 1 are AddedNoise and ReverseSAE, which no reader can turn into an SAE",),
        },
    }
    return {name: partial(saved, **case) for name, case in cases.items()}
