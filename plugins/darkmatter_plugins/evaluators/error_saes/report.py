"""From trained SAEs and held-out sums to metrics, tables, curves and the answer in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from darkmatter import api
from darkmatter.stats import Ratio
from darkmatter_plugins.cosines import mean_max_cosine, random_max_cosine
from darkmatter_plugins.evaluators.error_decomposition.run import CONSTANT
from darkmatter_plugins.evaluators.error_saes.descriptor import PARTS
from darkmatter_plugins.evaluators.error_saes.gaps import Gap
from darkmatter_plugins.evaluators.error_saes.interpret import LatentScores
from darkmatter_plugins.evaluators.error_saes.targets import HeldOutCollector

OF_WEIGHTS = "a function of weights alone"
UNSEEN = "a bootstrap cannot make unseen firings"


@dataclass
class Report:
    """Fills ``out``; the parts that are not ``defined`` do not vary, and no SAE was trained on them."""

    out: api.EvalOutput
    defined: list[str]
    held_out: HeldOutCollector
    seeds: int

    def _undefined(self, names: Iterable[str], parts: Iterable[str], reason: str = "") -> None:
        """No value for these metrics of parts, for a reason or because the part does not vary."""
        for part in parts:
            nothing = f"{PARTS[part]} does not vary on the held-out rows (round-off at most)"
            for name in names:
                self.out.undefined(f"{name}.{part}", reason if part in self.defined else nothing)

    def _missing(self) -> list[str]:
        return [part for part in PARTS if part not in self.defined]

    def fvus(self, part: str) -> np.ndarray:
        """Held-out FVU of each seed's SAE."""
        sums = {name: float(column.sum()) for name, column in self.out.columns.items()}
        missed = [sums[f"{part}_missed_{seed}"] for seed in range(self.seeds)]
        return np.array(missed) / sums[f"{part}_variance"]

    def reconstruction(self, *, floor: float) -> None:
        """``fvu*``: of the first seed over held-out units, and over seeds."""
        spread = ("fvu_std", "fvu_range")
        self._undefined(("fvu", "fvu_of_x", "fvu_mean", *spread), self._missing())
        for part in self.defined:
            missed = f"{part}_missed_0"
            self.out.ratio(f"fvu.{part}", missed, f"{part}_variance")
            self.out.ratio(f"fvu_of_x.{part}", missed, "target_variance", floor=floor, undefined=CONSTANT)
            fvus = self.fvus(part)
            self.out.mean_over(f"fvu_mean.{part}", fvus, units="training seeds")
            if self.seeds < 2:
                self._undefined(spread, [part], "one training seed has no spread")
                continue
            why = f"a spread over {self.seeds} training seeds"
            self.out.plain(f"fvu_std.{part}", float(fvus.std(ddof=1)), why_no_interval=why)
            self.out.plain(f"fvu_range.{part}", float(np.ptp(fvus)), why_no_interval=why)

    def latents(self, dictionary: Tensor | None) -> None:
        """``dead.*`` and ``similarity*`` to the SAE's own decoder rows, of the first seed."""
        names = ("similarity", "similarity_excess")
        self._undefined(("dead", *names), self._missing())
        known = 0 if dictionary is None else int((dictionary.norm(dim=1) > 0).sum())
        for part in self.defined:
            fires = self.held_out.fired[part, 0] > 0
            self.out.plain(f"dead.{part}", float((~fires).double().mean()), why_no_interval=UNSEEN)
            directions = self.held_out.spec.trained[part, 0].sae.W_dec[fires]
            if dictionary is None or not known:
                self._undefined(names, [part], "the SAE has no decoder directions to compare with")
            elif not len(directions):
                self._undefined(names, [part], "no trained latent fires on the held-out rows")
            else:
                similarity = mean_max_cosine(directions, dictionary)
                excess = similarity - random_max_cosine(known, dictionary.shape[1])
                self.out.plain(f"similarity.{part}", similarity, why_no_interval=OF_WEIGHTS)
                self.out.plain(f"similarity_excess.{part}", excess, why_no_interval=OF_WEIGHTS)

    def scores(self, found: Mapping[str, LatentScores] | str) -> None:
        """``score*``: means over latents; a constant simulation knows nothing and counts as 0."""
        names = ("score", "score_token", "score_undefined")
        self._undefined(names, self._missing())
        if isinstance(found, str):
            self._undefined(names, self.defined, found)
            return
        for part, each in found.items():
            table: dict[str, list[int] | list[float | None]] = {"latent": each.latents}
            for name, values in each.scores.items():
                self.out.mean_over(f"{name}.{part}", np.nan_to_num(values, nan=0.0), units="latents")
                table[name] = [None if math.isnan(value) else value for value in values.tolist()]
            constant = float(np.isnan(each.scores["score"]).sum())
            self.out.plain(f"score_undefined.{part}", constant, why_no_interval="a count")
            self.out.tables[f"latents.{part}"] = table

    def gaps(self, norm: Gap) -> None:
        """Paired differences between the linear and the nonlinear part, and what they say."""
        missing = [PARTS[part] for part in ("linear", "nonlinear") if part not in self.defined]
        columns = self.out.columns
        nothing = f"{' and '.join(missing)} does not vary on the held-out rows (round-off at most)"
        if missing:
            for name in ("fvu_gap", "fvu_gap_mean", "norm_r2_gap"):
                self.out.undefined(name, nothing)
            return
        ratios = [
            Ratio(columns[f"{part}_missed_0"], columns[f"{part}_variance"])
            for part in ("nonlinear", "linear")
        ]
        fvu = Gap(*ratios)
        self.out.statistic("fvu_gap", fvu, fvu.linearised())
        of_seeds = self.fvus("nonlinear") - self.fvus("linear")
        self.out.mean_over("fvu_gap_mean", of_seeds, units="training seeds")
        self._answer_by_learning(of_seeds)
        if math.isnan(norm.value):
            self.out.undefined("norm_r2_gap", "the norm of a part does not vary (round-off at most)")
            return
        self.out.statistic("norm_r2_gap", norm, norm.linearised())
        self._answer(
            "norm_r2_gap",
            "more like features not yet learned (norm-prediction test)",
            "alike in the norm-prediction test",
        )

    def _answer_by_learning(self, of_seeds: np.ndarray) -> None:
        """Which part is easier to learn; what the training seeds do not agree on is no difference."""
        above = int((of_seeds > 0).sum())
        self._answer(
            "fvu_gap",
            "easier to learn for a sparse autoencoder",
            "as easy to learn",
            beside=f", above 0 for {above} of {len(of_seeds)} training seeds",
            agreed=above in {0, len(of_seeds)},
        )

    def _answer(self, name: str, more: str, alike: str, *, beside: str = "", agreed: bool = True) -> None:
        """A question of the paper in words, by whether the interval of a metric excludes 0."""
        (given,) = (metric for metric in self.out.metrics if metric.name == name)
        low, high = given.ci_low, given.ci_high
        if low is None or high is None:
            return
        winner = "linear" if low > 0 else "nonlinear" if high < 0 else ""
        said = f"the {winner} error is {more}"
        if not (winner and agreed):
            said = f"no difference shown: {alike} at this size"
        self.out.notes.append(f"{said}: {name} {given.value:.3f} [{low:.3f}, {high:.3f}]{beside}")

    def training(self) -> None:
        """The training curves, and everything about each trained SAE in one table."""
        rows = []
        fvus = {part: self.fvus(part).tolist() for part in self.defined}
        total = float(self.out.columns["target_variance"].sum())
        for (part, seed), trained in self.held_out.spec.trained.items():
            self.out.curves[f"training_fvu.{part}.{seed}"] = {
                "x": trained.step,
                "y": trained.fvu,
                "x_label": "step",
                "y_label": "FVU of the training batches",
            }
            share = float(self.out.columns[f"{part}_variance"].sum()) / total if total > 0 else None
            rows.append(
                {
                    "part": part,
                    "seed": seed,
                    "fvu": fvus[part][seed],
                    "fvu_of_x": None if share is None else fvus[part][seed] * share,
                    "dead": float((self.held_out.fired[part, seed] == 0).double().mean()),
                    "train_fvu": trained.fvu[-1],
                    "rows": trained.rows,
                }
            )
        self.out.tables["saes"] = rows
