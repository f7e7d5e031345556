"""Memory of drawing samples, compiled for 8 virtual devices."""

import dataclasses
from typing import Any

import pytest

from tests.support.mean_task import run_config
from tests.training.planning.test_plan import CPU_8, IMAGE_RUN, V5P, by_hand
from videogen_jax.models.components import component_shapes
from videogen_jax.training.config import LoopConfig, ValidationConfig
from videogen_jax.training.planning.report import describe_samples, describe_validation
from videogen_jax.training.planning.samples import SamplesPlan, plan_samples, plan_validation


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


def plan_of_validation(**data: Any) -> SamplesPlan:
    """Plans the validation of the toy task, whose 11 examples are 2 for each of 8 devices."""
    run = run_config(**data)
    loop = dataclasses.replace(run.loop, validate_every=2)
    config = dataclasses.replace(
        run, batch_size=16, loop=loop, validation=ValidationConfig(examples=11)
    )
    plan = plan_validation(config, CPU_8)
    assert plan is not None
    return plan


def test_validation_is_planned():
    plan = plan_of_validation()
    assert plan.examples == 16 and plan.fits
    frozen = by_hand(component_shapes(run_config().model, "autoencoder"), fsdp=1)
    assert plan.program > frozen
    cached = plan_of_validation(latent_cache="cache")  # whose networks are there for it alone
    assert cached.program == pytest.approx(plan.program, rel=0.01)
    text = describe_validation(plan)
    assert "while it validates, 16 at a time on all devices" in text and "needs" in text


def test_a_run_that_does_not_validate_has_no_plan_of_it():
    assert plan_validation(IMAGE_RUN, CPU_8) is None
    assert describe_validation(None) == "the run does not validate"
