"""The tally of a user study: preferences with intervals, and agreement, as Fig. 8."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from videogen_jax.evaluation.study.agreement import krippendorff_alpha
from videogen_jax.evaluation.study.page import QUESTIONS
from videogen_jax.evaluation.study.votes import Key, Votes, read_votes

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Preference:
    """The votes on one question.

    Attributes:
        votes: number of votes.
        for_a: those that prefer A.
        low, high: Wilson's 95 % interval of the share for A; 0 and 1 without votes.
        pairs: number of pairs that more than half of the voters decided for either side.
        pairs_for_a: those of them for A.
        alpha: Krippendorff's alpha; None if it is not defined.
    """

    votes: int
    for_a: int
    low: float
    high: float
    pairs: int
    pairs_for_a: int
    alpha: float | None

    @property
    def share(self) -> float:
        """The share of votes for A, NaN without votes."""
        return self.for_a / self.votes if self.votes else math.nan


@dataclass(frozen=True)
class Tally:
    """The result of a study: preferences by question."""

    names: tuple[str, str]
    pairs: int
    annotators: tuple[str, ...]
    preferences: dict[str, Preference]

    def table(self) -> str:
        """Returns the preferences as a table in Markdown."""
        a, b = (name.replace("|", "\\|") for name in self.names)
        lines = [
            f"{self.pairs} pairs, {len(self.annotators)} annotators",
            "",
            f"| question | votes | {a} | 95 % interval | {b} | pairs won | alpha |",
            "|---|---|---|---|---|---|---|",
        ]
        for question, preference in self.preferences.items():
            alpha = "–" if preference.alpha is None else f"{preference.alpha:.2f}"
            lost = preference.pairs - preference.pairs_for_a
            shares = ("–", "–", "–")
            if preference.votes:
                interval = f"{preference.low:.1%} to {preference.high:.1%}"
                shares = (f"{preference.share:.1%}", interval, f"{1 - preference.share:.1%}")
            lines.append(
                f"| {QUESTIONS[question]} | {preference.votes} | {' | '.join(shares)} | "
                f"{preference.pairs_for_a} : {lost} | {alpha} |"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as JSON values."""
        shares = {
            question: {
                "question": QUESTIONS[question],
                "share_a": preference.share if preference.votes else None,
                **asdict(preference),
            }
            for question, preference in self.preferences.items()
        }
        return {
            "names": dict(zip("ab", self.names, strict=True)),
            "pairs": self.pairs,
            "annotators": list(self.annotators),
            "confidence": CONFIDENCE,
            "preferences": shares,
        }


def tally_votes(files: Sequence[Path]) -> Tally:
    """Tallies votes. Arguments and errors as of `read_votes`."""
    key, votes = read_votes(files)
    preferences = {question: _preference(key, votes, question) for question in QUESTIONS}
    return Tally(key.names, len(key.pairs), tuple(sorted(votes)), preferences)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a proportion; (0, 1) without trials."""
    from scipy.stats import binomtest

    if not trials:
        return 0.0, 1.0
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _preference(key: Key, votes: Votes, question: str) -> Preference:
    by_pair: list[list[bool]] = [
        [own[question][pair] for own in votes.values() if pair in own[question]]
        for pair in range(len(key.pairs))
    ]
    number, for_a = sum(map(len, by_pair)), sum(map(sum, by_pair))
    low, high = wilson_interval(for_a, number)
    decided = [
        2 * sum(values) > len(values) for values in by_pair if 2 * sum(values) != len(values)
    ]
    alpha = krippendorff_alpha(by_pair)
    return Preference(
        votes=number,
        for_a=for_a,
        low=low,
        high=high,
        pairs=len(decided),
        pairs_for_a=sum(decided),
        alpha=None if math.isnan(alpha) else alpha,
    )
