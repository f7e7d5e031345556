"""The page's settings: limits, and lines that make the same video again."""

import dataclasses
import shlex

import pytest

from tests.support.micro_model import MICRO
from tests.support.parsing import parsing_only
from videogen_jax import UserError, VideoOptions
from videogen_jax.app.settings import MAX_PROMPT, UPLOADED, Settings
from videogen_jax.commands.sample import video as sample_video

PROMPTS = [
    "a red circle moving left",
    'it\'s "quoted"; $(rm -rf x) `x` | y > z & \\ \n next',
    "--out /etc/passwd",
    "-",
    "émoji 🎈 ünd Ω",
]
OPTIONS = VideoOptions(
    seed=7,
    negative_prompt="--seed 9",
    steps=(1, 2, 3, 4),
    guidance=(1.5, 2.0, 3.0),
    fps=4.0,
    num_frames=5,
    use_reference=False,
    sampler="ddim",
)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("options", [VideoOptions(), OPTIONS])
def test_the_command_line_gives_the_same_settings(prompt, options):
    settings = Settings(prompt, options, has_reference=options is OPTIONS)
    program, name, *words = shlex.split(settings.command_line("shapes"))
    assert (program, name) == ("videogen", "sample")
    with parsing_only() as seen:
        sample_video.call("videogen sample", words)
    ((_, arguments, named),) = seen
    values = {**named, **dict(zip(("prompts",), arguments, strict=False))}
    assert values["prompts"] == (prompt,)
    assert values["sampling"] == options and values["model"] == "shapes"
    assert (values["reference"] is not None) == settings.has_reference
    assert str(values["out"]) == "outputs/video.mp4"  # no prompt is an option


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_python_gives_the_same_call(prompt, monkeypatch):
    settings = Settings(prompt, OPTIONS, has_reference=True)
    calls = []

    class Model:
        @classmethod
        def load(cls, name):
            assert name == "my 'model'"
            return cls()

        def __call__(self, text, reference, **options):
            calls.append((text, reference, VideoOptions(**options)))
            return self

        def save(self, path):
            assert path == "out.mp4"

    monkeypatch.setattr("videogen_jax.VideoGen", Model)
    exec(settings.python("my 'model'"), {})
    assert calls == [(prompt, UPLOADED, OPTIONS)]


@pytest.mark.parametrize(
    ("prompt", "changes", "message"),
    [
        (" ", {}, "the prompt is empty"),
        ("x" * (MAX_PROMPT + 1), {}, "prompt has 2001 characters, expected at most 2000"),
        ("a", {"negative_prompt": "x" * 3000}, "negative_prompt has 3000 characters"),
        ("a", {"seed": -1}, "seed is -1"),
        ("a", {"seed": None}, "seed is None"),
        ("a", {"num_frames": 10**9}, "num_frames is 1000000000"),
        ("a", {"num_frames": 200}, "would have 399 frames, expected at most 257 on this page"),
        ("a", {"steps": 900}, "steps are"),
        ("a", {"fps": float("nan")}, "fps is nan"),
        ("a", {"guidance": "high"}, "guidance is 'high'"),
        ("a\udce9", {}, "not UTF-8"),
    ],
)
def test_a_value_out_of_range_is_one_line(prompt, changes, message):
    settings = Settings(prompt, dataclasses.replace(VideoOptions(), **changes))
    with pytest.raises(UserError, match=message):
        settings.check(MICRO)
