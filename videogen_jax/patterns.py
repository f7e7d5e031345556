"""Regular expressions of the user, matched within a time limit.

Engines that backtrack, such as that of `re`, may take longer than any run for an expression such as
`(\\w+/?)+!`. One that does not backtrack would have no look-ahead, which presets use
(`(?!(.*/)?temporal_).*`). The engine of `regex` takes the syntax of `re` and a time limit.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import regex

from videogen_jax.errors import UserError

TIME_LIMIT = 2.0  # seconds for one text; patterns that do not backtrack take microseconds
# Compiling repeats what is counted, as in `(a{1000}){1000}`; the product of all counts is limited.
_COUNT = re.compile(r"\{(\d*),?(\d*)\}")
_MAX_REPEATS = 10_000


class Pattern:
    """A compiled regular expression, in the syntax of `re`.

    Args:
        text: the expression.

    Raises:
        UserError: `text` is not a regular expression, or its counted repetitions are too many.
    """

    def __init__(self, text: str):
        self.text = text
        counts = [max(map(int, filter(None, pair)), default=1) for pair in _COUNT.findall(text)]
        if math.prod(max(count, 1) for count in counts) > _MAX_REPEATS:
            raise UserError(f"{text!r} repeats a part more than {_MAX_REPEATS} times")
        try:
            self._compiled = regex.compile(text)
        except (regex.error, RecursionError, OverflowError) as error:
            reason = str(error) or type(error).__name__
            raise UserError(f"{text!r} is not a regular expression: {reason}") from error

    def matches(self, text: str) -> bool:
        """Returns whether the expression matches the whole text.

        Raises:
            UserError: this takes longer than `TIME_LIMIT`.
        """
        return self._within_limit(self._compiled.fullmatch, text)

    def occurs_in(self, text: str) -> bool:
        """Returns whether the expression matches a part of the text; raises as `matches`."""
        return self._within_limit(self._compiled.search, text)

    def _within_limit(self, method: Callable[..., Any], text: str) -> bool:
        try:
            return method(text, timeout=TIME_LIMIT) is not None
        except TimeoutError as error:
            raise UserError(
                f"{self.text!r} takes longer than {TIME_LIMIT:g} s to match against {text!r}: "
                "expected a pattern without repetitions inside repetitions"
            ) from error
