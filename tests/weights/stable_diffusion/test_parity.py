"""Stable Diffusion's networks equal diffusers' and transformers', through the whole conversion.

Tiny random torch models are saved as diffusers folders, converted to model directories, loaded, and
compared.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from tests.support.torch_stable_diffusion import (
    PROMPTS,
    SD1,
    SD2,
    VOCAB,
    TorchModels,
    build_models,
    respell,
    save_folder,
)
from videogen_jax.config import ModelConfig
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import (
    convert_stable_diffusion,
    stable_diffusion_configs,
    with_stable_diffusion,
)
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.weights.config_file import load_config
from videogen_jax.weights.model_dir import list_components, load_component

NETWORK_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """A diffusers folder, its converted model, and the original torch models."""

    torch: TorchModels
    source: Path
    model_dir: Path
    config: ModelConfig

    def params(self, component: str) -> dict[str, Any]:
        return load_component(self.model_dir, component)


@pytest.fixture(scope="module", params=["SD1", "SD2"])
def case(request, tmp_path_factory) -> Case:
    root = tmp_path_factory.mktemp(request.param)
    source, model_dir = root / "source", root / "model"
    spec = {"SD1": SD1, "SD2": SD2}[request.param]
    models = build_models(spec)
    save_folder(models, spec, source)
    if request.param == "SD1":
        respell(source)
    config = convert_stable_diffusion(source, model_dir, PAPER)
    return Case(models, source, model_dir, config)


def to_torch(x_NHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2)))


def to_numpy(x_NCHW: torch.Tensor) -> np.ndarray:
    return x_NCHW.detach().numpy().transpose(0, 2, 3, 1)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def assert_close(ours: Any, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=NETWORK_TOLERANCE)


def test_text_states(case):
    tokens_BT = load_tokenizer(case.model_dir / "tokenizer")(PROMPTS)
    with torch.no_grad():
        theirs = case.torch.text_encoder(
            torch.from_numpy(tokens_BT).long(), output_hidden_states=True
        )
        penultimate = case.torch.text_encoder.final_layer_norm(theirs.hidden_states[-2])
    variables = {"params": case.params("text_encoder")}
    config = case.config.text_encoder
    states = jax.jit(TextEncoder(config).apply)(variables, tokens_BT)
    assert_close(states.states_BTD, theirs.last_hidden_state.numpy())
    assert_close(states.pooled_BD, theirs.pooler_output.numpy())

    skipping = TextEncoder(dataclasses.replace(config, skip_last_layers=1))
    states = jax.jit(skipping.apply)(variables, tokens_BT)
    assert_close(states.states_BTD, penultimate.numpy())
    assert_close(states.pooled_BD, theirs.pooler_output.numpy())


def test_unet(case):
    x_BHWC, text_BTD = random(2, 8, 12, 4), random(2, 5, 20)
    timesteps_B = np.array([3, 951])
    with torch.no_grad():
        theirs = case.torch.unet(
            to_torch(x_BHWC), torch.from_numpy(timesteps_B), torch.from_numpy(text_BTD)
        ).sample
    unet = SpaceTimeUNet(case.config.image.unet)
    variables = {"params": case.params("image_unet")}
    ours_BFHWC = jax.jit(unet.apply)(variables, x_BHWC[:, None], timesteps_B, text_BTD)
    assert_close(ours_BFHWC[:, 0], to_numpy(theirs))


def test_autoencoder(case):
    x_BHWC, z_BHWC = random(2, 8, 12, 3), random(2, 4, 6, 4)
    with torch.no_grad():
        posterior = case.torch.vae.encode(to_torch(x_BHWC)).latent_dist
        decoded = case.torch.vae.decode(to_torch(z_BHWC)).sample
    autoencoder = Autoencoder(case.config.autoencoder)
    variables = {"params": case.params("autoencoder")}

    @jax.jit
    def both(variables, x_BHWC, z_BHWC):
        encoded = autoencoder.apply(variables, x_BHWC, method="encode")
        return encoded, autoencoder.apply(variables, z_BHWC, method="decode")

    ours, pixels_BHWC = both(variables, x_BHWC, z_BHWC)
    assert_close(ours.mean, to_numpy(posterior.mean))
    assert_close(ours.logvar, to_numpy(posterior.logvar))
    assert_close(pixels_BHWC, to_numpy(decoded))


def test_model_directory_is_complete(case):
    assert list_components(case.model_dir) == ["autoencoder", "image_unet", "text_encoder"]
    config = load_config(case.model_dir / "config.json", ModelConfig)
    assert config == case.config
    assert config.name == case.model_dir.name
    assert config.image.resolution == 32  # 16 latents of 2×2 pixels
    assert config.text_encoder.eos_token_id == len(VOCAB) - 1


def test_video_networks_take_over_sizes_and_prediction(case):
    shifted = dataclasses.replace(PAPER.refiner, schedule=ScheduleConfig(shift=2.0))
    base = dataclasses.replace(PAPER, refiner=shifted)
    config = with_stable_diffusion(base, stable_diffusion_configs(case.source))
    for before, after in zip(base.stages, config.stages, strict=True):
        assert after.resolution == before.resolution
        assert after.unet == dataclasses.replace(
            config.image.unet, in_channels=before.unet.in_channels, temporal=True
        )
    assert config.refiner.schedule == dataclasses.replace(config.image.schedule, shift=2.0)


def test_schedule_is_read(case):
    zero_snr = case.torch.unet.config.use_linear_projection  # Stable Diffusion 2's
    assert case.config.image.schedule == ScheduleConfig(
        prediction="v" if zero_snr else "eps", zero_terminal_snr=zero_snr
    )
