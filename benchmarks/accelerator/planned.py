"""Predicts the memory of the steps of part `training` by `train.plan`; creates `planned.json`.

    python -m benchmarks.accelerator.planned

It needs requirements-plan-cuda.txt, no GPU, and about five minutes per figure on two CPU cores.
Existing figures are kept, so the same command continues where it was stopped.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from videogen_jax.atomic import replacing
from videogen_jax.configs import RUNS
from videogen_jax.training.planning.plan import plan_step
from videogen_jax.training.planning.topology import parse_topology, prepare

FILE = Path(__file__).parent / "planned.json"
TOPOLOGY = "h100:1"
# Two batches of each part. Memory grows linearly with the number of clips once activations need
# more memory than the update of the parameters, which takes 24 GiB at any batch size.
BATCHES = {
    "refiner": (1, 2),
    "video-decoder": (1, 2),
    "stage-1": (32, 64),
    "stage-3": (1, 2),
    "stage-2": (8, 16),
}


def read() -> dict[str, dict[str, float]]:
    """Returns the predicted bytes by preset and batch."""
    return json.loads(FILE.read_text())["bytes"] if FILE.exists() else {}


def line(preset: str) -> tuple[float, float] | None:
    """Returns intercept and slope (bytes per clip) of the memory; None with under two figures."""
    figures = sorted((int(batch), size) for batch, size in read().get(preset, {}).items())
    if len(figures) < 2:
        return None
    (low, first), (high, second) = figures[-2:]
    slope = (second - first) / (high - low)
    return first - low * slope, slope


def main() -> None:
    topology = parse_topology(TOPOLOGY)
    prepare(topology)
    for part, batches in BATCHES.items():
        for batch in batches:
            preset = f"paper-{part}"
            if str(batch) not in read().get(preset, {}):
                plan = plan_step(dataclasses.replace(RUNS[preset], batch_size=batch), topology)
                _write(preset, batch, plan.total)
                print(f"{preset}, batch {batch}: {plan.total / 2**30:.2f} GiB", flush=True)


def _write(preset: str, batch: int, size: float) -> None:
    figures = read()
    figures.setdefault(preset, {})[str(batch)] = size
    record: dict[str, Any] = {"topology": TOPOLOGY, "bytes": figures}
    with replacing(FILE) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
