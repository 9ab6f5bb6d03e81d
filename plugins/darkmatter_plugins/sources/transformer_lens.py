"""Language models through TransformerLens' bridge (3.x and 4.x), weights as Hugging Face has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from darkmatter import api, sources
from darkmatter_plugins.sources.directions import logit_directions
from darkmatter_plugins.sources.model_files import find_model
from darkmatter_plugins.sources.quiet import quiet
from darkmatter_plugins.sources.resumed import Junction, ResumedBridge, recorded

if TYPE_CHECKING:
    from torch import Tensor

PROVIDER = "transformer_lens"
PROVIDER_VERSION = 1
"""Part of every cache key: a bump says that the provider gives other numbers."""

_LIBRARIES = ("torch", "transformers", "transformer_lens")
_PROBE_POSITIONS = 11  # a number of heads that no model has, so that shapes tell positions from heads


def open_source(request: api.ActivationRequest, **options: Any) -> api.ActivationStore:
    """Activations of a model on a text, from the cache as far as they are there."""
    return sources.open_cached(request, TransformerLensProvider(), **options)


def plan_source(request: api.ActivationRequest) -> dict[str, Any]:
    """What is cached of a request and what is missing; loads no model, tokenises nothing."""
    return sources.plan_cached(request, TransformerLensProvider())


class TransformerLensProvider:
    """Runs any causal language model that TransformerLens can bridge."""

    def identify(self, spec: sources.ModelSpec) -> sources.ModelIdentity:
        """Who the model is, from its files."""
        files = find_model(spec)
        return sources.ModelIdentity(
            fingerprint=files.fingerprint(),
            tokenizer=files.tokenizer_fingerprint(),
            device=_device(spec.device).type,
            provider=PROVIDER,
            provider_version=PROVIDER_VERSION,
            libraries={name: ".".join(version(name).split(".")[:2]) for name in _LIBRARIES},
        )

    def load_tokenizer(self, spec: sources.ModelSpec) -> HuggingFaceTokenizer:
        """The tokenizer from the model's folder."""
        return HuggingFaceTokenizer(_load_tokenizer(spec))

    def load(self, spec: sources.ModelSpec) -> BridgedModel:
        """The model, on its device, in its dtype."""
        return BridgedModel(spec)


def _device(name: str) -> Any:
    """The torch device of a name; ``auto`` takes a GPU if there is one."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).partition("\n")[0]
        message = f"The device {name!r} cannot be used: {first} Take cpu, cuda, cuda:N, mps or auto."
        raise api.UsageError(message) from error
    return device


def _load_tokenizer(spec: sources.ModelSpec) -> Any:
    """Hugging Face's tokenizer from the model's folder."""
    files = find_model(spec)
    files.tokenizer_files()
    folder = files.folder
    with quiet():
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            # Any of a dozen classes, from a missing file to a configuration of a newer library.
            first = str(error).partition("\n")[0]
            message = f"{folder}: its tokenizer cannot be loaded: {first} Expected tokenizer.json beside it."
            raise api.UsageError(message) from error


class HuggingFaceTokenizer:
    """A Hugging Face tokenizer that adds nothing by itself."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int | None = tokenizer.eos_token_id
        roles = {self.bos, self.eos, tokenizer.pad_token_id, tokenizer.sep_token_id, tokenizer.cls_token_id}
        unknown = {tokenizer.unk_token_id} - roles
        self.special = frozenset((roles | set(tokenizer.all_special_ids)) - unknown - {None})

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        encoded = self._tokenizer(
            list(texts), add_special_tokens=False, verbose=False, return_attention_mask=False
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def decode(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token by itself."""
        return [str(self._tokenizer.decode([token])) for token in tokens]


class BridgedModel:
    """A causal language model with TransformerLens' hook points.

    Attributes:
        bridge: the ``TransformerBridge``.
    """

    def __init__(self, spec: sources.ModelSpec) -> None:
        self.bridge = _boot(spec)
        self.n_vocab = int(self.bridge.cfg.d_vocab)
        limit = getattr(self.bridge.cfg, "n_ctx", None)
        self.n_positions: int | None = int(limit) if limit else None
        self._device = next(self.bridge.parameters()).device
        self._resumes: dict[str, bool] = {}  # by hook point, found out when it is first asked for

    def forward(self, tokens: Tensor, hooks: Sequence[str]) -> sources.Forward:
        """Run tokens [B, P]; activations [B, P, d] with heads flattened, losses [B, P]."""
        logits, found = self._run(tokens, list(hooks))
        missing = [hook for hook in hooks if hook not in found]
        if missing:
            raise api.UsageError(self._unknown(missing))
        activations = {hook: found[hook].flatten(2) for hook in hooks}
        return sources.Forward(activations, sources.token_losses(logits, tokens))

    def resume_at(self, tokens: Tensor, hook: str) -> ResumedBridge:
        """Run tokens [B, P]; from ``hook`` on the model can then go on with other activations."""
        junction = Junction.of(self.bridge, hook)
        with recorded(junction) as outputs:
            own, found = self._run(tokens, [hook])
        if hook not in found:
            raise api.UsageError(self._unknown([hook]))
        tokens = tokens.to(self._device)
        whole = ResumedBridge(self.bridge, tokens, junction, own, found[hook])
        resumed = replace(whole, handed=outputs[0] if outputs else None)
        if hook not in self._resumes:
            self._resumes[hook] = resumed.agrees()
        return resumed if self._resumes[hook] else whole

    def logit_directions(self, vectors: Tensor, hook: str) -> Tensor:
        """[n, V] what vectors [n, d] at a hook point add to the logits directly."""
        return logit_directions(self.bridge, vectors, hook)

    def _run(self, tokens: Tensor, names: list[str] | None) -> tuple[Any, dict[str, Any]]:
        """Logits and activations by name; all names where ``names`` is None.

        The model always runs to its end: with ``stop_at_layer`` a hook point beyond it would be
        left out without a word.
        """
        import torch

        with torch.no_grad(), quiet():
            if names == []:
                return self.bridge(tokens.to(self._device), return_type="logits"), {}
            logits, found = self.bridge.run_with_cache(
                tokens.to(self._device),
                # A function, because for an unknown name in a list 4.x raises and 3.x says nothing.
                names_filter=None if names is None else names.__contains__,
                return_cache_object=False,
                return_type="logits",
            )
        return logits, found

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """What a tiny forward pass gives: the shape at each hook point that fires."""
        import torch

        length = min(_PROBE_POSITIONS, self.n_positions or _PROBE_POSITIONS)
        _, found = self._run(torch.zeros(1, length, dtype=torch.long), None)
        shapes = {name: tuple(x.shape) for name, x in found.items() if isinstance(x, torch.Tensor)}
        return {name: shape for name, shape in shapes.items() if len(shape) > 2 and shape[:2] == (1, length)}

    def hook_names(self) -> list[str]:
        """All hook points that have activations at every position."""
        return sorted(self._shapes())

    def check_hooks(self, hooks: Sequence[str]) -> None:
        """Raise UsageError, with the nearest names, for a hook point that the model has not."""
        known = self._shapes()
        missing = [hook for hook in hooks if hook not in known]
        if missing:
            raise api.UsageError(self._unknown(missing, sorted(known)))

    def _unknown(self, missing: list[str], known: list[str] | None = None) -> str:
        names = self.hook_names() if known is None else known
        near = " ".join(api.did_you_mean(hook, names) for hook in missing)
        listed = ", ".join(map(repr, missing))
        return f"The model has no activations per position at {listed}. {near}"


def _boot(spec: sources.ModelSpec) -> Any:
    """The bridge around a Hugging Face model."""
    import torch

    folder = find_model(spec).folder
    device = _device(spec.device)
    with quiet():
        from transformer_lens.model_bridge import TransformerBridge
        from transformers import AutoModelForCausalLM

        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, spec.dtype),
                attn_implementation="eager",  # the only one whose inside has hook points
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
            bridge = TransformerBridge.boot_transformers(
                str(folder),
                hf_model=model.to(device).eval(),
                tokenizer=_load_tokenizer(spec),
                device=device,
                dtype=getattr(torch, spec.dtype),
            )
            if spec.processing == "compat":
                bridge.enable_compatibility_mode(disable_warnings=True)
        except api.UsageError:
            raise
        except Exception as error:
            # Unknown architectures, damaged weights and remote code each raise their own classes.
            first = str(error).partition("\n")[0]
            message = f"{folder}: cannot be loaded as a causal language model: {first}"
            raise api.UsageError(message) from error
    return bridge.eval()
