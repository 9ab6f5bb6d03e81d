"""The built-in evaluators."""

from __future__ import annotations

from darkmatter_plugins.evaluators.density.descriptor import DENSITY
from darkmatter_plugins.evaluators.error_decomposition.descriptor import ERROR_DECOMPOSITION
from darkmatter_plugins.evaluators.error_saes.descriptor import ERROR_SAES
from darkmatter_plugins.evaluators.reconstruction.descriptor import RECONSTRUCTION

EVALUATORS = (RECONSTRUCTION, ERROR_DECOMPOSITION, DENSITY, ERROR_SAES)
