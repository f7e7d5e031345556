"""Memory of drawing samples, compiled for 8 virtual devices."""

import dataclasses

import pytest

from tests.training.planning.test_plan import CPU_8, IMAGE_RUN, V5P, by_hand
from videogen_jax.models.components import component_shapes
from videogen_jax.training.config import LoopConfig
from videogen_jax.training.planning.report import describe_samples
from videogen_jax.training.planning.samples import SamplesPlan, plan_samples


@pytest.fixture(scope="module")
def plan() -> SamplesPlan | None:
    return plan_samples(IMAGE_RUN, CPU_8)


def test_each_device_draws_one_example(plan: SamplesPlan):
    assert plan.examples == 8 and plan.fits


def test_what_waits_is_added_to_what_the_program_needs(plan: SamplesPlan):
    shapes = component_shapes(IMAGE_RUN.model, "image_unet", "text_encoder", "autoencoder")
    params = by_hand(shapes["image_unet"])
    frozen = by_hand((shapes["text_encoder"], shapes["autoencoder"]), fsdp=1)
    # Parameters and two moments; the average is the program's own.
    assert plan.waiting == pytest.approx(3 * params + frozen, rel=0.01)
    assert plan.program > params + frozen
    assert plan.total == plan.waiting + plan.program
    text = describe_samples(plan)
    assert "8 at a time on all devices" in text and "needs" in text


def test_a_run_without_samples_has_no_plan_of_them():
    never = dataclasses.replace(IMAGE_RUN, loop=LoopConfig(sample_every=0))
    assert plan_samples(never, CPU_8) is None
    assert describe_samples(None) == "the run draws no samples"


def test_a_program_that_is_rejected_does_not_fit():
    rejected = SamplesPlan(V5P, 64, 2.0**30, 2.0**38, accepted=False, seconds=1.0)
    assert not rejected.fits and "does not fit: needs 257.00 GiB" in describe_samples(rejected)
    assert dataclasses.replace(rejected, accepted=True, program=2.0**30).fits
