"""Writes docs/accelerator.md from the results that are kept: `python -m benchmarks.accelerator.page`.

The results of a run are kept by copying its `results.json` into `benchmarks/accelerator/kept/`, under a
name that begins with the date; the page shows the newest first.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.accelerator.parts import PARTS
from benchmarks.accelerator.results import shown

KEPT = Path(__file__).parent / "kept"
PAGE = Path(__file__).parents[2] / "docs" / "accelerator.md"
_INTRODUCTION = """\
# On an accelerator

This page is written by `python -m benchmarks.accelerator.page` from the results that are kept in
`benchmarks/accelerator/kept/`. What each part does, what it needs and how results are kept is in
[benchmarks/accelerator](../benchmarks/accelerator/README.md).

    python -m benchmarks.accelerator --minutes 8 --out outputs/accelerator/first
"""
_NO_RUN = """
**No run was made so far**: nothing of this software has run on a GPU or a TPU. The command is
ready; its dry run
(`--dry-run`, all parts at tiny sizes on a CPU) is one of the tests.
"""


def render(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for results by file name."""
    if not kept:
        return _INTRODUCTION + _NO_RUN
    runs = [_run(name, kept[name]) for name in sorted(kept, reverse=True)]
    return "\n".join([_INTRODUCTION, *runs])


def read_kept() -> dict[str, Any]:
    """The kept results by file name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))}


def _run(name: str, results: Mapping[str, Any]) -> str:
    about = results["about"]
    packages = {p: version for p, version in about["packages"].items() if version}
    versions = ", ".join(f"{p} {version}" for p, version in packages.items())
    missing = [p for p, version in about["packages"].items() if not version]
    lines = [
        f"## {name}",
        "",
        f"`{about['command']}`, begun {about['began']}, {about['cpus']} CPUs, Python "
        f"{about['python']}: {versions}.",
        f"Not installed: {', '.join(missing) or 'nothing'}.",
    ]
    for part in PARTS.values():
        if part.name in results["parts"]:
            lines += _part(part.name, part.about, results["parts"][part.name])
    return "\n".join(lines) + "\n"


def _part(name: str, about: str, record: Mapping[str, Any]) -> list[str]:
    lines = ["", f"### {name}: {about}", "", f"{record['status']}, {record['seconds']:.0f} s."]
    lines += [f"- **Failed**: {failure}" for failure in record["failures"]]
    lines += [f"- {note}" for note in record["notes"]]
    for title, rows in record["tables"].items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines += ["", f"{title}:", "", _line(columns), _line(["---"] * len(columns))]
        lines += [_line([shown(row.get(column)) for column in columns]) for row in rows]
    return lines


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(render(read_kept()))
