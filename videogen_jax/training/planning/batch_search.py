"""A search for the largest batch that fits a device's memory."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar


class Tried(Protocol):
    """The result of one try in a search for the largest batch, such as a `StepPlan`."""

    @property
    def fits(self) -> bool: ...

    @property
    def total(self) -> float:
        """Bytes that the try needs; NaN if that is not known."""
        ...


Try = TypeVar("Try", bound=Tried)


def search_batch(
    attempt: Callable[[int], Try], first: int, limit: float, *, max_tries: int = 6
) -> tuple[Try | None, Try | None]:
    """Returns the largest try that fits in `limit` bytes, and the smallest that does not.

    Each is None if there was no such try.

    Args:
        attempt: tries a number, 1 or more.
        first: the number to try first.
        limit: in bytes.
        max_tries: number of tries after which the search ends.
    """
    fitting: dict[int, Try] = {}
    refused: dict[int, Try] = {}
    number = first
    for _ in range(max_tries):
        tried = attempt(number)
        (fitting if tried.fits else refused)[number] = tried
        low, high = max(fitting, default=0), min(refused, default=None)
        if high is not None and high - low <= 1:
            break
        totals = {n: p.total for n, p in (fitting | refused).items() if math.isfinite(p.total)}
        number = max(_crossing(totals, limit) or 2 * low, low + 1)
        number = number if high is None else min(number, high - 1)
    largest = fitting[max(fitting)] if fitting else None
    return largest, refused[min(refused)] if refused else None


def _crossing(totals: Mapping[int, float], limit: float) -> int:
    """Returns where the line through the two totals nearest to `limit` reaches it; 0 if unknown.

    A single total below the limit is taken to be proportional to its number. A part of it does not
    grow, so the guess is more likely to fit. If a single total is above the limit, its number is
    halved.
    """
    nearest = sorted(totals, key=lambda n: abs(totals[n] - limit))[:2]
    if not nearest:
        return 0
    first = nearest[0]
    if len(nearest) == 1:
        return int(first * limit / totals[first]) if totals[first] <= limit else first // 2
    slope = (totals[first] - totals[nearest[1]]) / (first - nearest[1])
    return int(first + (limit - totals[first]) / slope) if slope > 0 else 0
