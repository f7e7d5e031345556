"""Checks of single arguments of a call: their types and ranges."""

import math
from collections.abc import Iterable
from typing import Any, get_args

from videogen_jax.diffusion.guidance import GuidancePasses
from videogen_jax.errors import UserError, WrongType


def plain(value: Any) -> Any:
    """Returns NumPy and JAX scalars as Python's, and arrays and lists as tuples; others unchanged.

    So `seed=np.int64(7)` and `fps=np.float32(8)` are the same as 7 and 8.0.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def check_count(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    """Returns `value`, an integer in the range.

    Raises:
        WrongType: it is not an integer; True and False are none.
        UserError: it is out of the range.
    """
    wanted = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
    error = f"{name} is {value!r}, expected an integer {wanted}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongType(error)
    if value < lowest or (highest is not None and value > highest):
        raise UserError(error)
    return value


def check_number(name: str, value: Any, wanted: str = "a finite number") -> float:
    """Returns `value`, a number that is neither infinite nor NaN.

    Raises:
        WrongType: it is not a number; True and False are none.
        UserError: it is not finite.
    """
    error = f"{name} is {value!r}, expected {wanted}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongType(error)
    if not math.isfinite(value):
        raise UserError(error)
    return value


def check_rescale(value: Any) -> None:
    """Raises UserError unless `value` is a guidance rescale, a number from 0 to 1."""
    wanted = "a number from 0 to 1"
    if not 0.0 <= check_number("guidance_rescale", value, wanted) <= 1.0:
        raise UserError(f"guidance_rescale is {value!r}, expected {wanted}")


def check_guidance(rescale: Any, interval: Any, passes: Any) -> None:
    """Raises UserError unless the options of guidance, without its scale, are in their ranges."""
    check_rescale(rescale)
    check_choice("guidance_passes", passes, GuidancePasses)
    if interval is None:
        return
    error = (
        f"guidance_interval is {interval!r}, expected two noise levels, the lower one first, such "
        "as (0.28, 5.42)"
    )
    if not isinstance(interval, tuple) or len(interval) != 2:
        raise WrongType(error)
    if any(isinstance(level, bool) or not isinstance(level, int | float) for level in interval):
        raise WrongType(error)
    if not 0.0 <= interval[0] < interval[1] < math.inf:
        raise UserError(error)


def check_strength(name: str, value: Any) -> None:
    """Raises UserError unless `value` is a number above 0 and at most 1."""
    wanted = "a number above 0 and at most 1"
    if not 0.0 < check_number(name, value, wanted) <= 1.0:
        raise UserError(f"{name} is {value!r}, expected {wanted}")


def check_switch(name: str, value: Any) -> None:
    """Raises WrongType unless `value` is True or False: a text such as "no" would be true."""
    if not isinstance(value, bool):
        raise WrongType(f"{name} is {value!r}, expected True or False")


def check_progress(value: Any) -> bool | None:
    """Returns `value`. Raises WrongType unless it is True, False or None."""
    if value is not None:
        check_switch("progress", value)
    return value


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raises UserError unless `value` is one of the values of the `Literal` type `choices`."""
    if value not in get_args(choices):
        raise UserError(f"{name} is {value!r}, expected one of {', '.join(get_args(choices))}")


def check_prompts(prompt: Any) -> tuple[str, ...]:
    """Returns one text or several as a tuple.

    Raises:
        WrongType: one is not a string.
        UserError: there are none, or one is not valid Unicode.
    """
    prompt = plain(prompt)
    is_one = isinstance(prompt, str | bytes) or not isinstance(prompt, Iterable)
    prompts: tuple[Any, ...] = (prompt,) if is_one else tuple(prompt)
    if not prompts:
        raise UserError("the list of prompts is empty, expected at least one prompt")
    for one in prompts:
        _check_text("prompt", one, "a string or a list of strings")
    return prompts


def negative_prompts(negative: Any, count: int) -> tuple[str, ...]:
    """Returns the negative prompt of each of `count` prompts.

    Args:
        negative: one text for all, or a list with one for each; None is the empty text.
        count: number of prompts.

    Raises:
        WrongType: one is not a string.
        UserError: the list has another length, or a text is not valid Unicode.
    """
    texts = (negative,) * count if negative is None or isinstance(negative, str) else negative
    wanted = "a string or a list of strings, one for each prompt"
    if not isinstance(texts, tuple):
        raise WrongType(f"negative_prompt is {texts!r}, expected {wanted}")
    if len(texts) != count:
        raise UserError(f"negative_prompt has {len(texts)} texts for {count} prompts")
    texts = tuple("" if text is None else text for text in texts)
    for text in texts:
        _check_text("negative_prompt", text, wanted)
    return texts


def _check_text(name: str, text: Any, wanted: str) -> None:
    if not isinstance(text, str):
        raise WrongType(f"{name} is {text!r}, expected {wanted}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # A byte of the command line that is not UTF-8 becomes such a character.
        raise UserError(f"{name} is {text!r}, which is not UTF-8 text") from error
