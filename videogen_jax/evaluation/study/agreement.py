"""Agreement between annotators: Krippendorff's alpha for nominal data."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable


def krippendorff_alpha(units: Iterable[Iterable[Hashable]]) -> float:
    """Returns Krippendorff's alpha for nominal data (Krippendorff 2011).

    It is 1 if all agree and about 0 if values are assigned at random, also if annotators have not
    rated all units. Units with fewer than two values do not count.

    Args:
        units: the values that annotators gave to each unit, without those that are missing.

    Returns:
        alpha, at most 1. NaN if no unit has two values, or if all values are the same, so that
        nothing could differ.
    """
    coincidences: Counter[tuple[Hashable, Hashable]] = Counter()
    for values in units:
        counts = Counter(values)
        rated = counts.total()
        if rated < 2:
            continue
        for a, number_a in counts.items():
            for b, number_b in counts.items():
                pairs = number_a * (number_b - (a == b))
                coincidences[a, b] += pairs / (rated - 1)  # pyright: ignore[reportArgumentType]
    totals: Counter[Hashable] = Counter()
    for (a, _), count in coincidences.items():
        totals[a] += count
    number = sum(totals.values())
    expected = number**2 - sum(total**2 for total in totals.values())
    if expected <= 1e-9 * number**2:
        return math.nan
    observed = sum(count for (a, b), count in coincidences.items() if a != b)
    return 1.0 - (number - 1) * observed / expected
