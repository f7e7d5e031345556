"""The windows and frame rates of temporal super-resolution (§3.3), in sampling and in training.

Every round makes 2N − 1 frames of N, at twice the rate. From the second round on, the clip is
processed in pieces of N frames, so the windows of all rounds have equally many frames.
"""

from typing import NamedTuple

from videogen_jax.errors import UserError


class Rounds(NamedTuple):
    """The windows of all rounds.

    Attributes:
        num_frames: frames of a window after a round, 2N − 1. The even ones, N, are those before the
            round; the refiner makes the odd ones, N − 1.
        rates: frames per second of the windows of each round.
    """

    num_frames: int
    rates: tuple[float, ...]


def rounds_of(num_frames: int, fps: float, rounds: int) -> Rounds:
    """Returns the windows of temporal super-resolution.

    Args:
        num_frames: frames of the cascade's clip, N.
        fps: its frames per second; 1 for rates relative to it.
        rounds: number of rounds.

    Raises:
        UserError: N < 2, so that there is nothing to interpolate.
    """
    if num_frames < 2:
        message = "temporal super-resolution needs a clip of at least 2 frames"
        raise UserError(f"{message}, got {num_frames}")
    rates = tuple(fps * 2.0 ** (index + 1) for index in range(rounds))
    return Rounds(2 * num_frames - 1, rates)
