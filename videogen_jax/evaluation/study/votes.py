"""Reading a study's key and the votes that its page exports."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError
from videogen_jax.evaluation.study.page import KEY_KIND, QUESTIONS, VOTES_KIND
from videogen_jax.json_text import read_json_object


@dataclasses.dataclass(frozen=True)
class Key:
    """What a page does not say.

    Attributes:
        study: the page's checksum.
        names: what A and B are called.
        pairs: names of the pairs, in the page's order.
        a_is_first: whether the first video of each pair is A's.
    """

    study: str
    names: tuple[str, str]
    pairs: tuple[str, ...]
    a_is_first: tuple[bool, ...]


# By annotator, question and pair, counted from 0: whether A was preferred.
Votes = Mapping[str, Mapping[str, Mapping[int, bool]]]


def read_votes(files: Sequence[Path]) -> tuple[Key, Votes]:
    """Reads the key and the votes of all annotators, in any order of files.

    Raises:
        MissingFile: a file does not exist.
        UserError: a file is neither a key nor votes, there is not one key or there are no votes,
            votes are of another page, or an annotator has two files; names the files.
    """
    contents = {path: read_json_object(path) for path in files}
    key = _key(contents)
    votes: dict[str, dict[str, dict[int, bool]]] = {}
    of: dict[str, Path] = {}
    for path, content in contents.items():
        if content.get("kind") == KEY_KIND:
            continue
        if content.get("kind") != VOTES_KIND:
            raise UserError(f"{path}: neither votes that a page saved nor the key of one")
        if content.get("study") != key.study:
            raise UserError(
                f"{path}: votes of another page ({content.get('study')}), expected {key.study}"
            )
        annotator = content.get("annotator")
        if not isinstance(annotator, str) or not annotator:
            raise UserError(f"{path}: annotator is {annotator!r}, expected a name")
        if annotator in of:
            raise UserError(f"{of[annotator]} and {path} are both votes of {annotator!r}")
        of[annotator] = path
        votes[annotator] = _votes(path, content.get("votes"), key)
    if not votes:
        raise UserError("no votes among the files: add those that the page saved")
    return key, votes


def _key(contents: Mapping[Path, Mapping[str, Any]]) -> Key:
    keys = {path: text for path, text in contents.items() if text.get("kind") == KEY_KIND}
    if len(keys) != 1:
        found = " and ".join(map(str, keys)) or "none"
        raise UserError(
            "expected one key among the files, the …-key.json beside the page's folder; got "
            f"{found}"
        )
    ((path, content),) = keys.items()
    try:
        pairs = content["pairs"]
        return Key(
            str(content["study"]),
            (str(content["names"]["a"]), str(content["names"]["b"])),
            tuple(str(pair["name"]) for pair in pairs),
            tuple(bool(pair["a_is_first"]) for pair in pairs),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: the key is damaged: no {error}") from error


def _votes(path: Path, content: Any, key: Key) -> dict[str, dict[int, bool]]:
    """Returns whether A was preferred, by question and pair."""
    if not isinstance(content, dict):
        raise UserError(f"{path}: votes is {type(content).__name__}, expected an object")
    votes: dict[str, dict[int, bool]] = {question: {} for question in QUESTIONS}
    for number, answers in content.items():
        if not number.isdecimal() or not 1 <= int(number) <= len(key.pairs):
            raise UserError(f"{path}: pair {number!r}, expected 1 to {len(key.pairs)}")
        if not isinstance(answers, dict):
            raise UserError(f"{path}: pair {number}: expected an object of answers")
        for question, answer in answers.items():
            if question not in QUESTIONS or answer not in (1, 2):
                raise UserError(
                    f"{path}: pair {number}: {question!r} is {answer!r}, expected 1 or 2 for "
                    f"{' and '.join(QUESTIONS)}"
                )
            pair = int(number) - 1
            votes[question][pair] = (answer == 1) == key.a_is_first[pair]
    return votes
