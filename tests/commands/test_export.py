"""The last line of `videogen export`: what to do next."""

import pytest

from tests.support.micro_model import MICRO
from videogen_jax.commands.train import export
from videogen_jax.models.components import IMAGE_COMPONENTS, component_names
from videogen_jax.weights.config_file import save_config


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (component_names(MICRO), 'complete; next: videogen sample "PROMPT" --model'),
        (("text_encoder",), "videos still need autoencoder, image_unet, stage_1, stage_2, flow,"),
        (IMAGE_COMPONENTS, 'video_decoder; images already: videogen image "PROMPT" --model'),
    ],
)
def test_what_is_next(tmp_path, present, expected):
    save_config(tmp_path / "config.json", MICRO)
    for name in present:
        (tmp_path / f"{name}.safetensors").touch()
    assert expected in export.next_step(tmp_path, "videogen export")


def test_a_script_is_answered_with_a_script(tmp_path):
    save_config(tmp_path / "config.json", MICRO)
    for name in component_names(MICRO):
        (tmp_path / f"{name}.safetensors").touch()
    text = export.next_step(tmp_path, "python -m train.export")
    assert f'next: python -m sample.video "PROMPT" --model {tmp_path}' in text
