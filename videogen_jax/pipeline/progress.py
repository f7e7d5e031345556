"""Progress bars over sampler steps and frames."""

from collections.abc import Iterator
from contextlib import contextmanager

from videogen_jax.pipeline.denoise import Tick


@contextmanager
def bar(shown: bool, what: str, total: int, unit: str) -> Iterator[Tick | None]:
    """Gives the function that moves the bar on, or None if none is shown: nothing need wait then."""
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=f"{what:<20}", unit=unit) as shown_bar:
        yield shown_bar.update
