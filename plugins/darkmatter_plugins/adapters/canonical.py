"""darkmatter's own format: any SAE of the canonical form, as ``darkmatter convert`` writes it."""

from __future__ import annotations

from darkmatter import api

CONFIG, WEIGHTS = api.SAVED_FILES


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A configuration that names this format."""
    if not view.has(CONFIG):
        return api.Refusal(f"there is no {CONFIG} beside {WEIGHTS}")
    found = view.json(CONFIG).get("format")
    if found != "darkmatter sae":
        return api.Refusal(f"field 'format' of {CONFIG} is {str(found)[:80]!r}; expected 'darkmatter sae'")
    return api.Detection(f"{CONFIG} says format 'darkmatter sae'")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE; its metadata say what it was converted from."""
    return api.read_saved(view)


ADAPTER = api.SAEAdapter(
    "darkmatter",
    f"SAEs that `darkmatter convert` wrote ({CONFIG}, {WEIGHTS})",
    "darkmatter_plugins.adapters.canonical:load",
    filenames=api.SAVED_FILES,
    detect=detect,
    layouts=(
        api.Layout(
            name="darkmatter, version 1",
            files=(CONFIG, WEIGHTS),
            architectures=("every one that has the canonical form",),
            known_from="written and read here: harness/darkmatter/sae/saved.py",
            traps=("Tensors are those of CanonicalSAE.tensors(): W_enc is stored [d_in, d_sae].",),
            samples=("darkmatter/*",),
        ),
    ),
)
