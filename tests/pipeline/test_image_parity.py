"""Images of a prompt equal those of diffusers' `StableDiffusionPipeline`, with each scheduler.

Tiny random torch pipelines are saved as folders, converted to model directories and loaded as a
user would do. Both sides start from the same latents. If a sampler draws noise, both use the same.
"""

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

from tests.support.torch_stable_diffusion import SD1, SD2, build_models, save_folder
from videogen_jax import VideoGen
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import convert_stable_diffusion
from videogen_jax.pipeline import noise

# diffusers' tensors use the old signature of numpy's `__array__`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGE_TOLERANCE = 1e-4  # for images in [0, 1]
STEPS, GUIDANCE, SEED = 6, 5.0, 3
PROMPTS, NEGATIVE = ["a red circle", "", "è"], "square"
SHAPE = (len(PROMPTS), 16, 16, 4)
LATENTS = np.random.default_rng(0).standard_normal(SHAPE, np.float32)

# As in the hub's files of Stable Diffusion 1.5 and 2.1, except for the class.
SCHEDULER_FILE = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
SPECS = {
    "SD1": {**SD1, "scheduler": {}},
    "SD2": {**SD2, "scheduler": {"prediction_type": "v_prediction"}},
}
PADDING = {"SD1": "<|endoftext|>", "SD2": "!"}  # padding tokens of the hub's tokenizers
SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "ddpm": "DDPMScheduler",
}


@dataclass(frozen=True)
class Case:
    """A torch pipeline, its scheduler's configuration, and the converted model."""

    pipeline: Any
    scheduler_file: dict[str, Any]
    model: VideoGen

    def diffusers_images(self, sampler: str, prompts: list[str]) -> np.ndarray:
        """Makes images after switching the scheduler as is usual in diffusers."""
        scheduler_class = getattr(diffusers, SCHEDULERS[sampler])
        self.pipeline.scheduler = scheduler_class.from_config(self.scheduler_file)
        return self.pipeline(
            prompts,
            negative_prompt=[NEGATIVE] * len(prompts),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            latents=to_torch(LATENTS),
            output_type="np",
        ).images

    def images(self, prompts: list[str], **changed: Any) -> np.ndarray:
        options = {
            "negative_prompt": NEGATIVE,
            "seed": SEED,
            "steps": STEPS,
            "guidance": GUIDANCE,
            "latents": LATENTS,
        }
        return self.model.images(prompts, as_float=True, **(options | changed))


@pytest.fixture(scope="module", params=SPECS)
def case(request, tmp_path_factory) -> Case:
    root = tmp_path_factory.mktemp(request.param)
    spec = SPECS[request.param]
    scheduler_file = SCHEDULER_FILE | spec["scheduler"]
    models = build_models(spec)
    # A random network amplifies rounding: torch's float32 differs from its own float64 by 3e-4.
    # With a smaller output it depends more on its input, as a trained network does.
    models.unet.conv_out.weight.data *= 0.5
    save_folder(models, spec, root / "source")
    path = root / "source" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(scheduler_file))
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = root / "source" / "tokenizer" / name
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"pad_token": PADDING[request.param]})
        )
    convert_stable_diffusion(root / "source", root / "model", PAPER)
    pipeline = StableDiffusionPipeline(
        vae=models.vae,
        text_encoder=models.text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(str(root / "source" / "tokenizer")),
        unet=models.unet,
        scheduler=diffusers.DDIMScheduler.from_config(scheduler_file),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    model = VideoGen.load(root / "model")
    assert model.tokenizer.pad_id == pipeline.tokenizer.pad_token_id
    assert (model.tokenizer.pad_id == 0) == (request.param == "SD2")
    return Case(pipeline, scheduler_file, model)


def to_torch(x_BHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x_BHWC.transpose(0, 3, 1, 2)))


def noise_of_steps() -> Iterator[torch.Tensor]:
    """Yields the noise that our image model draws at each step."""
    keys_B = noise.fold_in(noise.sample_keys(np.uint32(SEED), np.arange(len(PROMPTS))), 0)
    for step in range(STEPS):
        draws = noise.normal(noise.fold_in(keys_B, noise.FIRST_STEP + step), SHAPE[1:])
        yield to_torch(np.asarray(draws))


def share_noise(monkeypatch: pytest.MonkeyPatch, sampler: str) -> Iterator[torch.Tensor]:
    """Makes the scheduler use our noise; the returned iterator yields what it has not drawn."""
    draws = noise_of_steps()
    module = importlib.import_module(getattr(diffusers, SCHEDULERS[sampler]).__module__)
    monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: next(draws))
    return draws


# The samplers' v-prediction is compared in tests/diffusion too; here one sampler's is quick.
# Each compiles for five seconds; tests/diffusion has all samplers with a simple network.
QUICK = (("SD1", "ddim"), ("SD2", "ddim"))
CASES = [
    pytest.param(case, sampler, marks=() if (case, sampler) in QUICK else pytest.mark.slow)
    for case in SPECS
    for sampler in SCHEDULERS
]


@pytest.mark.parametrize(("case", "sampler"), CASES, indirect=["case"])
def test_images_of_prompts(case, sampler, monkeypatch):
    draws = share_noise(monkeypatch, sampler)
    theirs = case.diffusers_images(sampler, PROMPTS)
    ours = case.images(PROMPTS, sampler=sampler)
    assert ours.dtype == np.float32 and ours.shape == (len(PROMPTS), 32, 32, 3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=IMAGE_TOLERANCE)
    is_ancestral = sampler in ("ddpm", "euler_ancestral")
    assert len(list(draws)) == (0 if is_ancestral else STEPS)


def test_the_model_s_own_sampler_is_stable_diffusion_s_ddim(case):
    np.testing.assert_array_equal(case.images(PROMPTS), case.images(PROMPTS, sampler="ddim"))


def test_every_argument_changes_images_far_above_the_tolerance(case):
    """Parity therefore tests each of these arguments."""
    images = case.images(PROMPTS)
    for prompts, changed in (
        (["a circle red", "", "è"], {}),
        (PROMPTS, {"negative_prompt": ""}),
        (PROMPTS, {"guidance": GUIDANCE + 0.5}),
        (PROMPTS, {"latents": LATENTS[::-1].copy()}),
        (PROMPTS, {"steps": STEPS + 1}),
        (PROMPTS, {"sampler": "euler"}),
    ):
        assert np.abs(case.images(prompts, **changed) - images).max() > 10 * IMAGE_TOLERANCE


def test_prompts_that_are_too_long_are_cut_where_diffusers_cuts_them(case):
    prompts = ["a red circle", "a red circle square a red circle square", "красный круг"]
    with pytest.warns(UserWarning, match="caption cut to 9 tokens; lost: ") as warned:
        ours = case.images(prompts)
    lost = [str(warning.message).split("lost: ")[1] for warning in warned]
    assert lost[0] == "'red circle square'" and len(lost) == 2
    np.testing.assert_allclose(
        ours, case.diffusers_images("ddim", prompts), rtol=0, atol=IMAGE_TOLERANCE
    )


# From an image

STRENGTH = 0.7  # int(6 · 0.7) = 4 of the steps
PICTURES = np.random.default_rng(1).integers(0, 256, (len(PROMPTS), 32, 32, 3), np.uint8)


def their_images(case: Case, name: str, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Any:
    """Makes images with another pipeline of diffusers, from our noise and the mean of latents."""
    pipeline_class = getattr(diffusers, name)
    module = importlib.import_module(pipeline_class.__module__)
    monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: to_torch(LATENTS))
    monkeypatch.setattr(module, "retrieve_latents", lambda out, **kwargs: out.latent_dist.mode())
    pipeline = pipeline_class(**case.pipeline.components, requires_safety_checker=False)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(case.scheduler_file)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        PROMPTS,
        image=[Image.fromarray(picture) for picture in PICTURES],
        negative_prompt=[NEGATIVE] * len(PROMPTS),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="np",
        **given,
    ).images


@pytest.mark.slow  # compiles for five seconds, and so do those below
@pytest.mark.parametrize("case", ["SD1"], indirect=True)
def test_images_from_images(case, monkeypatch):
    theirs = their_images(case, "StableDiffusionImg2ImgPipeline", monkeypatch, strength=STRENGTH)
    ours = case.images(PROMPTS, image=list(PICTURES), strength=STRENGTH)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=IMAGE_TOLERANCE)
    assert np.abs(ours - case.images(PROMPTS)).max() > 10 * IMAGE_TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("case", ["SD1"], indirect=True)
@pytest.mark.parametrize("strength", [STRENGTH, 1.0])
def test_inpainting(case, monkeypatch, strength):
    """Within the mask: outside of it, ours has the image's own pixels."""
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 4:16] = 255
    theirs = their_images(
        case,
        "StableDiffusionInpaintPipeline",
        monkeypatch,
        mask_image=Image.fromarray(mask),
        strength=strength,
        height=32,
        width=32,
    )
    ours = case.images(PROMPTS, image=list(PICTURES), mask=mask, strength=strength)
    inside = mask > 0
    np.testing.assert_allclose(ours[:, inside], theirs[:, inside], rtol=0, atol=IMAGE_TOLERANCE)
    np.testing.assert_array_equal(ours[:, ~inside], PICTURES[:, ~inside] / np.float32(255))
