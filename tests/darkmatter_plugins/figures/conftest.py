"""Results of every evaluator that has a figure, as its docstring describes them, with known numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from darkmatter.figures.grouping import groups
from darkmatter.figures.saving import look
from darkmatter.plugins import host
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import MetricValue, SAERecord
from darkmatter.testing.results import sample_result

HOOK = "blocks.2.hook_resid_post"
NAMES = ("w256", "w512", "w1024", "w2048", "w1024-k8")
WIDTHS = (256, 512, 1024, 2048, 1024)
L0S = (16.0, 16.0, 16.0, 16.0, 8.0)
PARTS = ("error", "linear", "nonlinear")


def value(name, number, *, interval=True):
    """A metric; its interval is a tenth of it to either side."""
    if number is None:
        return MetricValue(name=name, value=None, status="undefined", reason=f"{name} has no value here")
    ends = {"ci_low": number - 0.1 * abs(number), "ci_high": number + 0.1 * abs(number)} if interval else {}
    return MetricValue(name=name, value=number, n=6000, **ends)


def result(evaluator, sae, metrics, *, control=False, width=512, l0=16.0, **fields):
    """One result in memory, with these metrics by name."""
    entry = sample_result(
        sae,
        metrics={},
        evaluator=evaluator,
        is_control=control,
        extra=[each if isinstance(each, MetricValue) else value(*each) for each in metrics],
        **fields,
    )
    record = SAERecord(
        name=sae,
        reference=sae,
        fingerprint=sae,
        hook=HOOK,
        hook_out=HOOK,
        d_in=8,
        d_sae=width,
        l0=l0,
        is_control=control,
    )
    return entry.result.model_copy(update={"sae": record, "key": f"{evaluator}-{sae}"})


def fvus(index):
    """FVU and nonlinear FVU of the member at an index."""
    return 0.30 - 0.04 * index, 0.20 - 0.02 * index


def decomposition(name, index, **options):
    """A result of error_decomposition."""
    norms = {"x": 0.9, "sae": 0.88, "error": 0.6, "linear": 0.8, "nonlinear": 0.5 - 0.01 * index}
    curve = {"x": [1.0, 2.0, 3.0 + index], "y": [0.5, 2.5, 3.5]}
    metrics = [("fvu_nonlinear", fvus(index)[1]), *((f"norm_r2.{key}", r2) for key, r2 in norms.items())]
    metrics += [("feature_norm.correlation", 0.7), ("feature_norm.slope", 1.2)]
    curves = {"feature_norm": curve, "feature_norm_running_mean": curve}
    return result("error_decomposition", name, metrics, curves=curves, **options)


def per_sae(name, index, **options):
    """What every evaluator of one SAE found."""
    fvu, nonlinear = fvus(index)
    yield result("reconstruction", name, [("fvu", fvu)], **options)
    yield decomposition(name, index, **options)
    yield result(
        "density",
        name,
        [("dead", 4.0)],
        curves={"log10_rate": {"edges": [-2.0, -1.5, -1.0, -0.5, 0.0], "latents": [1.0, 2.0, 3.0, index]}},
        **options,
    )
    r2 = ("activations", "norm", "norm_squared", "token", "l0", "position", "position_means")
    predictors = [(f"r2.{key}", 0.1 * place + 0.01 * index) for place, key in enumerate(r2)]
    yield result(
        "error_norm_baselines",
        name,
        [*predictors, ("r2.loss", None), value("authors.r2.token", 0.66, interval=False)],
        **options,
    )
    shares = {"ce": (20.0, 75.0), "fvu": (30.0, 70.0), "norm": (45.0, 90.0)}
    yield result(
        "ce_attribution",
        name,
        [
            *(
                (f"share.{kind}.{part}", share + index)
                for kind, both in shares.items()
                for part, share in zip(("linear", "nonlinear"), both, strict=True)
            ),
            ("ce_increase.sae", fvu / 10),
            ("ce.clean", 1.5),
            ("perplexity.clean", 4.48),
            ("share.ce.shuffled", -12.0),
            ("share.ce.random", None),
        ],
        **options,
    )
    yield result(
        "gradient_pursuit",
        name,
        [
            ("fvu", fvu),
            ("fvu_after", fvu - 0.02),
            ("fvu_nonlinear", nonlinear),
            ("fvu_nonlinear_after", nonlinear - 0.01),
            ("encoder_error", 0.01),
        ],
        **options,
    )
    after = {"other": 0.2, "itself": 0.25, "other:shuffled": 0.29, "other:random": 0.28}
    yield result(
        "cross_layer",
        name,
        [
            *(
                (f"r2.{part}[{source}]", 0.1 * place)
                for place, part in enumerate(PARTS, 1)
                for source in after
            ),
            *((f"fvu_after[{source}]", level) for source, level in after.items()),
            ("fvu_nonlinear_after[other]", 0.11),
        ],
        **options,
    )
    yield autointerp(name, index, **options)
    yield erasure(name, index, **options)
    curve = {0: (1.0, 0.0), 1: (0.6, 1.0), 2: (0.4 - 0.05 * index, 1.5)}
    yield result(
        "feature_editing",
        name,
        [
            ("kl_left", 0.4),
            ("kl0", 2.0),
            ("kl_exact", 0.2),
            *((f"kl_left_at[{size}]", share) for size, (share, _) in curve.items()),
            *((f"edit_at[{size}]", edit) for size, (_, edit) in curve.items()),
        ],
        **options,
    )
    yield from trained(name, index, **options)


def autointerp(name, index, **options):
    """A result of autointerp."""
    scores = {"top": 0.9, "random": 0.6, "both": 0.8, "unrelated": 0.05}
    metrics = [(f"score.{part}", score - 0.02 * index) for part, score in scores.items()]
    return result("autointerp", name, [*metrics, ("detection.auroc", 0.95 - 0.1 * index)], **options)


def erasure(name, index, **options):
    """What taking a concept out achieves, and its cost."""
    tasks = {"none": 0.9, "latent": 0.8 - 0.01 * index, "latents": 0.6, "mean_difference": 0.55, "leace": 0.5}
    costs = {"latent": 0.01, "latents": 0.05, "mean_difference": 0.02, "leace": 0.03 + 0.01 * index}
    metrics = [(f"task.{method}", found) for method, found in tasks.items()]
    metrics += [(f"kl.{method}", found) for method, found in costs.items()]
    return result("concept_erasure", name, [*metrics, ("task.random", None)], **options)


def trained(name, index, **options):
    """What takes training or planted noise."""
    seeds = {part: [0.4 + 0.1 * place, 0.42 + 0.1 * place] for place, part in enumerate(PARTS)}
    yield result(
        "error_saes",
        name,
        [
            *((f"fvu_mean.{part}", sum(each) / 2) for part, each in seeds.items()),
            *((f"score.{part}", 0.3 * place) for place, part in enumerate(PARTS, 1)),
        ],
        tables={
            "saes": [
                {"part": part, "seed": seed, "fvu": fvu}
                for part, each in seeds.items()
                for seed, fvu in enumerate(each)
            ]
        },
        curves={
            f"training_fvu.{part}.{seed}": {"x": [1, 50, 100], "y": [0.9, 0.5, fvu]}
            for part, each in seeds.items()
            for seed, fvu in enumerate(each)
        },
        **options,
    )
    corr = {
        "activation_noise.linear": (0.9, 0.98),
        "activation_noise.nonlinear": (-0.4, -0.38),
        "reconstruction_noise.linear": (-0.1, None),
        "reconstruction_noise.nonlinear": (0.7, 0.78),
    }
    yield result(
        "synthetic_noise",
        name,
        [
            *(value(f"corr.{key}", found, interval=False) for key, (found, _) in corr.items()),
            *(value(f"expected.{key}", theory, interval=False) for key, (_, theory) in corr.items()),
        ],
        tables={
            "linear": [[0.0, 0.01], [0.25, 0.26]],
            "expected_linear": [[0.0, 0.0], [0.25, 0.25]],
            "nonlinear": [[0.0, 1.0], [0.3, None]],
            "expected_nonlinear": [[0.0, 1.0], [0.25, 0.75]],
        },
        curves={
            "linear[1,0.6]": {"x": [0.0, 50.0], "y": [0.3, 0.35]},
            "nonlinear[1,0.6]": {"x": [0.0, 50.0], "y": [0.4, 0.38 - 0.01 * index]},
        },
        **options,
    )


def family(names=NAMES[:4], widths=WIDTHS[:4]):
    """Results on the whole family."""
    found = [fvus(index) for index in range(len(names))]
    fvu, nonlinear = [a for a, _ in found], [b for _, b in found]
    curves = {
        kind: {
            "x": list(widths),
            "y": y,
            "low": [each - 0.01 for each in y],
            "high": [each + 0.01 for each in y],
        }
        for kind, y in (("fvu", fvu), ("fvu_nonlinear", nonlinear))
    }
    curves["law"] = {"x": [256.0, 1024.0, 4096.0], "y": [0.31, 0.22, 0.15]}
    accounting = {
        "names": list(names),
        "widths": list(widths),
        "fvu": fvu,
        "absent": [each - 0.18 for each in fvu],
        "linear": 0.01,
        "nonlinear": 0.17,
        "mean_fvu_nonlinear": 0.17,
    }
    law = [("c", 0.18), ("a", 3.0), ("m", 0.5), ("fvu_nonlinear_slope", -0.2)]
    law += [("forecast.widest", 0.19), ("forecast.next", 0.17), ("share.linear", 0.01)]
    name, options = f"family:{HOOK}", {"width": 0, "l0": None}
    tables = {"accounting": accounting}
    yield result("width_scaling_law", name, law, tables=tables, curves=curves, **options)
    yield beside_baselines(names, widths, fvu, **options)
    size = range(len(names))
    matrix = [[0.1 * i + 0.2 * j if i < j else None for j in size] for i in size]
    axes = {"names": list(names), "widths": list(widths), "values": matrix}
    tokens = {"x": [0, 1, 2, 3], "position": [5, 6, 1, 2]}
    lines = {
        f"{part}_norm[{each}]": {**tokens, "y": [1.0 + index, 2.0, 3.0, 1.5]}
        for part in PARTS
        for index, each in enumerate(names)
    }
    lines[f"predicted_error_norm[{names[-1]}]"] = {**tokens, "y": [1.1, 2.1, 2.9, 1.6]}
    yield result(
        "error_scaling",
        name,
        [("r2.mean", 0.5)],
        tables={
            "members": {"names": list(names), "widths": list(widths)},
            "r2": axes,
            "r2_gain_nonlinear": axes,
        },
        curves=lines,
        **options,
    )


def beside_baselines(names, widths, fvu, **options):
    """A family over L0, at 16 but for the last member, beside two baselines."""
    l0s = [*[16.0] * (len(names) - 1), 8.0]
    members = {"architectures": ["topk"] * len(names), "names": list(names)}
    return result(
        "fvu_l0_curve",
        f"family:{HOOK}",
        [("area.pca", 0.2), *((f"fvu[{name}]", each) for name, each in zip(names, fvu, strict=True))],
        tables={"members": {**members, "widths": list(widths), "l0s": l0s, "fvu": fvu}},
        curves={
            "pca": {"x": [1.0, 8.0, 16.0], "y": [0.9, 0.6, 0.0]},
            "random": {"x": [1.0, 8.0, 16.0], "y": [0.95, 0.8, 0.7]},
        },
        **options,
    )


def similar(rename=str):
    """Two dictionaries and a control: how much of each the two have."""
    cosines = {("w256", "w512"): 0.8, ("w512", "w256"): 0.6, ("pca", "w256"): 0.3, ("pca", "w512"): 0.35}
    for name in ("w256", "w512", "pca"):
        metrics = []
        for (one, other), cosine in cosines.items():
            if one == name:
                way = f"[this→{rename(other)}]"
                metrics += [(f"mmcs{way}", cosine), (f"mmcs_excess{way}", cosine - 0.3)]
        yield result("dictionary_similarity", rename(name), metrics, control=name == "pca")


def everything(rename=str, count=5):
    """Results of all evaluators on some SAEs, a family and a control; ``rename`` changes every name."""
    for index, name in enumerate(NAMES[:count]):
        yield from per_sae(rename(name), index, width=WIDTHS[index], l0=L0S[index])
    yield decomposition(rename("pca"), 9, control=True, width=64)
    yield autointerp(rename("pca"), 9, control=True, width=64)
    for k, fvu in ((8, 0.6), (16, 0.4)):
        yield result("reconstruction", rename(f"pca-k{k}"), [("fvu", fvu)], control=True, width=k)
        yield result("ce_attribution", rename(f"pca-k{k}"), [("ce_increase.sae", 2 * fvu)], control=True)
    yield from similar(rename)
    yield from family(tuple(map(rename, NAMES[:4])))


@pytest.fixture(scope="session")
def results():
    """All of it, in memory."""
    return ResultSet(list(everything()))


@pytest.fixture
def drawn(results):
    """``drawn("density")``: the pictures of a figure by part, from all results or those given."""

    def draw(name, given=None):
        figure = host().figures()[name]
        with look():
            found = [each for group in groups(given or results, figure) for each in figure.resolve()(group)]
        return {each.part: each.figure.axes for each in found}

    return draw


@pytest.fixture(scope="session")
def made():
    """The makers of results above."""
    makers = {
        "everything": everything,
        "family": family,
        "per_sae": per_sae,
        "fvus": fvus,
        "similar": similar,
    }
    return SimpleNamespace(hook=HOOK, names=NAMES, widths=WIDTHS, result=result, value=value, **makers)
