"""Ctrl-C while sampling ends it, wherever the main thread is when the signal comes."""

import gc
import signal
import threading

import pytest

from videogen_jax.pipeline import interrupts
from videogen_jax.pipeline.interrupts import interruptible
from videogen_jax.pipeline.progress import bar

pytestmark = pytest.mark.usefixtures("default_interrupt")


def interrupt_in_gc() -> None:
    """Sends SIGINT inside a callback of the garbage collector, which ignores exceptions."""

    def callback(phase: str, info: dict[str, int]) -> None:
        gc.callbacks.remove(callback)
        signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(callback)
    gc.collect(0)  # the youngest objects: all of those of other tests would take seconds


@pytest.mark.parametrize("shown", [False, True])
def test_the_step_after_an_interrupt_is_the_last(shown):
    steps = []
    with pytest.raises(KeyboardInterrupt), interruptible(), bar(shown, "", 4, "step") as tick:
        for step in range(4):
            if step == 2:
                interrupt_in_gc()
            steps.append(step)
            tick(1)
    assert steps == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interruptible():  # the next call is not interrupted
        interrupts.check()


def test_an_interrupt_after_the_last_step_is_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupt_in_gc()


def test_a_second_interrupt_is_raised_at_once():
    reached = []
    with pytest.raises(KeyboardInterrupt), interruptible():
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
            reached.append(True)
    assert reached == [True]


def test_an_inner_block_leaves_the_interrupt_to_the_outer_one():
    with pytest.raises(KeyboardInterrupt), interruptible():
        with interruptible():
            interrupt_in_gc()
        interrupts.check()
        pytest.fail("unreachable")


def test_the_programs_own_handler_and_other_threads_are_left_alone():
    seen = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with interruptible():
        signal.raise_signal(signal.SIGINT)
        interrupts.check()
    assert seen == [signal.SIGINT]

    signal.signal(signal.SIGINT, signal.default_int_handler)
    results = []

    def work() -> None:
        with interruptible(), bar(False, "", 1, "step") as tick:
            tick(1)
            results.append("finished")

    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupt_in_gc()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert results == ["finished"]
