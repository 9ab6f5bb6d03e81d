"""The figure: one number of every SAE, with its interval."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from darkmatter import api


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """A point per SAE; matplotlib's settings are taken as they are, and pyplot is left alone."""
    known = [each for each in results.of("code_concentration") if each.value("top_share") is not None]
    if not known:
        reason = "top_share is undefined for every SAE"
        raise api.NothingToDraw(reason)
    figure = Figure(figsize=(5, 1 + 0.3 * len(known)))
    axis = figure.subplots()
    for row, each in enumerate(known):
        metric = each.metrics["top_share"]
        axis.plot([metric.value], [row], "o", color="#8c8c8c" if each.is_control else "#0072b2")
        axis.plot([metric.ci_low, metric.ci_high], [row, row], color="#202020")
    axis.set_yticks(range(len(known)), [api.printable(each.name)[:30] for each in known])
    axis.set_xlabel("top_share")
    yield api.Drawing(figure, "Share of a token's code in its largest latents; lines: 95% intervals.")
