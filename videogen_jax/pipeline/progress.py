"""Progress bars over sampler steps and frames."""

from collections.abc import Iterator
from contextlib import contextmanager

from videogen_jax.pipeline.denoise import Tick


@contextmanager
def bar(shown: bool, what: str, total: int, unit: str) -> Iterator[Tick | None]:
    """Yields the function that advances a progress bar, or None if `shown` is False.

    With None, the caller does not have to wait for the results of single steps.
    """
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=f"{what:<20}", unit=unit) as shown_bar:
        yield shown_bar.update
