"""The command `python -m benchmarks.accelerator [--parts …] [--minutes 8] [--out DIR] [--dry-run]`.

Uses argparse, because tyro may not be installed on the machine.
"""

import argparse
import sys
from datetime import datetime
from pathlib import Path

from benchmarks.accelerator.driver import run_parts
from benchmarks.accelerator.parts import PARTS


def main() -> None:
    """Runs the requested parts. Exits with status 1 if one of them failed or found a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description="Tests and measures this library on an accelerator.",
        epilog="parts, in this order: "
        + "; ".join(f"{part.name} ({part.about})" for part in PARTS.values()),
    )
    parser.add_argument(
        "--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART",
        help="run only these parts, in the order of the list below (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="time for all parts together (default: 8)"
    )
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/accelerator") / now,
        help="folder for results.json, log.txt and video.png "
        "(default: outputs/accelerator/ and the time)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="run at tiny sizes on the CPU")
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error(f"--minutes is {options.minutes}, expected more than 0")
    parts = [part for part in PARTS.values() if part.name in options.parts]
    sys.exit(run_parts(parts, options.out, options.minutes * 60, options.dry_run))


if __name__ == "__main__":
    main()
