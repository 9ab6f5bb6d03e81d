"""Everything that follows from the FVUs of a family's members: the law, slopes, shares, forecasts.

Every metric is a function of the members' FVUs and nonlinear FVUs, whose interval refits the law for
every resample; ``run`` gives the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from darkmatter import api
from darkmatter_plugins.evaluators.ratios import Floats, FunctionOfRatios
from darkmatter_plugins.evaluators.width_scaling_law.collect import error_column, nonlinear_column
from darkmatter_plugins.evaluators.width_scaling_law.power_law import EXPONENTS, fit_power_law

LEAST_WIDTHS = 4

NO_ERROR = 1e-10
"""An FVU below this is round-off, and has no logarithm worth a slope."""

NO_FALL = "FVU does not fall with width: the best law is a constant"
NO_EXPONENT = (
    "the members decide no exponent: the best one lies at the edge of what is searched, "
    f"{EXPONENTS[0]:g} to {EXPONENTS[-1]:g}"
)


PER_FAMILY = (
    "c", "a", "m", "fvu_slope", "fvu_nonlinear_slope", "share.linear", "share.nonlinear",
    "forecast.error", "forecast.widest", "forecast.next",
)  # fmt: skip


@dataclass
class Law:
    """The law of K members in the output; a function of it takes [fits, 2 K]: FVUs, nonlinear FVUs."""

    out: api.EvalOutput
    names: list[str]
    widths: Floats

    def __post_init__(self) -> None:
        columns = self.out.columns
        tops = [columns[of(name)] for of in (error_column, nonlinear_column) for name in self.names]
        self.numerators = np.stack(tops, axis=1)
        self.ratios = self.numerators.sum(axis=0) / columns["variance"].sum()
        self.fvu, self.nonlinear = np.split(self.ratios, 2)
        self.fitted = fit_power_law(self.widths, self.fvu[None])

    def _statistic(self, name: str, function: Callable[[Floats], Floats], undefined: str) -> float | None:
        """A function of the FVUs as a metric; undefined where it is NaN."""
        statistic = FunctionOfRatios(self.numerators, self.out.columns["variance"], function)
        value = float(function(self.ratios[None])[0])
        if not np.isfinite(value):
            self.out.undefined(name, undefined)
            return None
        self.out.statistic(name, statistic, statistic.linearised())
        return value

    def _fvus(self, y: Floats) -> Floats:
        return y[:, : len(self.names)]

    def _mean_nonlinear(self, y: Floats) -> Floats:
        return np.asarray(y[:, len(self.names) :].mean(axis=1), dtype=np.float64)

    def _c(self, y: Floats) -> Floats:
        return fit_power_law(self.widths, self._fvus(y)).c

    def add_fit(self) -> None:
        """c, a and m."""
        self._statistic("c", self._c, NO_EXPONENT)
        self._statistic("a", lambda y: fit_power_law(self.widths, self._fvus(y)).a, NO_EXPONENT)
        constant = bool(self.fitted.a[0] == 0)
        why = NO_FALL if constant else NO_EXPONENT
        self._statistic("m", lambda y: fit_power_law(self.widths, self._fvus(y)).m, why)
        if self.fitted.c[0] == 0:
            self.out.notes.append("c is 0, the least it may be: these widths show no floor of the FVU")
        fitted = {key: _number(getattr(self.fitted, key)[0]) for key in ("c", "a", "m")}
        missed = self.fvu - np.array([self.fitted.at(width)[0] for width in self.widths])
        rms = float(np.sqrt(np.mean(missed**2)))
        self.out.tables["law"] = {**fitted, "rms_residual": _number(rms)}

    def add_slopes(self, flat: float) -> None:
        """Both slopes, and the verdict on the nonlinear one."""
        log_width = np.log(self.widths)
        u = (log_width - log_width.mean()) / np.sum((log_width - log_width.mean()) ** 2)
        why = "a member's error is round-off, so that its logarithm means nothing"

        def slope(values: Floats) -> Floats:
            usable = np.all(values > NO_ERROR, axis=1)
            logs = np.log(np.where(usable[:, None], values, 1.0))
            return np.where(usable, logs @ u, np.nan)

        self._statistic("fvu_slope", lambda y: slope(self._fvus(y)), why)
        self._statistic("fvu_nonlinear_slope", lambda y: slope(y[:, len(self.names) :]), why)
        found = self.out.metrics[-1]
        verdict = _verdict(found.ci_low, found.ci_high, flat)
        self.out.tables["flatness"] = {
            "slope": found.value,
            "low": found.ci_low,
            "high": found.ci_high,
            "bound": flat,
            "verdict": verdict,
        }
        self.out.notes.append(
            f"FVU_nonlinear over widths: {verdict} (flat: the slope's interval within ±{flat:g})"
        )

    def add_accounting(self) -> None:
        """The shares of FVU; one that would be negative is undefined."""
        c = float(self.fitted.c[0])
        mean = float(self.nonlinear.mean())
        below = f"c = {c:.4g} lies below the mean FVU_nonlinear {mean:.4g}: the share would be negative"
        why = below if np.isfinite(c) else NO_EXPONENT
        linear = self._share("share.linear", lambda y: self._c(y) - self._mean_nonlinear(y), why)
        nonlinear = None
        if linear is None:
            self.out.undefined(
                "share.nonlinear", f"share.linear is undefined, and so is what it leaves: {why}"
            )
        else:
            nonlinear = self._statistic("share.nonlinear", self._mean_nonlinear, NO_EXPONENT)
        if np.isfinite(c) and linear is None:
            self.out.notes.append(
                "the mean FVU_nonlinear exceeds c, so that the paper's accounting, which takes FVU_nonlinear "
                "to be constant, does not add up for this family"
            )
        absent = []
        for index, name in enumerate(self.names):
            above = f"its FVU {self.fvu[index]:.4g} lies below c = {c:.4g}: the share would be negative"
            why = above if np.isfinite(c) else NO_EXPONENT
            of_member = _excess(self._c, index)
            absent.append(self._share(f"share.absent[{name}]", of_member, why))
        self.out.tables["accounting"] = {
            "names": self.names,
            "widths": self.widths.tolist(),
            "fvu": self.fvu.tolist(),
            "absent": absent,
            "linear": linear,
            "nonlinear": nonlinear,
            "mean_fvu_nonlinear": mean,
        }

    def _share(self, name: str, function: Callable[[Floats], Floats], why: str) -> float | None:
        if not float(function(self.ratios[None])[0]) >= 0:
            self.out.undefined(name, why)
            return None
        return self._statistic(name, function, why)

    def add_forecasts(self) -> None:
        """The widest member from the others, and twice its width from all."""
        widest = self.widths[-1]

        def forecast(y: Floats) -> Floats:
            return fit_power_law(self.widths[:-1], self._fvus(y)[:, :-1]).at(float(widest))

        def missed(y: Floats) -> Floats:
            return forecast(y) - self._fvus(y)[:, -1]

        without = f"without the widest member: {NO_EXPONENT}"
        value = self._statistic("forecast.widest", forecast, without)
        self._statistic("forecast.error", missed, without)
        following = self._statistic(
            "forecast.next", lambda y: fit_power_law(self.widths, self._fvus(y)).at(2 * widest), NO_EXPONENT
        )
        if len(self.widths) == LEAST_WIDTHS:
            self.out.notes.append(
                "forecast.error: three members fix the law exactly, nothing is averaged out"
            )
        self.out.tables["forecast"] = {
            "widths": [float(widest), float(2 * widest)],
            "forecast": [value, following],
            "fvu": [float(self.fvu[-1]), None],
        }

    def add_tables(self, l0s: list[float]) -> None:
        """The members as a table, and the curves."""
        given = {metric.name: metric for metric in self.out.metrics}
        self.out.tables["members"] = {
            "names": self.names,
            "widths": self.widths.tolist(),
            "l0s": l0s,
            "fvu": self.fvu.tolist(),
            "fvu_nonlinear": self.nonlinear.tolist(),
        }
        axis: dict[str, Any] = {"x_label": "width", "y_label": "FVU"}
        for kind in ("fvu", "fvu_nonlinear"):
            found = [given[f"{kind}[{name}]"] for name in self.names]
            self.out.curves[kind] = {
                **axis,
                "x": self.widths.tolist(),
                "y": [each.value for each in found],
                "low": [each.ci_low for each in found],
                "high": [each.ci_high for each in found],
            }
        x = np.geomspace(self.widths[0], 2 * self.widths[-1], 33).tolist()
        y = [_number(self.fitted.at(width)[0]) for width in x]
        self.out.curves["law"] = {**axis, "x": x, "y": y}


def _excess(c: Callable[[Floats], Floats], index: int) -> Callable[[Floats], Floats]:
    """A member's FVU above c."""
    return lambda y: y[:, index] - c(y)


def _verdict(low: float | None, high: float | None, flat: float) -> str:
    """Whether an interval says flat, not flat, or neither."""
    if low is None or high is None:
        return "undecided"
    if -flat <= low and high <= flat:
        return "flat"
    return "not flat" if high < -flat or low > flat else "undecided"


def _number(value: float) -> float | None:
    """A number for a file: null where it is undefined."""
    return float(value) if np.isfinite(value) else None
