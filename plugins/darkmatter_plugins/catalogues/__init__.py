"""Names under which published SAEs are known. Importing this imports neither the data nor torch."""

from darkmatter import api

CATALOGUES = (
    api.SAECatalogue(
        "saelens",
        "SAELens's list of pretrained SAEs: release and id",
        "darkmatter_plugins.catalogues.saelens:by_release",
        form="RELEASE/ID",
        example="gpt2-small-res-jb/blocks.8.hook_resid_pre",
    ),
    api.SAECatalogue(
        "neuronpedia",
        "Neuronpedia's names for SAEs, as far as SAELens's list has them: model and source",
        "darkmatter_plugins.catalogues.saelens:by_neuronpedia",
        form="MODEL/SOURCE",
        example="gpt2-small/0-res-jb",
    ),
)
