"""The adapter `toysae`: NAME.toysae.json with sizes, NAME.safetensors with weights.

The JSON holds ``d_in``, ``d_sae``, ``k`` and perhaps ``hook``; the weights are ``encoder``
[d_in, d_sae], ``decoder`` [d_sae, d_in] and ``bias`` [d_in], for x̂ = TopK((x - bias) encoder) decoder
+ bias.
"""

from darkmatter import api

SUFFIX = ".toysae.json"


def _names(view: api.FileView) -> tuple[str, str]:
    """The configuration's file and the weights' file."""
    config = next(name for name in view.names() if name.endswith(SUFFIX))
    return config, config.removesuffix(SUFFIX) + ".safetensors"


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """Claim by what is in the files; no tensor is loaded here."""
    if not any(name.endswith(SUFFIX) for name in view.names()):
        return api.Refusal(f"there is no *{SUFFIX}")
    config, weights = _names(view)
    if "k" not in view.json(config):
        return api.Refusal(f"{config} has no k")
    if not view.has(weights):
        return api.Refusal(f"there is no {weights} beside {config}")
    if "encoder" not in (view.header(weights) or {}):
        return api.Refusal(f"{weights} has no tensor 'encoder'")
    return api.Detection(f"{config} has k, {weights} has encoder")


def load(view: api.FileView, options: api.LoadOptions) -> api.SAE:
    """Read it; ``Fields`` and ``weights`` say which file lacks what. Device and dtype are done for us."""
    del options
    config, name = _names(view)
    fields = api.Fields(view.json(config), str(view.file(config)))
    d_in, d_sae, k = fields.size("d_in"), fields.size("d_sae"), fields.size("k")
    weights = view.weights(name)
    bias, hook = weights.take("bias", d_in), fields.text("hook")
    sae = api.CanonicalSAE(
        W_enc=weights.take("encoder", d_in, d_sae),
        W_dec=weights.take("decoder", d_sae, d_in),
        b_dec=bias,
        subtract=bias,
        activation=api.TopK(k),
        hook_in=hook,
        metadata=api.SAEMetadata(format="toysae", architecture="topk"),
        assumptions=(
            api.Assumption("scale of the activations not recorded; none taken.", about="norm_factor"),
            *(() if hook else (api.Assumption("hook point not recorded.", about="hook"),)),
        ),
    )
    weights.nothing_else()
    return sae


ADAPTER = api.SAEAdapter(
    name="toysae",
    summary="Toy SAEs (*.toysae.json beside *.safetensors)",
    implementation="darkmatter_example.toysae:load",
    filenames=(f"*{SUFFIX}",),
    detect=detect,
)
