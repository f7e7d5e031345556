"""The settings of the page: their limits, and the lines that make the same video again."""

import shlex
from dataclasses import dataclass, fields, replace
from typing import Any

from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import Request, make_request

MAX_PROMPT = 2000  # characters
MAX_FRAMES = 257  # of a video, after temporal super-resolution
MAX_STEPS = 200  # of each sampler
UPLOADED = "reference.png"  # the name of an uploaded image in the lines that are shown


@dataclass(frozen=True)
class Settings:
    """What a visitor has chosen.

    Attributes:
        prompt: the prompt.
        options: the options of the call.
        has_reference: whether a reference image was uploaded.
    """

    prompt: str
    options: VideoOptions
    has_reference: bool = False

    def check(self, config: ModelConfig) -> Request:
        """Returns the request for a model.

        Raises:
            UserError: a value is out of its range, or of the page's limits.
        """
        for name, text in (
            ("prompt", self.prompt),
            ("negative_prompt", self.options.negative_prompt),
        ):
            if isinstance(text, str) and len(text) > MAX_PROMPT:
                raise UserError(f"{name} has {len(text)} characters, expected at most {MAX_PROMPT}")
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise UserError("the prompt is empty")
        request = make_request(config, self.prompt, self.options)
        if request.final_num_frames > MAX_FRAMES:
            raise UserError(
                f"the video would have {request.final_num_frames} frames, expected at most "
                f"{MAX_FRAMES} on this page"
            )
        if max(request.steps) > MAX_STEPS:
            raise UserError(f"steps are {request.steps}, expected at most {MAX_STEPS} on this page")
        return request

    def changed(self) -> dict[str, Any]:
        """Returns the options that differ from the defaults, by name."""
        default = VideoOptions()
        values = {field.name: getattr(self.options, field.name) for field in fields(VideoOptions)}
        return {
            name: value
            for name, value in values.items()
            if name == "seed" or value != getattr(default, name)
        }

    def command_line(self, model: str) -> str:
        """Returns the command that makes the same video."""
        words = ["videogen", "sample", self.prompt, "--model", model]
        if self.prompt.startswith("-"):  # not a flag
            words = ["videogen", "sample", "--model", model]
        for name, value in self.changed().items():
            flag = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(flag if value else f"--no-{flag.removeprefix('--')}")
            else:
                values = [str(one) for one in (value if isinstance(value, tuple) else (value,))]
                is_like_a_flag = len(values) == 1 and values[0].startswith("-")
                words += [f"{flag}={values[0]}"] if is_like_a_flag else [flag, *values]
        if self.has_reference:
            words += ["--reference", UPLOADED]
        if self.prompt.startswith("-"):
            words += ["--", self.prompt]
        return shlex.join(words)

    def python(self, model: str) -> str:
        """Returns the Python that makes the same video."""
        arguments = [repr(self.prompt)]
        if self.has_reference:
            arguments.append(f"reference={UPLOADED!r}")
        arguments += [f"{name}={value!r}" for name, value in self.changed().items()]
        call = "\n".join(f"    {argument}," for argument in arguments)
        return (
            "from videogen_jax import VideoGen\n\n"
            f"model = VideoGen.load({model!r})\n"
            f"video = model(\n{call}\n)\n"
            'video.save("out.mp4")'
        )

    def with_options(self, **options: Any) -> "Settings":
        """Returns the settings with some options replaced."""
        return replace(self, options=replace(self.options, **options))
