"""Configuration of a sampler: its name, its timesteps and where it ends; see `samplers.py`."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from videogen_jax.errors import UserError

SamplerName: TypeAlias = Literal["ddpm", "ddim", "dpmpp_2m", "euler", "euler_ancestral"]
TimestepSpacing: TypeAlias = Literal["leading", "linspace", "trailing"]
FinalSigma: TypeAlias = Literal["zero", "sigma_min"]

# diffusers' schedulers of these names have "linspace" spacing by default, the others "leading".
_LINSPACED = ("dpmpp_2m", "euler", "euler_ancestral")
# The samplers whose last noise level is a choice.
_CHOOSES_FINAL_SIGMA = ("ddim", "dpmpp_2m", "euler")


@dataclass(frozen=True)
class SamplerConfig:
    """A sampler and its subset of the training timesteps.

    Attributes:
        name: one of the methods in `samplers.py`.
        num_steps: network evaluations. For `ddim`, best a divisor of T: as in diffusers, its step
            is T // num_steps, which otherwise, and with "linspace", falls short of the next one.
        timestep_spacing: positions of the steps (Lin et al. 2023, table 2): multiples of
            T // num_steps ("leading"), evenly from T − 1 down to 0 ("linspace"), or evenly from
            T − 1 down to T/num_steps − 1 ("trailing", the one to use with zero terminal SNR).
        steps_offset: added to "leading" timesteps; Stable Diffusion uses 1.
        eta: stochasticity of `ddim` in [0, 1].
        final_sigma: noise level after the last step: no noise ("zero"), or that of timestep 0
            ("sigma_min"), diffusers' `final_sigmas_type`; `set_alpha_to_one` of its DDIM is "zero".
            None is the level in Stable Diffusion: "sigma_min" for `ddim`, "zero" for the others.
            `ddpm` and `euler_ancestral` have no other.

    Raises:
        UserError: a field is out of its range, or `eta` or `final_sigma` is set for a sampler that
            does not have it.
    """

    name: SamplerName = "ddim"
    num_steps: int = 50
    timestep_spacing: TimestepSpacing = "leading"
    steps_offset: int = 1
    eta: float = 0.0
    final_sigma: FinalSigma | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(SamplerName):
            raise UserError(f"sampler is {self.name!r}, expected one of {get_args(SamplerName)}")
        if self.timestep_spacing not in get_args(TimestepSpacing):
            raise UserError(
                f"timestep_spacing is {self.timestep_spacing!r}, "
                f"expected one of {get_args(TimestepSpacing)}"
            )
        if self.num_steps < 1:
            raise UserError(f"num_steps is {self.num_steps}, expected at least 1")
        if self.steps_offset < 0:
            raise UserError(f"steps_offset is {self.steps_offset}, expected at least 0")
        if not 0.0 <= self.eta <= 1.0:
            raise UserError(f"eta is {self.eta}, expected a number in [0, 1]")
        if self.eta and self.name != "ddim":
            raise UserError(f"eta is {self.eta}, but only ddim has it, not {self.name}")
        if self.final_sigma not in (None, *get_args(FinalSigma)):
            raise UserError(
                f"final_sigma is {self.final_sigma!r}, "
                f"expected None or one of {get_args(FinalSigma)}"
            )
        if self.final_sigma and self.name not in _CHOOSES_FINAL_SIGMA:
            raise UserError(
                f"final_sigma is {self.final_sigma!r}, but {self.name} always ends without noise"
            )

    @property
    def ends_without_noise(self) -> bool:
        """Whether the last step ends at σ = 0, otherwise at timestep 0's noise level."""
        if self.final_sigma is None:
            return self.name != "ddim"
        return self.final_sigma == "zero"

    @property
    def noise_amount(self) -> float:
        """η of the update: 0 follows the ODE, 1 the ancestral SDE."""
        return 1.0 if self.name in ("ddpm", "euler_ancestral") else self.eta

    def renamed(self, name: SamplerName) -> "SamplerConfig":
        """Returns another sampler for the same model, with its default spacing in diffusers.

        diffusers' `from_config` does the same with Stable Diffusion's scheduler files, which do not
        specify the spacing. "trailing" is the default of no sampler: it was chosen for the model
        (one with zero terminal SNR needs it) and is kept.

        Raises:
            UserError: there is no such sampler.
        """
        if name == self.name:
            return self
        spacing = self.timestep_spacing
        if spacing != "trailing":
            spacing = "linspace" if name in _LINSPACED else "leading"
        # `from_config` copies `final_sigmas_type` between the schedulers that have this field.
        keeps_final = {name, self.name} == {"dpmpp_2m", "euler"}
        final = self.final_sigma if keeps_final else None
        return replace(self, name=name, timestep_spacing=spacing, eta=0.0, final_sigma=final)
