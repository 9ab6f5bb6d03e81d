"""Readers of SAE files, one module per format.

A new format is one module like those here, with an ``ADAPTER``, a ``detect`` that looks at names and
headers, and a ``load`` that hands tensors to ``CanonicalSAE``; then one line below. Importing this
package imports no torch.
"""

from darkmatter_plugins.adapters import dictionary_learning, gemma_scope, saelens, sparsify

ADAPTERS = (
    dictionary_learning.ADAPTER,
    gemma_scope.ADAPTER,
    saelens.ADAPTER,
    sparsify.ADAPTER,
)
