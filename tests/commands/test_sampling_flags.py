"""The flags of the sampling options."""

import re
from dataclasses import fields

import pytest

from videogen_jax import VideoOptions
from videogen_jax.commands.sample import video as sample_video
from videogen_jax.training.processes.distributed import DistributedConfig


def test_help_shows_every_option_once_with_its_description_and_default(capfd):
    with pytest.raises(SystemExit) as stopped:
        sample_video.call("videogen", ["--help-all"])
    assert stopped.value.code == 0
    text = capfd.readouterr().out
    for field in fields(VideoOptions):
        flag = f"^  --{field.name.replace('_', '-')}"
        assert len(re.findall(rf"{flag}\b(?!-)", text, re.MULTILINE)) == 1, flag
    assert "None" not in text
    own = [field for field in fields(VideoOptions) if field.default is None]
    words = " ".join(text.split())
    distributed = [field for field in fields(DistributedConfig) if field.default is None]
    assert words.count("(default: automatic)") == len(own) + len(distributed)
    assert "--steps INT [INT ...] steps of the samplers: one number for all, or one each" in words
    assert "--interpolation {flow,slerp} how temporal super-resolution finds" in words
