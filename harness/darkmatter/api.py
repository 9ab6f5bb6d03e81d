"""Everything a plugin imports: ``from darkmatter import api``.

Four modules are public, and the built-in plugins import nothing else (a test holds that): this one,
``darkmatter.sources`` (what a source that runs a language model needs), ``darkmatter.stats`` (the
pure maths) and ``darkmatter.testing`` (checks for plugins). What they export is stable: within one
``API_VERSION`` a name is removed only after a minor release in which its use warns. The rest of the
package, and where the names below come from, may change in any release.

Importing this module imports no torch: what needs it (SAEs and their parts, shared collectors) is
imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from darkmatter.activations import ActivationStore as ActivationStore
from darkmatter.activations import Shard as Shard
from darkmatter.cache.records import CachedRecords as CachedRecords
from darkmatter.cache.spec import ActivationRequest as ActivationRequest
from darkmatter.catalogues import CatalogueEntry as CatalogueEntry
from darkmatter.choices import ConceptsChoice as ConceptsChoice
from darkmatter.choices import DatasetChoice as DatasetChoice
from darkmatter.choices import LabelledPromptsChoice as LabelledPromptsChoice
from darkmatter.choices import MinimalPairsChoice as MinimalPairsChoice
from darkmatter.choices import SimulatorChoice as SimulatorChoice
from darkmatter.descriptors import API_VERSION as API_VERSION
from darkmatter.descriptors import ActivationSource as ActivationSource
from darkmatter.descriptors import Baseline as Baseline
from darkmatter.descriptors import Config as Config
from darkmatter.descriptors import Dataset as Dataset
from darkmatter.descriptors import Detection as Detection
from darkmatter.descriptors import EmbeddedSuite as EmbeddedSuite
from darkmatter.descriptors import Evaluator as Evaluator
from darkmatter.descriptors import Figure as Figure
from darkmatter.descriptors import Layout as Layout
from darkmatter.descriptors import Metric as Metric
from darkmatter.descriptors import Reach as Reach
from darkmatter.descriptors import Refusal as Refusal
from darkmatter.descriptors import Reporter as Reporter
from darkmatter.descriptors import Requirement as Requirement
from darkmatter.descriptors import SAEAdapter as SAEAdapter
from darkmatter.descriptors import SAECatalogue as SAECatalogue
from darkmatter.descriptors import Simulator as Simulator
from darkmatter.errors import DarkmatterError as DarkmatterError
from darkmatter.errors import ItemError as ItemError
from darkmatter.errors import SAEFileError as SAEFileError
from darkmatter.errors import UnsafeFileError as UnsafeFileError
from darkmatter.errors import UsageError as UsageError
from darkmatter.errors import did_you_mean as did_you_mean
from darkmatter.evaluation import Chunk as Chunk
from darkmatter.evaluation import Collector as Collector
from darkmatter.evaluation import CollectorSpec as CollectorSpec
from darkmatter.evaluation import Contexts as Contexts
from darkmatter.evaluation import EncodedSAE as EncodedSAE
from darkmatter.evaluation import EvalContext as EvalContext
from darkmatter.evaluation import EvaluatorImplementation as EvaluatorImplementation
from darkmatter.evaluation import PassInfo as PassInfo
from darkmatter.evaluation import Rows as Rows
from darkmatter.events import ItemFailed as ItemFailed
from darkmatter.events import ResultWritten as ResultWritten
from darkmatter.events import RunEvent as RunEvent
from darkmatter.events import RunFinished as RunFinished
from darkmatter.events import RunStarted as RunStarted
from darkmatter.events import StepProgress as StepProgress
from darkmatter.figures.measured import Drawing as Drawing
from darkmatter.figures.measured import FigureResults as FigureResults
from darkmatter.figures.measured import Measured as Measured
from darkmatter.figures.measured import NothingToDraw as NothingToDraw
from darkmatter.files.atomic import content_hash as content_hash
from darkmatter.files.atomic import file_hash as file_hash
from darkmatter.files.fields import Fields as Fields
from darkmatter.files.stubs import Stub as Stub
from darkmatter.files.torch_files import SavedTensor as SavedTensor
from darkmatter.files.view import FileView as FileView
from darkmatter.fitting import FitData as FitData
from darkmatter.hookspecs import hookimpl as hookimpl
from darkmatter.output import EvalOutput as EvalOutput
from darkmatter.printable import printable as printable
from darkmatter.results.comparable import flat as flat
from darkmatter.results.configurations import Configuration as Configuration
from darkmatter.results.configurations import configurations as configurations
from darkmatter.results.numbers import format_value as format_value
from darkmatter.results.rows import ROW_COLUMNS as ROW_COLUMNS
from darkmatter.results.schema import Estimator as Estimator
from darkmatter.results.schema import MetricValue as MetricValue
from darkmatter.results.schema import Result as Result
from darkmatter.results.table import Block as Block
from darkmatter.results.table import Cell as Cell
from darkmatter.results.table import Column as Column
from darkmatter.results.table import Section as Section
from darkmatter.results.table import Table as Table
from darkmatter.results.table import TableRow as TableRow
from darkmatter.sae.assumption import Assumption as Assumption
from darkmatter.sae.base import SAE as SAE
from darkmatter.sae.base import SAEMetadata as SAEMetadata
from darkmatter.sae.load import LoadOptions as LoadOptions
from darkmatter.sae.overrides import Overrides as Overrides
from darkmatter.sae.saved import SAVED_FILES as SAVED_FILES
from darkmatter.sae.saved import read_saved as read_saved
from darkmatter.simulating import Fragments as Fragments
from darkmatter.simulating import Simulation as Simulation
from darkmatter.simulating import SimulatorMaker as SimulatorMaker
from darkmatter.simulating import Usage as Usage
from darkmatter.tasks import Concepts as Concepts
from darkmatter.tasks import LabelledPrompts as LabelledPrompts
from darkmatter.tasks import MinimalPairs as MinimalPairs

if TYPE_CHECKING:
    from darkmatter.collectors import ErrorMoments as ErrorMoments
    from darkmatter.collectors import LatentMoments as LatentMoments
    from darkmatter.collectors import MeanError as MeanError
    from darkmatter.collectors import fit_error_map as fit_error_map
    from darkmatter.files.weights import Weights as Weights
    from darkmatter.raw_activations import tensor_activations as tensor_activations
    from darkmatter.sae.activation import AbsTopK as AbsTopK
    from darkmatter.sae.activation import Activation as Activation
    from darkmatter.sae.activation import Gated as Gated
    from darkmatter.sae.activation import GroupMax as GroupMax
    from darkmatter.sae.activation import JumpRelu as JumpRelu
    from darkmatter.sae.activation import Relu as Relu
    from darkmatter.sae.activation import TanhRelu as TanhRelu
    from darkmatter.sae.activation import Threshold as Threshold
    from darkmatter.sae.activation import TopK as TopK
    from darkmatter.sae.canonical import CanonicalSAE as CanonicalSAE
    from darkmatter.sae.check import require_finite as require_finite
    from darkmatter.sae.codes import Codes as Codes
    from darkmatter.sae.encode_only import EncodeOnlySAE as EncodeOnlySAE
    from darkmatter.sae.fingerprint import fingerprint as fingerprint
    from darkmatter.sae.normalisation import Normalisation as Normalisation
    from darkmatter.sae.opaque import OpaqueSAE as OpaqueSAE
    from darkmatter.stream.shards import one_thread_each as one_thread_each

_WITH_TORCH = {
    "AbsTopK": "darkmatter.sae.activation",
    "Activation": "darkmatter.sae.activation",
    "CanonicalSAE": "darkmatter.sae.canonical",
    "Codes": "darkmatter.sae.codes",
    "EncodeOnlySAE": "darkmatter.sae.encode_only",
    "ErrorMoments": "darkmatter.collectors",
    "Gated": "darkmatter.sae.activation",
    "GroupMax": "darkmatter.sae.activation",
    "JumpRelu": "darkmatter.sae.activation",
    "LatentMoments": "darkmatter.collectors",
    "MeanError": "darkmatter.collectors",
    "Normalisation": "darkmatter.sae.normalisation",
    "OpaqueSAE": "darkmatter.sae.opaque",
    "Relu": "darkmatter.sae.activation",
    "TanhRelu": "darkmatter.sae.activation",
    "Threshold": "darkmatter.sae.activation",
    "TopK": "darkmatter.sae.activation",
    "Weights": "darkmatter.files.weights",
    "fingerprint": "darkmatter.sae.fingerprint",
    "fit_error_map": "darkmatter.collectors",
    "one_thread_each": "darkmatter.stream.shards",
    "require_finite": "darkmatter.sae.check",
    "tensor_activations": "darkmatter.raw_activations",
}


if not TYPE_CHECKING:  # a type checker shall refuse names that are not here

    def __getattr__(name: str) -> Any:
        if name not in _WITH_TORCH:
            message = f"module 'darkmatter.api' has no attribute {name!r}"
            raise AttributeError(message)
        return getattr(importlib.import_module(_WITH_TORCH[name]), name)
