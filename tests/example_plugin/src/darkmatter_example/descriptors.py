"""What the plugin offers, without importing what computes it."""

from pydantic import Field

from darkmatter import api


class ConcentrationConfig(api.Config):
    """Options of `code_concentration`; each needs a description, which `darkmatter describe` shows."""

    k: int = Field(1, ge=1, description="how many of the largest codes count")


EVALUATOR = api.Evaluator(
    name="code_concentration",
    summary="How much of a token's code sits in its few largest latents.",
    implementation="darkmatter_example.concentration:CodeConcentration",
    config=ConcentrationConfig,
    reaches=(),
    metrics=(
        api.Metric(
            "top_share",
            "mean over tokens of the k largest |codes| as a share of all",
            low=0,
            high=1,
            primary=True,
        ),
        api.Metric("silent_share", "share of tokens on which no latent fires", low=0, high=1),
    ),
)


class CoordinatesConfig(api.Config):
    """Options of `coordinates`."""

    k: int = Field(4, ge=1, description="coordinates kept")


BASELINE = api.Baseline(
    name="coordinates",
    summary="Keeps the k coordinates that vary most, and the mean of the others.",
    implementation="darkmatter_example.coordinates:fit",
    config=CoordinatesConfig,
    reaches=(),
)

SOURCE = api.ActivationSource(
    name="recorded",
    summary="Activations that another program recorded, one .safetensors file per hook point.",
    implementation="darkmatter_example.recorded:open_source",
)

REPORTER = api.Reporter(
    name="tsv",
    summary="tidy rows separated by tabs",
    implementation="darkmatter_example.tsv:render",
    suffix=".tsv",
)

CATALOGUE = api.SAECatalogue(
    name="toys",
    summary="Toy SAEs by the names that their author gave them.",
    implementation="darkmatter_example.toys:resolve",
    form="NAME",
    example="scaled",
)

FIGURE = api.Figure(
    name="concentration_dots",
    summary="top_share of every SAE",
    implementation="darkmatter_example.dots:draw",
    evaluators=("code_concentration",),
)

SUITE = api.EmbeddedSuite(
    name="example",
    summary="Random activations and a toy SAE: seconds.",
    implementation="darkmatter_example.suite:write",
)


class OppositesConfig(api.Config):
    """Options of `opposites`."""

    pairs: int = Field(4, ge=2, le=4, description="pairs of prompts")


DATASET = api.Dataset(
    name="opposites",
    summary='What is "not hot but"?',
    implementation="darkmatter_example.prompts:make",
    config=OppositesConfig,
    reaches=(),
    gives="minimal_pairs",
)

SIMULATOR = api.Simulator(
    name="guess",
    summary="The mean activation, whatever the text.",
    implementation="darkmatter_example.guess:make",
    config=api.Config,
    reaches=(),
)
