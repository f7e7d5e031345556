"""The bar plot of a user study's tally, as Fig. 8."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from videogen_jax.atomic import replacing
from videogen_jax.evaluation.study.page import QUESTIONS
from videogen_jax.evaluation.study.tally import Tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#1f5fbf", "#c9c9d1")
_LINE = 34  # characters


def save_plot(tally: Tally, path: Path) -> None:
    """Writes the plot as PNG, atomically."""
    with replacing(path) as temporary:
        draw(tally).savefig(temporary, format="png", dpi=150)


def draw(tally: Tally) -> "Figure":
    """Returns a bar for each question, of the shares of A and B, with the interval between them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.9 + 0.8 * len(tally.preferences)), layout="constrained")
    axes = figure.add_subplot()
    voted = {name: value for name, value in tally.preferences.items() if value.votes}
    places = range(len(voted))
    shares = [100 * preference.share for preference in voted.values()]
    axes.barh(places, shares, color=_COLOURS[0], label=tally.names[0], height=0.6)
    rest = [100 - share for share in shares]
    axes.barh(places, rest, left=shares, color=_COLOURS[1], label=tally.names[1], height=0.6)
    errors = [
        [share - 100 * value.low for share, value in zip(shares, voted.values(), strict=True)],
        [100 * value.high - share for share, value in zip(shares, voted.values(), strict=True)],
    ]
    axes.errorbar(shares, places, xerr=errors, fmt="none", ecolor="black", capsize=4)
    for place, share in zip(places, shares, strict=True):
        of_a, of_b = f"{share:.0f} %", f"{100 - share:.0f} %"
        axes.text(-1, place, of_a, va="center", ha="right", fontweight="bold")
        axes.text(101, place, of_b, va="center", fontweight="bold")
    labels = [textwrap.fill(QUESTIONS[name], _LINE) for name in voted]
    axes.set_yticks(places, labels)
    axes.tick_params("y", length=0, pad=45)
    axes.invert_yaxis()
    axes.axvline(50, color="black", linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 100), xlabel="votes, % (bars: 95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure
