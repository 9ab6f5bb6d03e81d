"""The built-in evaluators."""

from __future__ import annotations

from darkmatter_plugins.evaluators.autointerp.descriptor import AUTOINTERP
from darkmatter_plugins.evaluators.ce_attribution.descriptor import CE_ATTRIBUTION
from darkmatter_plugins.evaluators.concept_erasure.descriptor import CONCEPT_ERASURE
from darkmatter_plugins.evaluators.cross_layer.descriptor import CROSS_LAYER
from darkmatter_plugins.evaluators.density.descriptor import DENSITY
from darkmatter_plugins.evaluators.dictionary_similarity.descriptor import DICTIONARY_SIMILARITY
from darkmatter_plugins.evaluators.error_decomposition.descriptor import ERROR_DECOMPOSITION
from darkmatter_plugins.evaluators.error_norm_baselines.descriptor import ERROR_NORM_BASELINES
from darkmatter_plugins.evaluators.error_saes.descriptor import ERROR_SAES
from darkmatter_plugins.evaluators.error_scaling.descriptor import ERROR_SCALING
from darkmatter_plugins.evaluators.feature_editing.descriptor import FEATURE_EDITING
from darkmatter_plugins.evaluators.feature_effects.descriptor import FEATURE_EFFECTS
from darkmatter_plugins.evaluators.feature_recovery.descriptor import FEATURE_RECOVERY
from darkmatter_plugins.evaluators.fvu_l0_curve.descriptor import FVU_L0_CURVE
from darkmatter_plugins.evaluators.gradient_pursuit.descriptor import GRADIENT_PURSUIT
from darkmatter_plugins.evaluators.reconstruction.descriptor import RECONSTRUCTION
from darkmatter_plugins.evaluators.synthetic_noise.descriptor import SYNTHETIC_NOISE
from darkmatter_plugins.evaluators.width_scaling_law.descriptor import WIDTH_SCALING_LAW

EVALUATORS = (
    RECONSTRUCTION,
    ERROR_DECOMPOSITION,
    ERROR_NORM_BASELINES,
    DENSITY,
    FVU_L0_CURVE,
    ERROR_SCALING,
    WIDTH_SCALING_LAW,
    CE_ATTRIBUTION,
    GRADIENT_PURSUIT,
    CROSS_LAYER,
    SYNTHETIC_NOISE,
    ERROR_SAES,
    AUTOINTERP,
    FEATURE_EDITING,
    CONCEPT_ERASURE,
    FEATURE_EFFECTS,
    DICTIONARY_SIMILARITY,
    FEATURE_RECOVERY,
)
