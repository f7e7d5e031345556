"""Scheduler files: our sampler takes the timesteps of the file's diffusers scheduler."""

import json
from itertools import product
from pathlib import Path
from typing import Any, get_args

import diffusers
import numpy as np
import pytest

from videogen_jax.diffusion import samplers
from videogen_jax.diffusion.sampler_config import SamplerConfig, SamplerName
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.weights.stable_diffusion.scheduler import read_scheduler, scheduler_fields

# diffusers' tensors use the old signature of numpy's `__array__`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SD: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
EXACT = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
}
NEAREST = {
    "PNDMScheduler": "ddim",
    "DEISMultistepScheduler": "dpmpp_2m",
    "HeunDiscreteScheduler": "dpmpp_2m",
    "LMSDiscreteScheduler": "dpmpp_2m",
    "UniPCMultistepScheduler": "dpmpp_2m",
    "KDPM2AncestralDiscreteScheduler": "euler_ancestral",
}


def save(folder: Path, class_name: str, **fields: Any) -> Path:
    """Writes a scheduler's file as diffusers does."""
    getattr(diffusers, class_name)(**{**SD, **fields}).save_pretrained(folder)
    return folder / "scheduler_config.json"


def write(folder: Path, **fields: Any) -> Path:
    """Writes a scheduler's file with these fields only."""
    path = folder / "scheduler_config.json"
    path.write_text(json.dumps(fields))
    return path


@pytest.mark.parametrize("class_name", EXACT)
@pytest.mark.parametrize("fields", [{}, ZERO_SNR])
def test_timesteps_are_those_of_the_files_scheduler(tmp_path, class_name, fields):
    spacings, offsets = ("leading", "linspace", "trailing"), (0, 1)
    for spacing, offset in product(spacings, offsets):
        chosen = {"timestep_spacing": spacing, "steps_offset": offset, **fields}
        path = save(tmp_path, class_name, **chosen)
        read = read_scheduler(path)
        assert read.sampler.name == EXACT[class_name]
        assert read.schedule.zero_terminal_snr == bool(fields)
        theirs = getattr(diffusers, class_name).from_pretrained(tmp_path)
        theirs.set_timesteps(20)
        plan = samplers.plan(read.schedule, read.sampler, 20)
        np.testing.assert_allclose(plan.timesteps_T[:20], theirs.timesteps[:20], rtol=1e-6)


@pytest.mark.parametrize("class_name", EXACT)
def test_missing_fields_have_the_defaults_of_the_files_class(tmp_path, class_name):
    written = read_scheduler(save(tmp_path, class_name))
    short = read_scheduler(write(tmp_path, _class_name=class_name, **SD))
    assert short == written


@pytest.mark.parametrize(
    ("class_name", "fields", "final"),
    [
        ("DDIMScheduler", {"set_alpha_to_one": False}, None),
        ("DDIMScheduler", {"set_alpha_to_one": True}, "zero"),
        ("PNDMScheduler", {"set_alpha_to_one": False}, None),
        ("PNDMScheduler", {"set_alpha_to_one": True}, "zero"),
        ("EulerDiscreteScheduler", {"final_sigmas_type": "zero"}, None),
        ("EulerDiscreteScheduler", {"final_sigmas_type": "sigma_min"}, "sigma_min"),
        ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}, "sigma_min"),
        ("UniPCMultistepScheduler", {"final_sigmas_type": "sigma_min"}, "sigma_min"),
        ("DDPMScheduler", {}, None),
    ],
)
def test_the_last_noise_level_is_read(tmp_path, class_name, fields, final):
    assert read_scheduler(save(tmp_path, class_name, **fields)).sampler.final_sigma == final


@pytest.mark.parametrize("class_name", NEAREST)
def test_a_method_that_is_not_available_is_replaced_and_named(tmp_path, class_name):
    path = write(tmp_path, _class_name=class_name, timestep_spacing="trailing", **SD)
    read = read_scheduler(path)
    assert (read.sampler.name, read.sampler.timestep_spacing) == (NEAREST[class_name], "trailing")
    (note,) = read.notes
    assert class_name in note and read.sampler.name in note


def test_clipping_is_turned_off_with_a_note_as_in_the_pipeline(tmp_path):
    for clips, fields in ((True, {"clip_sample": True}), (False, {"clip_sample": False})):
        notes = read_scheduler(save(tmp_path, "DDIMScheduler", **fields)).notes
        assert any("clip_sample is set to false" in note for note in notes) == clips


@pytest.mark.parametrize(
    ("class_name", "fields", "message"),
    [
        ("FlowMatchEulerDiscreteScheduler", {}, "is for 'FlowMatchEulerDiscreteScheduler'"),
        ("FlowMatchHeunDiscreteScheduler", {}, "is for 'FlowMatchHeunDiscreteScheduler'"),
        ("EDMEulerScheduler", {}, "is for 'EDMEulerScheduler'"),
        ("EDMDPMSolverMultistepScheduler", {}, "is for 'EDMDPMSolverMultistepScheduler'"),
        ("LCMScheduler", {}, "is for 'LCMScheduler'"),
        (["DDIMScheduler"], {}, "is for .'DDIMScheduler'."),
        (None, {}, "has no _class_name"),
        ("DDIMScheduler", {"thresholding": True}, "thresholding is True, only False"),
        ("DDPMScheduler", {"variance_type": "learned"}, "variance_type is 'learned', only"),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, "use_karras_sigmas is True, only"),
        ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}, "interpolation_type is"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type is"),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, "solver_order is 3, only 2"),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas is True, only"),
        ("DDIMScheduler", {"timestep_spacing": "even"}, "timestep_spacing is 'even'"),
        ("DDIMScheduler", {"steps_offset": 0.5}, "steps_offset is 0.5, expected int"),
        ("DDIMScheduler", {"set_alpha_to_one": "no"}, "set_alpha_to_one is 'no', expected true"),
        ("EulerDiscreteScheduler", {"final_sigmas_type": "one"}, "final_sigmas_type has 'one'"),
        ("DDIMScheduler", {"trained_betas": [0.1]}, "trained_betas is .0.1., only None"),
        ("DDIMScheduler", {"prediction_type": "flow_prediction"}, "prediction_type has 'flow_pred"),
    ],
)
def test_other_schedules_and_samplers_are_refused(tmp_path, class_name, fields, message):
    named = {} if class_name is None else {"_class_name": class_name}
    path = write(tmp_path, **named, **fields)
    with pytest.raises(ValueError, match=message) as caught:
        read_scheduler(path)
    assert str(path) in str(caught.value)


def test_fields_that_the_class_does_not_read_have_no_effect(tmp_path):
    """diffusers copies all fields of a scheduler to the next one's file."""
    plain = read_scheduler(write(tmp_path, _class_name="EulerAncestralDiscreteScheduler", **SD))
    others = {"use_karras_sigmas": True, "thresholding": True, "clip_sample": True}
    copied = write(tmp_path, _class_name="EulerAncestralDiscreteScheduler", **SD, **others)
    assert read_scheduler(copied) == plain


def test_the_class_of_the_index_is_used_and_checked(tmp_path):
    path = write(tmp_path, _class_name="PNDMScheduler", timestep_spacing="linspace", **SD)
    assert read_scheduler(path, "EulerDiscreteScheduler").sampler.name == "euler"
    with pytest.raises(ValueError, match="is for 'FlowMatchEulerDiscreteScheduler'"):
        read_scheduler(path, "FlowMatchEulerDiscreteScheduler")


@pytest.mark.parametrize("class_name", EXACT)
def test_written_fields_are_read_by_diffusers_and_come_back(tmp_path, class_name):
    scheduler_class = getattr(diffusers, class_name)
    fields: dict[str, Any] = {"timestep_spacing": "trailing", "steps_offset": 3, **ZERO_SNR}
    if EXACT[class_name] in ("euler", "dpmpp_2m"):
        fields["final_sigmas_type"] = "sigma_min"
    if EXACT[class_name] in ("ddim", "ddpm"):
        fields["clip_sample"] = False
    read = read_scheduler(save(tmp_path, class_name, **fields))
    written = scheduler_fields(read.schedule, read.sampler)
    ours = dict(scheduler_class.from_config(written).config)
    theirs = dict(scheduler_class.from_pretrained(tmp_path).config)
    assert {name: ours[name] for name in theirs if name[0] != "_"} == {
        name: value for name, value in theirs.items() if name[0] != "_"
    }
    assert read_scheduler(write(tmp_path, **written)) == read


def test_every_sampler_can_be_written(tmp_path):
    for name in get_args(SamplerName):
        sampler = SamplerConfig(name=name)
        read = read_scheduler(write(tmp_path, **scheduler_fields(ScheduleConfig(), sampler)))
        assert read.sampler == sampler
