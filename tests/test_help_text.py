"""The texts of `--help` and `--help-all`."""

import argparse

import pytest

from videogen_jax import cli
from videogen_jax.help_text import LINES, help_text

LONG = "what it is in a first sentence. And more that only the whole help says"


@pytest.fixture(autouse=True)
def width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def parser(*flags: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("prog", description="What it does.")
    parser.add_argument("source", metavar="PATH", help="a file (required)")
    for flag in flags:
        parser.add_argument(flag, metavar="INT", help=f"{LONG}. (default: 3)")
    return parser


def test_a_short_help_is_whole():
    text = help_text(parser("--steps"), everything=False)
    assert text.startswith("usage: prog SOURCE [OPTIONS]\n\nWhat it does.\n")
    assert "And more" in text and "--help-all" not in text
    assert text == help_text(parser("--steps"), everything=True)


def test_a_longer_help_has_a_line_for_each_option():
    text = help_text(parser(*(f"--flag-{i}" for i in range(30))), everything=False)
    assert all(f"  --flag-{i} INT" in text for i in range(30))
    assert "what it is in a first sentence (default: 3)" in text and "And more" not in text
    assert text.endswith("--help-all shows whole descriptions.")


def test_the_longest_help_has_the_first_options_and_counts_the_others():
    flags = [f"--{group}.x{i}" for group in ("model", "data") for i in range(40)]
    text = help_text(
        parser("--seed", *flags), everything=False, first=["--data.x1"], more=["--other"]
    )
    assert len(text.splitlines()) <= LINES
    assert "  --seed INT" in text and "  --data.x1 INT" in text and "--data.x2" not in text
    ending = "Others: 39 of --data, 40 of --model, --other."
    assert " ".join(text.split()).endswith(ending)


def test_what_is_listed_stands_before_the_options():
    text = help_text(parser("--seed"), everything=False, listing="one\ntwo")
    assert text.index("one\ntwo\n") < text.index("options:")


def test_tyro_still_offers_the_list_of_options(capsys):
    def main(path: str, /, count: int = 3) -> None:
        """Does it.

        Args:
            path: a file.
            count: how many.
        """

    with pytest.raises(SystemExit) as stopped:
        cli.command(main, "prog", ["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "  --count INT                 how many. (default: 3)" in text
    assert "a file." in text
