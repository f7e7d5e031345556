"""Where a run's numbers and pictures go: `metrics.jsonl`, TensorBoard events, `samples/`."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter


class MetricsWriter:
    """Appends scalars and pictures of one run; a context manager that flushes at the end."""

    def __init__(self, run_dir: Path):
        self._samples = run_dir / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._file = (run_dir / "metrics.jsonl").open("a", buffering=1)
        self._events = SummaryWriter(str(run_dir / "tensorboard"))

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one line `{"step": …, name: value, …}` and the same to TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def picture(self, step: int, image_HWC: np.ndarray) -> None:
        """Writes a uint8 picture as `samples/step_00001000.png` and to TensorBoard."""
        Image.fromarray(image_HWC).save(self._samples / f"step_{step:08d}.png")
        self._events.add_image("samples", image_HWC, step, dataformats="HWC")


class NoMetrics:
    """In place of a `MetricsWriter` in processes that do not write."""

    def __enter__(self) -> "NoMetrics":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Nothing."""

    def picture(self, step: int, image_HWC: np.ndarray) -> None:
        """Nothing."""
