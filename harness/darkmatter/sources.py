"""What an activation source needs beyond ``darkmatter.api``: ``from darkmatter import sources``. Public.

A source that runs language models of its own kind writes a ``ModelProvider`` and leaves text,
packing, cache and repair to ``open_cached``; ``plan_cached`` is then its descriptor's ``plan``. The
promise of stability is that of ``darkmatter.api``. Importing this module imports no torch.
"""

from darkmatter.cache.spec import ModelSpec as ModelSpec
from darkmatter.cache.spec import TextSpec as TextSpec
from darkmatter.cache.store import open_cached as open_cached
from darkmatter.cache.store import plan_cached as plan_cached
from darkmatter.embedded import embedded_path as embedded_path
from darkmatter.models import Forward as Forward
from darkmatter.models import LanguageModel as LanguageModel
from darkmatter.models import ModelIdentity as ModelIdentity
from darkmatter.models import ModelProvider as ModelProvider
from darkmatter.models import Resumed as Resumed
from darkmatter.models import TextTokenizer as TextTokenizer
from darkmatter.models import token_losses as token_losses
from darkmatter.raw_activations import open_activations_file as open_activations_file
