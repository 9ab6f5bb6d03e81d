"""Pure maths: tensors in, tensors out; no files, no plugins, no orchestration.

Everything is float64 and mergeable: a statistic of a whole is made from those of its parts, in
their order, so that the number of workers never changes a byte.
"""

from darkmatter.stats.front import Dominated as Dominated
from darkmatter.stats.front import dominated as dominated
from darkmatter.stats.moments import CrossMoments as CrossMoments
from darkmatter.stats.moments import Gram as Gram
from darkmatter.stats.moments import centred as centred
from darkmatter.stats.pursuit import gradient_pursuit as gradient_pursuit
from darkmatter.stats.regression import GramFactor as GramFactor
from darkmatter.stats.regression import LinearMap as LinearMap
from darkmatter.stats.resample import Influence as Influence
from darkmatter.stats.resample import MeanOfRatios as MeanOfRatios
from darkmatter.stats.resample import Ratio as Ratio
from darkmatter.stats.resample import Statistic as Statistic
from darkmatter.stats.unit_sums import UnitSums as UnitSums
