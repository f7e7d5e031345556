"""Runs one part in this process: `python -m benchmarks.accelerator.part NAME …`.

`driver.py` starts it.
"""

import argparse
import importlib
from pathlib import Path

from benchmarks.accelerator.parts import PARTS
from benchmarks.accelerator.results import Report


def main() -> None:
    """Imports the part's module and calls its `run`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    report = Report(options.out, options.part, options.seconds, options.dry_run)
    module = importlib.import_module(f"benchmarks.accelerator.parts.{options.part}")
    module.run(report)


if __name__ == "__main__":
    main()
