"""Conversion of diffusers' `scheduler_config.json`: noise schedule and sampler, in both directions.

A scheduler's class says which method samples the images; its fields configure the noise schedule of
the training and the steps of the method. Each field that the class reads is read into our configs,
or must have the one value that our samplers support. Other fields, which diffusers copies from one
scheduler to another, have no effect in diffusers and are ignored. A missing field has the default
of the file's class (diffusers 0.42).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from videogen_jax.diffusion.sampler_config import (
    FinalSigma,
    SamplerConfig,
    SamplerName,
    TimestepSpacing,
)
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.errors import UserError
from videogen_jax.json_text import read_json_object
from videogen_jax.weights.config_file import from_dict, to_dict
from videogen_jax.weights.stable_diffusion.fields import choice

_SCHEDULE_FIELDS = {
    "num_train_timesteps": ("num_train_timesteps", 1000),
    "beta_start": ("beta_start", 0.0001),
    "beta_end": ("beta_end", 0.02),
    "beta_schedule": ("beta_schedule", "linear"),
    "prediction_type": ("prediction", "epsilon"),
    "rescale_betas_zero_snr": ("zero_terminal_snr", False),
}
_BETA_SCHEDULES = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
}
_PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


@dataclass(frozen=True)
class _Class:
    """A diffusers scheduler class.

    Attributes:
        sampler: our sampler of the same method, or the nearest one.
        spacing: default of `timestep_spacing`.
        fixed: field -> the only supported value, which is also diffusers' default.
        is_exact: whether `sampler` is the same method.
        clips: default of `clip_sample`; None if the class does not have it.
        final: the field with the last noise level, and its default; None if it is always zero.
        betas: other defaults of fields of the noise schedule.
    """

    sampler: SamplerName
    spacing: TimestepSpacing
    fixed: Mapping[str, Any]
    is_exact: bool = True
    clips: bool | None = None
    final: tuple[str, Any] | None = None
    betas: Mapping[str, float] = field(default_factory=dict)


_SIGMAS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_THRESHOLD = {"thresholding": False}
_FLOW = {"use_flow_sigmas": False, "use_dynamic_shifting": False}
_DPM = {
    **_SIGMAS,
    **_THRESHOLD,
    **_FLOW,
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "use_lu_lambdas": False,
    "lambda_min_clipped": -math.inf,
    "variance_type": None,
}
_TO_ONE, _FINAL_SIGMAS = "set_alpha_to_one", "final_sigmas_type"
_SMALL_BETAS = {"beta_start": 0.00085, "beta_end": 0.012}

_DDIM = _Class("ddim", "leading", _THRESHOLD, clips=True, final=(_TO_ONE, True))
_DDPM = _Class("ddpm", "leading", {**_THRESHOLD, "variance_type": "fixed_small"}, clips=True)
_HEUN = _Class("dpmpp_2m", "linspace", _SIGMAS, is_exact=False, betas=_SMALL_BETAS)
_SDE = _Class("euler_ancestral", "linspace", _SIGMAS, is_exact=False, betas=_SMALL_BETAS)
_CLASSES: Mapping[str, _Class] = {
    "DDIMScheduler": _DDIM,
    "DDPMScheduler": _DDPM,
    "DPMSolverMultistepScheduler": _Class(
        "dpmpp_2m",
        "linspace",
        {**_DPM, "lower_order_final": True, "euler_at_final": False},
        final=(_FINAL_SIGMAS, "zero"),
    ),
    "EulerDiscreteScheduler": _Class(
        "euler",
        "linspace",
        {**_SIGMAS, "interpolation_type": "linear", "timestep_type": "discrete"},
        final=(_FINAL_SIGMAS, "zero"),
    ),
    "EulerAncestralDiscreteScheduler": _Class("euler_ancestral", "linspace", {}),
    "PNDMScheduler": _Class("ddim", "leading", {}, is_exact=False, final=(_TO_ONE, False)),
    "DDIMParallelScheduler": _DDIM,
    "DDPMParallelScheduler": _DDPM,
    "DEISMultistepScheduler": _Class(
        "dpmpp_2m", "linspace", {**_SIGMAS, **_THRESHOLD, **_FLOW}, is_exact=False
    ),
    "DPMSolverSinglestepScheduler": _Class(
        "dpmpp_2m",
        "linspace",
        {**_SIGMAS, **_THRESHOLD, **_FLOW},
        is_exact=False,
        final=(_FINAL_SIGMAS, "zero"),
    ),
    "DPMSolverSDEScheduler": _SDE,
    "HeunDiscreteScheduler": _HEUN,
    "KDPM2DiscreteScheduler": _HEUN,
    "KDPM2AncestralDiscreteScheduler": _SDE,
    "LMSDiscreteScheduler": _Class("dpmpp_2m", "linspace", _SIGMAS, is_exact=False),
    "UniPCMultistepScheduler": _Class(
        "dpmpp_2m",
        "linspace",
        {**_SIGMAS, **_THRESHOLD, **_FLOW},
        is_exact=False,
        final=(_FINAL_SIGMAS, "zero"),
    ),
}


@dataclass(frozen=True)
class Scheduler:
    """The content of a `scheduler_config.json`.

    Attributes:
        schedule: noise schedule and prediction type of the UNet's training.
        sampler: the sampler, with the default number of steps.
        notes: lines about what is sampled in another way than the file says.
    """

    schedule: ScheduleConfig
    sampler: SamplerConfig
    notes: tuple[str, ...]


def read_scheduler(path: Path, class_name: str | None = None) -> Scheduler:
    """Reads the noise schedule and the sampler of a diffusers scheduler.

    Args:
        path: its `scheduler_config.json`.
        class_name: its class in `model_index.json`, which diffusers uses with the fields of the
            file; None for the class in the file.

    Raises:
        MissingFile: the file does not exist.
        UserError: the class has another noise schedule (flow matching, EDM) or a method for
            distilled models, or a field has an unsupported value; names the file and all of them.
    """
    values = read_json_object(path)
    names = [name for name in (class_name, values.get("_class_name")) if name is not None]
    if not names:
        raise UserError(f"{path} has no _class_name, expected one of {', '.join(_CLASSES)}")
    for name in names:
        if not isinstance(name, str) or name not in _CLASSES:
            raise UserError(
                f"{path} is for {name!r}, whose noise schedule or sampling is not supported; "
                f"expected one of {', '.join(_CLASSES)}"
            )
    kind = _CLASSES[names[0]]
    _check_fixed(path, values, kind)
    notes = []
    if not kind.is_exact:
        notes.append(f"the sampler {names[0]} is not available, {kind.sampler} takes its place")
    if kind.clips is not None and values.get("clip_sample", kind.clips):
        notes.append("clip_sample is set to false, as diffusers' StableDiffusionPipeline does")
    return Scheduler(_schedule(path, values, kind), _sampler(path, values, kind), tuple(notes))


def _check_fixed(path: Path, values: Mapping[str, Any], kind: _Class) -> None:
    fixed = {"trained_betas": None, **kind.fixed}
    problems = [
        f"{name} is {values[name]!r}, only {expected!r} is supported"
        for name, expected in fixed.items()
        if name in values and values[name] != expected
    ]
    if problems:
        raise UserError("\n  ".join([f"{path} describes another sampler:", *problems]))


def _schedule(path: Path, values: Mapping[str, Any], kind: _Class) -> ScheduleConfig:
    data = {
        ours: values.get(name, kind.betas.get(name, default))
        for name, (ours, default) in _SCHEDULE_FIELDS.items()
    }
    data["beta_schedule"] = choice(path, "beta_schedule", data["beta_schedule"], _BETA_SCHEDULES)
    data["prediction"] = choice(path, "prediction_type", data["prediction"], _PREDICTIONS)
    return from_dict(data, ScheduleConfig, where=str(path))


def _sampler(path: Path, values: Mapping[str, Any], kind: _Class) -> SamplerConfig:
    data = {
        "name": kind.sampler,
        "timestep_spacing": values.get("timestep_spacing", kind.spacing),
        "steps_offset": values.get("steps_offset", 0),
    }
    sampler = from_dict(data, SamplerConfig, where=str(path))
    final = _final_sigma(path, values, kind)
    # None is the sampler's own level.
    if final == ("zero" if sampler.ends_without_noise else "sigma_min"):
        return sampler
    return from_dict({**data, "final_sigma": final}, SamplerConfig, where=str(path))


def _final_sigma(path: Path, values: Mapping[str, Any], kind: _Class) -> FinalSigma:
    if kind.final is None:
        return "zero"
    name, default = kind.final
    value = values.get(name, default)
    if name == _FINAL_SIGMAS:
        return choice(path, name, value, {level: level for level in get_args(FinalSigma)})
    if not isinstance(value, bool):
        raise UserError(f"{path}: {name} is {value!r}, expected true or false")
    return "zero" if value else "sigma_min"


def scheduler_fields(schedule: ScheduleConfig, sampler: SamplerConfig) -> dict[str, Any]:
    """Returns the `scheduler_config.json` of a noise schedule (without shift) and a sampler.

    The number of steps and `eta` are not in it: in diffusers they are arguments of a call.
    """
    name = next(n for n, kind in _CLASSES.items() if kind.is_exact and kind.sampler == sampler.name)
    kind = _CLASSES[name]
    beta = {ours: theirs for theirs, ours in _BETA_SCHEDULES.items()}
    prediction = {ours: theirs for theirs, ours in _PREDICTIONS.items()}
    values = to_dict(schedule) | {
        "beta_schedule": beta[schedule.beta_schedule],
        "prediction": prediction[schedule.prediction],
    }
    fields = {
        "_class_name": name,
        **{theirs: values[ours] for theirs, (ours, _) in _SCHEDULE_FIELDS.items()},
        "timestep_spacing": sampler.timestep_spacing,
        "steps_offset": sampler.steps_offset,
        # JSON has no infinity.
        **{key: value for key, value in kind.fixed.items() if value != -math.inf},
    }
    if kind.clips is not None:
        fields["clip_sample"] = False
    if kind.final is not None:
        ends_at_zero = sampler.ends_without_noise
        written = {_TO_ONE: ends_at_zero, _FINAL_SIGMAS: "zero" if ends_at_zero else "sigma_min"}
        fields[kind.final[0]] = written[kind.final[0]]
    return fields
