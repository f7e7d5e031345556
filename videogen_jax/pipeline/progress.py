"""Progress bars over sampler steps and frames, and the end of sampling by Ctrl-C."""

from collections.abc import Iterator
from contextlib import contextmanager

from videogen_jax.pipeline import interrupts
from videogen_jax.pipeline.denoise import Tick


@contextmanager
def bar(shown: bool, what: str, total: int, unit: str) -> Iterator[Tick]:
    """Yields the function to call after each step, which advances a progress bar if `shown`.

    The function raises `KeyboardInterrupt` after a Ctrl-C (`interrupts.interruptible`).
    """
    if not shown:
        yield lambda count: interrupts.check()
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=f"{what:<20}", unit=unit) as shown_bar:

        def advance(count: int) -> None:
            shown_bar.update(count)
            interrupts.check()

        yield advance
