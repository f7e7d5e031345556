"""The log of a run: metrics, progress and speed, and the error of a run that diverges."""

import logging
import math

import jax
from tqdm import tqdm

from videogen_jax.errors import Diverged
from videogen_jax.training.config import VALIDATION_PREFIX
from videogen_jax.training.telemetry.metrics_writer import MetricsWriter, NoMetrics
from videogen_jax.training.telemetry.throughput import Meter, StepCost, peak_memory

_log = logging.getLogger(__name__)

Scalars = dict[str, jax.Array]
_SKIPPED = ("skipped", "skipped_in_a_row")  # counts among a step's metrics


class RunLog:
    """The log of every `every`-th step's metrics, fetched a step late to keep devices busy.

    Args:
        writer: writes to the run directory, in the main process.
        progress: the progress bar, which shows loss and speed.
        meter: measures the run's time.
        first: steps done before this log begins.
        max_skipped: number of consecutive skipped steps that ends the run.
    """

    def __init__(
        self,
        writer: MetricsWriter | NoMetrics,
        progress: tqdm,
        meter: Meter,
        first: int,
        max_skipped: int,
    ):
        self.writer, self._progress, self.meter = writer, progress, meter
        self._max_skipped = max_skipped
        self._pending: tuple[int, Scalars] | None = None
        self._newest: tuple[int, Scalars] | None = None
        self._written = first  # the step of the last line
        self._skipped = 0
        self._recent: dict[str, list[float]] = {}  # since the last call of means()
        self._cost: StepCost | None = None
        self._since = meter.stepping(), first

    def costs(self, cost: StepCost) -> None:
        """Prints and stores the cost of a step, from which later speeds are computed."""
        self._cost = cost
        self._report(logging.INFO, str(cost))

    def step(self, done: int, metrics: Scalars, every: int) -> None:
        """Takes the metrics of step `done`, and writes pending metrics of an earlier step.

        Raises:
            Diverged: as `flush`, at every step that is logged.
        """
        self._write()
        self._newest = done, metrics
        if done % every == 0:
            self._pending = done, metrics

    def flush(self, *, newest: bool = False) -> None:
        """Writes pending metrics and checks the newest step, waiting for its result.

        With `newest`, it also writes the newest step's metrics, which end a run.

        Raises:
            Diverged: too many steps in a row were skipped.
        """
        self._write()
        if self._newest is None:
            return
        self._check(*self._newest)
        if newest and self._newest[0] > self._written:
            self._pending = self._newest
            self._write()

    def validation(self, step: int, values: dict[str, float]) -> None:
        """Writes the metrics of a validation after `step`, and prints its loss."""
        self.writer.scalars(step, values)
        loss = values.get(f"{VALIDATION_PREFIX}loss")
        if loss is None:
            self._report(logging.WARNING, f"step {step}: the validation loss is not finite")
        else:
            self._report(logging.INFO, f"step {step}: {VALIDATION_PREFIX}loss {loss:.6g}")

    def means(self) -> dict[str, float]:
        """Returns the mean of each metric over the rows written since the last call."""
        means = {name: sum(values) / len(values) for name, values in self._recent.items()}
        self._recent = {}
        return means

    def _check(self, step: int, metrics: Scalars) -> None:
        skipped, in_a_row = (
            int(value) for value in jax.device_get([metrics[name] for name in _SKIPPED])
        )
        if in_a_row >= self._max_skipped:
            raise Diverged(
                f"loss or gradient not finite in {in_a_row} steps in a row, up to step {step}; "
                "the last checkpoint has the parameters from before them (loop.max_skipped is "
                f"{self._max_skipped})"
            )
        if skipped > self._skipped:
            text = f"step {step}: {skipped} updates skipped so far, loss or gradient not finite"
            self._report(logging.WARNING, text)
        self._skipped = skipped

    def _write(self) -> None:
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        self._check(step, metrics)
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        # A small batch may have no sample in a quarter of the timesteps, and so no error there.
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        now, (then, before) = self.meter.stepping(), self._since
        self._since = now, step
        speed = (step - before) / max(now - then, 1e-9)
        rates = self._cost.rates(speed) if self._cost else {"steps_per_second": speed}
        shares = self.meter.shares()
        values |= rates | peak_memory() | {"goodput": shares.pop("steps")}
        values |= {f"time_{what}": share for what, share in shares.items()}
        self.writer.scalars(step, values)
        self._written = step
        for name, value in values.items():
            self._recent.setdefault(name, []).append(value)
        shown = {"loss": f"{values.get('loss', math.nan):.4f}", "steps/s": f"{speed:.3g}"}
        if "frames_per_second" in rates:
            shown["frames/s"] = f"{rates['frames_per_second']:.3g}"
        self._progress.set_postfix(shown)

    def _report(self, level: int, text: str) -> None:
        if not self._progress.disable:  # in the one process that reports on the run
            _log.log(level, "%s", text)
