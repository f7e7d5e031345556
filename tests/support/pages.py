"""The code blocks of README and documentation pages, and how tests read and run them.

A comment in front of a block says how a test treats it; a block without one runs as it is:

    <!-- test: parse (REASON) -->             its lines are parsed only
    <!-- test: elsewhere (TEST) -->           another test runs it
    <!-- test: replace A => B; C => D -->     runs with smaller settings
"""

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/index.md",
    "docs/tutorials/own_image.md",
    "docs/tutorials/train_a_model.md",
    "docs/tutorials/fine_tune.md",
    "docs/tutorials/convert_and_export.md",
    "docs/tutorials/evaluate.md",
    "docs/how-to/memory.md",
    "docs/how-to/clusters.md",
    "docs/how-to/images_and_own_videos.md",
    "docs/how-to/app.md",
    "docs/how-to/faq.md",
)
_BLOCK = re.compile(r"(?:^<!-- test: (.*?) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS = ("videogen", "python", "pip", "make", "mkdir", "cp", "cd", "SITE=")


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        page: the page's path in the repository.
        language: "sh", "python", or another one, whose blocks are shown only.
        text: the code.
        mode: "run", "parse" or "elsewhere".
        note: the reason, or the test.
        replaced: pairs of texts for running it.
    """

    page: str
    language: str
    text: str
    mode: str = "run"
    note: str = ""
    replaced: tuple[tuple[str, str], ...] = ()

    def to_run(self) -> str:
        """Returns the code with the smaller settings of its page."""
        text = self.text
        for old, new in self.replaced:
            assert text.count(old) >= 1, f"{self.page}: no {old!r} in the block to replace"
            text = text.replace(old, new)
        return text


def blocks(page: str) -> list[Block]:
    """Returns the fenced blocks of a page in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [_block(page, *match.groups()) for match in _BLOCK.finditer(text)]
    assert len(found) == len(re.findall(r"^```\w", text, re.MULTILINE)), f"{page}: unclosed block"
    return found


def _block(page: str, comment: str | None, language: str, text: str) -> Block:
    if comment is None:
        return Block(page, language, text)
    if comment.startswith("replace "):
        pairs = [pair.split(" => ") for pair in comment.removeprefix("replace ").split("; ")]
        assert all(len(pair) == 2 for pair in pairs), f"{page}: {comment}"
        return Block(page, language, text, replaced=tuple((old, new) for old, new in pairs))
    found = re.fullmatch(r"(parse|elsewhere) \((.+)\)", comment)
    assert found, f"{page}: unknown comment {comment!r}"
    return Block(page, language, text, mode=found[1], note=found[2])


def lines(block: Block) -> list[list[str]]:
    """Returns the words of each line of a shell block; lines that end with a backslash go on."""
    joined = block.text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def check_python(block: Block) -> None:
    """Raises SyntaxError unless the block is Python."""
    ast.parse(block.text)


def command(words: list[str]) -> list[str]:
    """Returns the words after variables such as `JAX_PLATFORMS=cpu`; the program is a known one."""
    while re.fullmatch(r"[A-Z_]+=\w*", words[0]) and len(words) > 1:
        words = words[1:]
    assert words[0].startswith(_COMMANDS), words
    return words
