"""Writes docs/accelerator.md from the stored results: `python -m benchmarks.accelerator.page`.

To store the results of a run, copy its `results.json` to `benchmarks/accelerator/kept/` under a
name that begins with the date. The page shows the newest results first.
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.accelerator.parts import PARTS
from benchmarks.accelerator.results import shown

KEPT = Path(__file__).parent / "kept"
PAGE = Path(__file__).parents[2] / "docs" / "accelerator.md"
_INTRODUCTION = """\
# Accelerator results

`python -m benchmarks.accelerator.page` writes this page from the results stored in
`benchmarks/accelerator/kept/`.
[benchmarks/accelerator](../benchmarks/accelerator/README.md) describes the parts of the benchmark,
its requirements and how to store results.

    python -m benchmarks.accelerator --minutes 8 --out outputs/accelerator/first
"""
_NO_RUN = """
**No run was made so far**: this software has not yet run on a GPU or a TPU. The tests include the
dry run of the command (`--dry-run`), which runs all parts at tiny sizes on a CPU.
"""


def render(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the text of the page for results by file name."""
    if not kept:
        return _INTRODUCTION + _NO_RUN
    runs = [_run(name, kept[name]) for name in sorted(kept, reverse=True)]
    return "\n".join([_INTRODUCTION, *runs])


def read_kept() -> dict[str, Any]:
    """Returns the stored results by file name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))}


def _run(name: str, results: Mapping[str, Any]) -> str:
    about = results["about"]
    packages = {p: version for p, version in about["packages"].items() if version}
    versions = ", ".join(f"{p} {version}" for p, version in packages.items())
    missing = [p for p, version in about["packages"].items() if not version]
    lines = [
        f"## {name}",
        "",
        f"    {about['command']}",
        "",
        _wrapped(
            f"Started {about['began']}, {about['cpus']} CPUs, Python {about['python']}: "
            f"{versions}. Not installed: {', '.join(missing) or 'nothing'}."
        ),
    ]
    if remark := about.get("remark"):  # written by hand after the run
        lines += ["", _wrapped(remark)]
    for part in PARTS.values():
        if part.name in results["parts"]:
            lines += _part(part.name, part.about, results["parts"][part.name])
    return "\n".join(lines) + "\n"


def _part(name: str, about: str, record: Mapping[str, Any]) -> list[str]:
    lines = ["", f"### {name}: {about}", "", f"{record['status']}, {record['seconds']:.0f} s."]
    items = [*(f"**Failed**: {text}" for text in record["failures"]), *record["notes"]]
    lines += [_wrapped(item, "- ") for item in items]
    for title, rows in record["tables"].items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines += ["", f"{title}:", "", _line(columns), _line(["---"] * len(columns))]
        lines += [_line([shown(row.get(column)) for column in columns]) for row in rows]
    return lines


def _wrapped(text: str, mark: str = "") -> str:
    """Returns a paragraph, or a list item that begins with `mark`, in lines of 100 columns."""
    return textwrap.fill(
        text, 100, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False
    )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(render(read_kept()))
