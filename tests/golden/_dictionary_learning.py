"""Golden samples of dictionary_learning: what its ``trainSAE`` leaves on disk.

The SAEs are built by the library's trainers and saved by its ``trainSAE``: with no step
taken, the files hold exactly the random weights given. ``codes`` are those of the saved
class's ``encode`` on the file's own weights; ``load_dictionary``, which rescales the codes
of some classes by the norms of the decoder, is kept beside them where it differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from _common import (
    D_IN,
    D_SAE,
    Build,
    Golden,
    affine_weights,
    candidate_inputs,
    generator,
    randn,
    sae_folder,
    set_parameters,
    stable_inputs,
    uniform,
    write,
)
from torch import Tensor, nn


def stub(name: str, **members: Any) -> None:
    """Stand in for a package that is imported at the top and not used here."""
    module = ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    sys.modules.setdefault(name, module)


# nnsight runs language models and wandb logs: neither takes part in saving or encoding,
# and nnsight would pull a CUDA torch.
stub("nnsight", LanguageModel=object, NNsight=object)
stub("wandb")

from dictionary_learning.buffer import ActivationBuffer  # noqa: E402
from dictionary_learning.dictionary import (  # noqa: E402
    AutoEncoder,
    AutoEncoderNew,
    GatedAutoEncoder,
    JumpReluAutoEncoder,
)
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE, BatchTopKTrainer  # noqa: E402
from dictionary_learning.trainers.gdm import GatedSAETrainer  # noqa: E402
from dictionary_learning.trainers.jumprelu import JumpReluTrainer  # noqa: E402
from dictionary_learning.trainers.matryoshka_batch_top_k import (  # noqa: E402
    MatryoshkaBatchTopKSAE,
    MatryoshkaBatchTopKTrainer,
)
from dictionary_learning.trainers.standard import (  # noqa: E402
    StandardTrainer,
    StandardTrainerAprilUpdate,
)
from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer  # noqa: E402
from dictionary_learning.training import trainSAE  # noqa: E402
from dictionary_learning.utils import load_dictionary  # noqa: E402

LIBRARY = "dictionary_learning"
VERSION = version("dictionary-learning")
K = 7
LAYER, MODEL, SUBMODULE, CONTEXT = 5, "EleutherAI/pythia-70m-deduped", "resid_post_layer_5", 96
CUTOFF = 0.62

Weights = dict[str, Tensor]


def linear_weights(gen: torch.Generator, bias: str) -> Weights:
    """For the classes built of nn.Linear: both matrices transposed."""
    made = affine_weights(gen, D_IN, D_SAE)
    return {
        "encoder.weight": made["W_enc"].T.contiguous(),
        "encoder.bias": made["b_enc"],
        "decoder.weight": made["W_dec"].T.contiguous(),
        bias: made["b_dec"],
    }


def topk_weights(gen: torch.Generator, threshold: float) -> Weights:
    return linear_weights(gen, "b_dec") | {"threshold": torch.tensor(threshold)}


def gated_weights(gen: torch.Generator) -> Weights:
    weights = linear_weights(gen, "decoder_bias")
    del weights["encoder.bias"]
    return weights | {
        "gate_bias": randn(gen, D_SAE, scale=0.6) - 0.3,
        "mag_bias": randn(gen, D_SAE, scale=0.5),
        "r_mag": randn(gen, D_SAE, scale=0.5),
    }


def jumprelu_weights(gen: torch.Generator) -> Weights:
    threshold = uniform(gen, D_SAE, low=0.1, high=0.9)
    threshold[3], threshold[11] = -0.4, -0.8
    return affine_weights(gen, D_IN, D_SAE) | {"threshold": threshold}


def edge_weights(gen: torch.Generator) -> Weights:
    """Latent 5 has no encoder and a bias equal to its threshold: the code must be 0."""
    weights = jumprelu_weights(gen)
    weights["W_enc"][:, 5] = 0.0
    weights["b_enc"][5] = weights["threshold"][5] = 0.5
    return weights


def matryoshka_weights(gen: torch.Generator) -> Weights:
    return affine_weights(gen, D_IN, D_SAE) | {"threshold": torch.tensor(CUTOFF)}


class Activations:
    """Batches of activations with the configuration of the library's own buffer."""

    def __init__(self, name: str) -> None:
        gen = generator(name + "/training")
        self.batches = [candidate_inputs(gen, D_IN, 64) for _ in range(8)]
        buffer = ActivationBuffer(
            data=iter(()),
            model=SimpleNamespace(dtype=torch.float32),
            submodule=None,
            d_submodule=D_IN,
            n_ctxs=100,
            ctx_len=CONTEXT,
        )
        self.config = buffer.config

    def __iter__(self) -> Iterator[Tensor]:
        return (batch.clone() for batch in self.batches)


def prepared(cls: type[nn.Module], weights: Weights, *args: Any, **kwargs: Any) -> nn.Module:
    """An SAE of ``cls`` with our weights, for a trainer to take as its own."""
    sae = cls(*args, **kwargs)
    set_parameters(sae, weights)
    return sae


@dataclass
class Case:
    """What to build, and what the library computes besides encode and forward."""

    trainer: type
    cls: type[nn.Module]
    weights: Callable[[torch.Generator], Weights]
    options: dict[str, Any] = field(default_factory=dict)
    normalise: bool = False
    steps: int = 0
    save_steps: list[int] | None = None
    variants: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dict_class: str | None = None
    path: str = "sae/trainer_0"


def run(folder: Path, name: str, case: Case) -> None:
    """Save through ``trainSAE``, which makes ``trainer_0`` with config.json and ae.pt."""
    torch.manual_seed(0)
    weights = case.weights(generator(name))
    settings = {
        "trainer": case.trainer,
        "dict_class": partial(prepared, case.cls, weights),
        "activation_dim": D_IN,
        "dict_size": D_SAE,
        "layer": LAYER,
        "lm_name": MODEL,
        "submodule_name": SUBMODULE,
        "device": "cpu",
        # The schedule of a real run; how many steps are taken is said to trainSAE.
        "steps": 1000,
        "warmup_steps": 10,
    }
    trainSAE(
        data=Activations(name),
        trainer_configs=[settings | case.options],
        steps=case.steps,
        save_steps=case.save_steps,
        save_dir=str(folder),
        normalize_activations=case.normalise,
        device="cpu",
    )
    if case.dict_class:
        rename_class(folder / "trainer_0" / "config.json", case.dict_class)


def rename_class(path: Path, name: str) -> None:
    document = json.loads(path.read_text())
    document["trainer"]["dict_class"] = name
    path.write_text(json.dumps(document, indent=4))


def from_file(cls: type[nn.Module], state: Weights, config: dict[str, Any]) -> nn.Module:
    """The saved class holding exactly the tensors of the file."""
    options: dict[str, Any] = {}
    if "k" in state:
        options["k"] = int(state["k"])
    if "group_sizes" in state:
        options["group_sizes"] = config["trainer"]["group_sizes"]
    sae = cls(D_IN, D_SAE, **options)
    sae.load_state_dict(state)
    return sae.eval()


def variants(case: Case, sae: Any, folder: Path, x: Tensor) -> dict[str, Tensor]:
    """Other codes the library gives for the same file."""
    tensors: dict[str, Tensor] = {}
    if "threshold" in case.variants:
        tensors["codes_threshold"] = sae.encode(x, use_threshold=True)
    if "batch" in case.variants:
        tensors["codes_batch"] = sae.encode(x, use_threshold=False)
    if "loaded" in case.variants:
        loaded, _ = load_dictionary(str(folder), "cpu")
        tensors["codes_load_dictionary"] = loaded.encode(x)
        torch.testing.assert_close(loaded(x), sae(x), rtol=1e-4, atol=1e-5)
    if "output_features" in case.variants:
        tensors["codes_output_features"] = sae(x, output_features=True)[1]
    return tensors


def facts(config: dict[str, Any]) -> dict[str, Any]:
    trainer = config["trainer"]
    keys = ("dict_class", "trainer_class", "layer", "lm_name", "submodule_name", "k")
    found = {key: trainer[key] for key in keys if key in trainer}
    if "group_sizes" in trainer:
        found["group_sizes"] = trainer["group_sizes"]
    return found | {"context_size": config["buffer"]["ctx_len"], "io": config["buffer"]["io"]}


def saved(out: Path, name: str, case: Case) -> None:
    """Save, read the tensors back into the saved class, evaluate."""
    folder = sae_folder(out, LIBRARY, name)
    run(folder, name, case)
    place = folder.parent / case.path
    file = place if place.is_file() else place / "ae.pt"
    config = json.loads((folder / "trainer_0" / "config.json").read_text())
    sae: Any = from_file(case.cls, torch.load(file, weights_only=True), config)
    x = stable_inputs(name, (D_IN,), sae.encode)
    with torch.no_grad():
        sample = Golden(
            name=name,
            architecture=case.cls.__name__,
            class_name=case.cls.__name__,
            path=case.path,
            d_in=D_IN,
            d_sae=D_SAE,
            x=x,
            codes=sae.encode(x),
            reconstruction=sae(x),
            hook_name=None,
            notes=list(case.notes),
            recorded=facts(config),
            extra=variants(case, sae, folder / "trainer_0", x),
            written_by="hand" if case.dict_class else "library",
            evaluated_with="torch.load of the state dict into the class; encode; forward",
        )
    write(out, LIBRARY, f"dictionary_learning {VERSION}", sample)


def run_checkpoint(out: Path, name: str, *, case: Case) -> None:
    """A checkpoint of the run above it: only ``checkpoints/ae_2.pt``, config one folder up."""
    saved(out, name, case)
    (out / LIBRARY / name / "sae" / "trainer_0" / "ae.pt").unlink()


def backup(out: Path, name: str) -> None:
    """The resume file that the development version writes over ae.pt during a run.

    The release does not write it: the dictionary below has the keys of ``trainSAE`` at
    commit 60ec6bf, around objects of the released classes. Its SAE lives in the
    normalised space of training: it must be fed ``x / norm_factor``.
    """
    folder = sae_folder(out, LIBRARY, name)
    weights = topk_weights(generator(name), CUTOFF)
    case = Case(TopKTrainer, AutoEncoderTopK, lambda gen: weights, {"k": K})
    run(folder, name, case)
    config = json.loads((folder / "trainer_0" / "config.json").read_text())
    sae: Any = prepared(AutoEncoderTopK, weights, D_IN, D_SAE, K)
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-3)
    sae(candidate_inputs(generator(name + "/training"), D_IN, 8)).sum().backward()
    state = {key: value.clone() for key, value in sae.state_dict().items()}
    optimizer.step()
    norm_factor = 2.75
    # Keep the moments small: two of the four tensors are enough to show an optimizer state.
    moments = optimizer.state_dict()
    for entry in list(moments["state"])[2:]:
        del moments["state"][entry]
    content = {
        "step": 2,
        "ae": state,
        "optimizer": moments,
        "config": config["trainer"],
        "norm_factor": norm_factor,
    }
    torch.save(content, folder / "trainer_0" / "ae.pt")
    sae.load_state_dict(state)
    x = stable_inputs(name, (D_IN,), lambda value: sae.encode(value / norm_factor))
    with torch.no_grad():
        codes = sae.encode(x / norm_factor)
        sample = Golden(
            name=name,
            architecture="AutoEncoderTopK",
            class_name="AutoEncoderTopK",
            path="sae/trainer_0",
            d_in=D_IN,
            d_sae=D_SAE,
            x=x,
            codes=codes,
            reconstruction=sae.decode(codes) * norm_factor,
            notes=[
                "hand-written: keys of the development version (commit 60ec6bf)",
                "ae.pt is a dictionary with an optimizer; the SAE takes x / norm_factor",
                "codes are in the normalised units of training",
            ],
            recorded=facts(config) | {"norm_factor": norm_factor, "step": 2},
            written_by="hand",
            evaluated_with="the class in memory, fed x / norm_factor, output times norm_factor",
        )
    write(out, LIBRARY, f"dictionary_learning {VERSION}", sample)


def standard_cases() -> dict[str, Case]:
    plain = partial(linear_weights, bias="bias")
    return {
        "standard": Case(
            StandardTrainer,
            AutoEncoder,
            plain,
            {"sparsity_warmup_steps": 10},
            variants=("loaded",),
            notes=("codes_load_dictionary: the library's loader rescales by decoder norms",),
        ),
        "standard_april_normalised": Case(
            StandardTrainerAprilUpdate,
            AutoEncoder,
            plain,
            {"sparsity_warmup_steps": 10},
            normalise=True,
            variants=("loaded",),
            notes=(
                (
                    "saved with normalize_activations: the norm is folded into the biases, the"
                    " file needs no scale, the config does not mention it"
                ),
            ),
        ),
        "auto_encoder_new": Case(
            StandardTrainerAprilUpdate,
            AutoEncoderNew,
            partial(linear_weights, bias="decoder.bias"),
            {"sparsity_warmup_steps": 10},
            dict_class="AutoEncoderNew",
            variants=("output_features",),
            notes=(
                "dict_class edited by hand: the released trainers always write AutoEncoder",
                "no bias is subtracted from the input",
                "codes_output_features: forward(output_features=True) rescales the codes",
            ),
        ),
        "gated": Case(
            GatedSAETrainer,
            GatedAutoEncoder,
            gated_weights,
            {"sparsity_warmup_steps": 10},
            variants=("loaded",),
        ),
        "jumprelu": Case(
            JumpReluTrainer,
            JumpReluAutoEncoder,
            jumprelu_weights,
            {"sparsity_warmup_steps": 10},
            variants=("loaded",),
            notes=("b_dec is not subtracted from the input; two thresholds are negative",),
        ),
        "jumprelu_at_threshold": Case(
            JumpReluTrainer,
            JumpReluAutoEncoder,
            edge_weights,
            {"sparsity_warmup_steps": 10},
            notes=("latent 5 lies exactly at its threshold: code 0",),
        ),
    }


def topk_cases() -> dict[str, Case]:
    unset = ("threshold -1 means never set: encode then keeps every positive code",)
    run_options = {"k": K, "threshold_start_step": -1, "lr": 0.05, "seed": 0}
    finished = Case(
        TopKTrainer,
        AutoEncoderTopK,
        partial(topk_weights, threshold=-1.0),
        run_options,
        normalise=True,
        steps=4,
        save_steps=[2],
        variants=("threshold",),
        notes=("four real steps of the library's trainer; checkpoints/ae_2.pt beside ae.pt",),
    )
    return {
        "topk": Case(
            TopKTrainer,
            AutoEncoderTopK,
            partial(topk_weights, threshold=CUTOFF),
            {"k": K},
            variants=("threshold", "loaded"),
            notes=("codes are top-k; codes_threshold needs use_threshold=True",),
        ),
        "topk_run": finished,
        "batchtopk": Case(
            BatchTopKTrainer,
            BatchTopKSAE,
            partial(topk_weights, threshold=CUTOFF),
            {"k": K},
            variants=("batch", "loaded"),
        ),
        "batchtopk_normalised": Case(
            BatchTopKTrainer,
            BatchTopKSAE,
            partial(topk_weights, threshold=0.2),
            {"k": K},
            normalise=True,
            variants=("batch", "loaded"),
        ),
        "batchtopk_threshold_unset": Case(
            BatchTopKTrainer,
            BatchTopKSAE,
            partial(topk_weights, threshold=-1.0),
            {"k": K},
            variants=("batch", "loaded"),
            notes=unset,
        ),
        "matryoshka_batchtopk": Case(
            MatryoshkaBatchTopKTrainer,
            MatryoshkaBatchTopKSAE,
            matryoshka_weights,
            {"k": K, "group_fractions": [0.25, 0.25, 0.5]},
            variants=("batch", "loaded"),
        ),
    }


def samples() -> dict[str, Build]:
    """Every sample, by name."""
    cases = standard_cases() | topk_cases()
    built: dict[str, Build] = {name: partial(saved, case=case) for name, case in cases.items()}
    finished = cases["topk_run"]
    checkpoint = Case(**{**vars(finished), "path": "sae/trainer_0/checkpoints/ae_2.pt"})
    checkpoint.variants = ()
    checkpoint.notes = ("a checkpoint: state dict in checkpoints/, config.json one folder up",)
    built["topk_run_checkpoint"] = partial(run_checkpoint, case=checkpoint)
    built["topk_backup"] = backup
    return built
