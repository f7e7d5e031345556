"""The tally of votes: preferences of A whatever the side, intervals, and wrong files."""

import json
from pathlib import Path
from typing import Any

import pytest

from videogen_jax.cli import call
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.study.page import KEY_KIND, QUESTIONS, VOTES_KIND
from videogen_jax.evaluation.study.tally import tally_votes, wilson_interval

FIRST = [True, False, False, True]  # whether A is first, of each pair


def write(path: Path, **content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    pairs = [{"name": f"p{i}", "prompt": "x", "a_is_first": first} for i, first in enumerate(FIRST)]
    names = {"a": "ours", "b": "theirs"}
    return write(tmp_path / "page-key.json", kind=KEY_KIND, study="s1", names=names, pairs=pairs)


def write_votes(folder: Path, annotator: str, **answers: str) -> Path:
    """Writes votes from strings like quality="aab.": for A, A, B, and none."""
    votes: dict[str, dict[str, int]] = {}
    for question, text in answers.items():
        for pair, letter in enumerate(text):
            if letter != ".":
                first = (letter == "a") == FIRST[pair]
                votes.setdefault(str(pair + 1), {})[question] = 1 if first else 2
    path = folder / f"votes-{annotator}.json"
    return write(path, kind=VOTES_KIND, study="s1", annotator=annotator, votes=votes)


def test_votes_are_counted_for_a_on_either_side(key: Path, tmp_path: Path):
    ann = write_votes(tmp_path, "ann", quality="aaab", alignment="ab..")
    bob = write_votes(tmp_path, "bob", quality="aabb", alignment="bb..")
    result = tally_votes([ann, key, bob])
    assert result.names == ("ours", "theirs") and result.annotators == ("ann", "bob")
    quality, alignment = result.preferences["quality"], result.preferences["alignment"]
    assert (quality.votes, quality.for_a, quality.share) == (8, 5, 0.625)
    assert (quality.pairs, quality.pairs_for_a) == (3, 2)  # one pair is undecided
    assert (alignment.votes, alignment.for_a) == (4, 1)
    assert (quality.low, quality.high) == pytest.approx(wilson_interval(5, 8))
    # Pairs aa, aa, ab, bb: 3 + 3 coincidences of a and b at random, of which 2 are observed.
    assert quality.alpha == pytest.approx(1 - 7 * 2 / (2 * 5 * 3))
    table = result.table()
    assert "4 pairs, 2 annotators" in table and "| 8 | 62.5% |" in table
    assert all(text in table for text in QUESTIONS.values())


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)],
)
def test_wilson_intervals(successes: int, trials: int, low: float, high: float):
    """Newcombe (1998), Two-sided confidence intervals for the single proportion, table I."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_a_question_without_votes_has_no_share(key: Path, tmp_path: Path):
    result = tally_votes([key, write_votes(tmp_path, "ann", quality="aaaa")])
    nothing = result.preferences["alignment"]
    assert (nothing.votes, nothing.low, nothing.high, nothing.alpha) == (0, 0.0, 1.0, None)
    assert "| 0 | – | – | – | 0 : 0 | – |" in result.table()
    json.dumps(result.to_dict(), allow_nan=False)


def test_the_command_writes_table_numbers_and_plot(key: Path, tmp_path: Path, capsys):
    votes = write_votes(tmp_path, "ann", quality="aaab", alignment="aabb")
    call("compare", "videogen compare", ["--tally", str(votes), str(key), "--out", str(tmp_path)])
    assert "| Which video is of higher quality? | 4 | 75.0% |" in capsys.readouterr().out
    result = json.loads((tmp_path / "tally.json").read_text())
    assert result["preferences"]["quality"]["share_a"] == 0.75
    assert (tmp_path / "tally.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_files(key: Path, tmp_path: Path):
    ann = write_votes(tmp_path, "ann", quality="aaab")

    def fails(message: str, *files: Path) -> None:
        with pytest.raises(UserError, match=message) as error:
            tally_votes(files)
        assert "\n" not in str(error.value)

    again = tmp_path / "again.json"
    again.write_bytes(ann.read_bytes())
    fails(r"votes-ann.json and .*again.json are both votes of 'ann'", key, ann, again)
    other = json.loads(ann.read_text())
    fails("other.json: votes of another page .s2., expected s1", key,
          write(tmp_path / "other.json", **{**other, "study": "s2"}))  # fmt: skip
    fails("expected one key among the files, the …-key.json .*; got none", ann)
    fails("no votes among the files", key)
    second = tmp_path / "second-key.json"
    second.write_bytes(key.read_bytes())
    fails("page-key.json and .*second-key.json", key, second, ann)
    fails("neither votes that a page saved nor the key", key, write(tmp_path / "x.json", kind="x"))
    fails("annotator is '', expected a name", key,
          write(tmp_path / "nameless.json", **{**other, "annotator": ""}))  # fmt: skip
    for number, votes in enumerate(({"5": {}}, {"1": {"taste": 1}}, {"1": {"quality": 3}}, [])):
        path = write(tmp_path / f"bad_{number}.json", **{**other, "votes": votes})
        fails("pair '5', expected 1 to 4|expected 1 or 2 for quality|expected an object", key, path)
    (tmp_path / "half.json").write_text(ann.read_text()[:40])
    fails("half.json: not a JSON file", key, tmp_path / "half.json")
    write(tmp_path / "damaged-key.json", kind=KEY_KIND, study="s1")
    fails("damaged-key.json: the key is damaged: no 'pairs'", tmp_path / "damaged-key.json", ann)
    with pytest.raises(MissingFile, match="nowhere.json"):
        tally_votes([key, tmp_path / "nowhere.json"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "expected two folders of videos and --out"),
        (["a", "b"], "expected two folders of videos and --out"),
        (["a", "b", "--tally", "x.json"], "folders and --tally are both given"),
    ],
)
def test_wrong_command_lines(words: list[str], message: str, capsys):
    with pytest.raises(SystemExit) as exit:
        call("compare", "videogen compare", words)
    assert exit.value.code == 1 and message in capsys.readouterr().err
