"""What the embedded world ships: the list of its SAEs, which is also the recipe that trains them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FAMILY_HOOK = "blocks.2.hook_resid_post"
GEMMA = "gemma-scope-world-pt-res"


@dataclass(frozen=True)
class ShippedSae:
    """One SAE: its short name, where it lies below data/saes, and how it is made."""

    name: str
    folder: str
    kind: str  # topk or jumprelu
    width: int
    l0: int  # k of a TopK SAE, the target of a JumpReLU SAE
    hook: str = FAMILY_HOOK
    layout: str = "saelens"
    seed: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        """The files that make up this SAE, relative to its folder."""
        return {
            "saelens": ("cfg.json", "sae_weights.safetensors"),
            "sparsify": ("layers.2/cfg.json", "layers.2/sae.safetensors", "config.json"),
            "gemma_scope": ("params.npz",),
        }[self.layout]


def _topk(width: int, k: int, hook: str = FAMILY_HOOK, prefix: str = "") -> ShippedSae:
    return ShippedSae(f"{prefix}topk-w{width}-k{k}", f"{hook}/topk_w{width}_k{k}", "topk", width, k, hook)


SAES: tuple[ShippedSae, ...] = (
    # One family: five widths at one L0 ...
    _topk(256, 16),
    _topk(512, 16),
    _topk(1024, 16),
    _topk(2048, 16),
    _topk(4096, 16),
    # ... three L0s at one width ...
    ShippedSae("topk-w1024-k8", "sparsify/topk_w1024_k8", "topk", 1024, 8, layout="sparsify"),
    _topk(1024, 32),
    # ... a second seed, and a second architecture.
    ShippedSae(
        "topk-w1024-k16-seed1", "sparsify/topk_w1024_k16_seed1", "topk", 1024, 16, layout="sparsify", seed=1
    ),
    ShippedSae("jumprelu-w1024", f"{FAMILY_HOOK}/jumprelu_w1024", "jumprelu", 1024, 16, seed=2),
    ShippedSae(
        "gemma-jumprelu-w1024",
        f"{GEMMA}/layer_2/width_1k/average_l0_16",
        "jumprelu",
        1024,
        16,
        layout="gemma_scope",
        seed=3,
    ),
    # Other places of the same model, for evaluators that compare hooks.
    _topk(1024, 16, "blocks.1.hook_resid_post", "layer1-"),
    _topk(1024, 16, "blocks.2.hook_mlp_out", "mlp-"),
    _topk(1024, 16, "blocks.2.attn.hook_z", "attn-"),
)


def data_dir() -> Path:
    """The folder that holds everything shipped."""
    return Path(__file__).resolve().parent / "data"


def model_path() -> Path:
    """The Hugging Face folder of the embedded model and its tokenizer."""
    return data_dir() / "model"


def sae_path(sae: ShippedSae, root: Path | None = None) -> Path:
    """The folder an SAE loader is pointed at."""
    folder = (root or data_dir() / "saes") / sae.folder
    return folder / "layers.2" if sae.layout == "sparsify" else folder


def sae_paths(hook: str | None = None) -> dict[str, Path]:
    """Short name to folder, of all shipped SAEs or of those at one hook."""
    return {sae.name: sae_path(sae) for sae in SAES if hook in (None, sae.hook)}


def sae_hooks() -> dict[str, str]:
    """Short name to hook point."""
    return {sae.name: sae.hook for sae in SAES}
