"""Every line that README, quickstart, tutorials and how-to pages show.

The quick test parses each block: Python by its grammar, and each `videogen` line by the command's
own flags. The slow test runs the blocks of a page in order, in an empty folder, with the smaller
settings that the page names.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import pages
from tests.support.pages import PAGES, ROOT, Block
from tests.support.parsing import parsing_only
from videogen_jax import cli

RUNNING = tuple(
    page
    for page in PAGES
    if any(block.mode == "run" and block.language == "python" for block in pages.blocks(page))
)


@pytest.fixture
def parsed(monkeypatch) -> Iterator[list[Any]]:
    """The commands that have parsed their arguments, and stop there."""
    monkeypatch.setenv("COLUMNS", "100")
    with parsing_only() as seen:
        yield seen


def parse_line(words: list[str], monkeypatch: pytest.MonkeyPatch, seen: list[Any]) -> None:
    """Parses a line of a shell block."""
    program, *arguments = pages.command(words)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets
    if program == "pip" and "-r" in arguments:
        assert (ROOT / arguments[arguments.index("-r") + 1]).is_file()
    if program != "videogen":
        return
    arguments = [re.sub(r"^\$[A-Z_]+$", "0", word) for word in arguments]  # of the shell
    monkeypatch.setattr(sys, "argv", ["videogen", *arguments])
    seen.clear()
    try:
        cli.main()
    except SystemExit as stopped:
        lists_presets = stopped.code == 2 and len(arguments) <= 2  # `videogen train cascade`
        assert stopped.code == 0 or lists_presets, words
    else:
        assert seen, f"not parsed: {words}"


@pytest.mark.parametrize("page", PAGES)
def test_every_line_is_parsed(page, parsed, monkeypatch, capsys):
    found = pages.blocks(page)
    assert found
    for block in found:
        if block.mode == "elsewhere":
            assert Path(block.page).name in (ROOT / block.note).read_text(encoding="utf-8")
        elif block.language == "python":
            pages.check_python(block)
        elif block.language == "sh":
            for words in pages.lines(block):
                parse_line(words, monkeypatch, parsed)
        block.to_run()  # what is replaced is there


def test_extras_of_install_lines_exist():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    named = {
        name
        for names in re.findall(r"pip install '\.\[(.*?)\]'", text)
        for name in names.split(",")
    }
    assert named and named <= set(project["optional-dependencies"])


def test_every_page_of_the_site_is_one_of_the_tested():
    folders = ("tutorials", "how-to")
    on_disk = {f"docs/{f}/{p.name}" for f in folders for p in (ROOT / "docs" / f).glob("*.md")}
    assert on_disk - {"docs/how-to/buckets.md"} <= set(PAGES)


def run_block(block: Block, folder: Path, names: dict[str, Any]) -> None:
    """Runs a block in `folder`; Python blocks of a page share their names."""
    if block.language == "python":
        exec(compile(block.to_run(), block.page, "exec"), names)
        return
    text = "\n".join(
        line for line in block.to_run().splitlines() if not line.startswith(("pip ", "make "))
    )
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    # An old compiler option of the tests is of no use here.
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run(
        ["bash", "-euc", text], cwd=folder, env=environment, capture_output=True, text=True
    )
    # `videogen train cascade` lists its presets and exits with 2.
    assert done.returncode in (0, 2), f"{block.page}\n{text}\n{done.stderr[-3000:]}"


def write_videogen(folder: Path) -> None:
    """Writes the `videogen` program that installing the package would write."""
    program = folder / "bin" / "videogen"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nfrom videogen_jax.cli import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)


@pytest.mark.slow  # minutes: each page compiles what it samples; above, its lines are parsed
@pytest.mark.parametrize("page", RUNNING)
def test_the_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_videogen(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in pages.blocks(page):
        if block.mode == "run" and block.language in ("sh", "python"):
            run_block(block, tmp_path, names)
