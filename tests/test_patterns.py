"""Regular expressions of the user: the syntax of `re`, and limits on time and memory."""

import re
import time

import pytest

from videogen_jax import patterns
from videogen_jax.configs import RUNS
from videogen_jax.patterns import Pattern
from videogen_jax.training.optim import trainable
from videogen_jax.trees import match

PATH = "down_blocks_0/resnets_1/temporal_conv1/kernel"
TREE = {"down_blocks_0": {"resnets_1": {"temporal_conv1": {"kernel": 0, "bias": 0}}}}
# Each of them keeps `re.fullmatch` busy for longer than a run takes.
SLOW = (
    r"(\w+/?)+!",
    r"((\w+)+)+$x",
    r"(\w|\w\w)+!",
    r"(.*)*x",
    r"([a-z_0-9]+/?)*#",
    r"(.*/)*(.*/)*(.*/)*(.*)*!",
    r"(?:\w?){40}\w{40}!",
    r"(?=(\w+/?)+!).*",
    r"^(([a-z])+_?/?.)+[A-Z]([a-z])+$",
)
OF_PRESETS = sorted(
    {text for run in RUNS.values() for text in (*run.optim.freeze, *run.optim.decay)}
)


@pytest.mark.parametrize("text", SLOW)
def test_patterns_that_backtrack_end(monkeypatch, text):
    """They match nothing or are refused, both as an error that names the pattern."""
    monkeypatch.setattr(patterns, "TIME_LIMIT", 0.2)
    start = time.monotonic()
    with pytest.raises(ValueError, match=f"^optim.freeze: .*\n  {re.escape(repr(text))}"):
        trainable((text,), TREE)
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        match([(text, 1)], TREE, default=0)
    assert time.monotonic() - start < 30


def test_a_match_has_a_time_limit(monkeypatch):
    monkeypatch.setattr(patterns, "TIME_LIMIT", 0.1)
    text = r"(?:(a|b|ab)*?)*c\1"
    message = r"takes longer than 0.1 s to match against '(ab)+.*': expected a pattern without rep"
    for method in (Pattern(text).matches, Pattern(text).occurs_in):
        with pytest.raises(ValueError, match=message):
            method("ab" * 60 + "cx")


@pytest.mark.parametrize("text", [*OF_PRESETS, ".*/kernel", "down.*", "(?i)DOWN.*", r"[\w/]+\d/.*"])
@pytest.mark.parametrize("path", [PATH, "conv_in/kernel", "mid_block/resnets_0/conv1/bias", ""])
def test_matches_are_those_of_re(text, path):
    assert Pattern(text).matches(path) == (re.fullmatch(text, path) is not None)
    assert Pattern(text).occurs_in(path) == (re.search(text, path) is not None)


@pytest.mark.parametrize("text", ["[", "(", "*", "(?P<n", "a{3,1}", r"\p{zz}", "(" * 20_000])
def test_what_is_not_a_regular_expression(text):
    with pytest.raises(ValueError, match="is not a regular expression: "):
        Pattern(text)


@pytest.mark.parametrize("text", ["(a{65535}){65535}", "((a{100,}){100}){100}", "(a{,200}){99}"])
def test_counted_repetitions_are_limited(text):
    with pytest.raises(ValueError, match="repeats a part more than 10000 times"):
        Pattern(text)
    assert Pattern("a{0}(x{2,3}|y{4}){0,2}.*").matches(PATH)
