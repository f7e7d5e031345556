"""The model that ships, trained on procedural clips of moving shapes, and its runs.

Model: two stages make 16 frames of 32 and 64 pixels, with 3.1 million parameters each; one round of
    temporal super-resolution makes 31 frames of them. Parameters of every part are in
    docs/design.md, section 1.
Result: for 256 held-out prompts, the final video has the right colour for 100 %, motion for 100 %,
    shape for 97 % and, where the prompt names them, size for 99 % and background for 100 %
    (docs/results.md).
Hours: 6.8 of one core in total. The comment of each run gives its minutes; docs/results.md, "How it
    was trained", lists what ran at the same time.
Hardware: 2 CPU cores (Intel Xeon with AMX; the video decoder on one core of an AMD EPYC).

    make train-shapes       # every part in order, with gates and latent caches
    make train-ablations    # the parts that are retrained for Table 3 and Fig. 6

A single part trains as for the other models:

    python -m train.cascade shapes-stage-1 --run-dir RUNS/stage-1 --model-dir MODEL

docs/shapes.md describes how these values were chosen, one change at a time. Comments mark where the
paper differs. Fields that are not set have the defaults of their classes.
"""

import dataclasses

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.models.unet import UNetConfig
from videogen_jax.training.config import LoopConfig, OptimConfig
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig, refiner_data
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig

# The paper uses Stable Diffusion's schedule and so eps prediction (§4.1). This model predicts v on
# a cosine schedule that is shifted towards noise: a latent of few, large pixels loses its layout
# late, and the layout (which shape, moving where) is what the model has to learn.
SCHEDULE = ScheduleConfig(
    num_train_timesteps=1000, beta_schedule="cosine", shift=3.0, prediction="v"
)

IMAGE_UNET = UNetConfig(
    in_channels=4,  # noisy latent
    out_channels=4,
    block_out_channels=(32, 64, 88),
    layers_per_block=1,
    attention_levels=(False, True, True),
    num_heads=(4, 4, 4),
    cross_attention_dim=128,
    norm_groups=8,
)
# UNet of the first stage. Its input is the noisy latent and the reference's latent (§3.2).
FIRST_UNET = dataclasses.replace(
    IMAGE_UNET,
    in_channels=8,
    temporal=True,
    frame_embedding=True,  # not in the paper, see `paper.py`
)
# UNet of the second stage and the refiner. Its input also has a low-resolution or a warped clip.
# Not in the paper: the second stage is conditioned on the noised clip of the first stage, and on
# its noise level.
LATER_UNET = dataclasses.replace(FIRST_UNET, in_channels=12, low_res_noise=True)

SHAPES = ModelConfig(
    name="shapes",
    # Trained by `shapes-text-encoder`; the paper uses CLIP's (§3.2).
    text_encoder=TextEncoderConfig(
        vocab_size=727,
        max_length=24,
        hidden_size=128,
        intermediate_size=512,
        num_layers=3,
        num_heads=4,
        eos_token_id=726,
    ),
    # ×4; the paper: ×8 (§3.4). In true clips of 32 pixels, the analyser recognises 58 % of the
    # shapes after ×8 and 70 % after ×4 (docs/shapes.md, "Log").
    autoencoder=AutoencoderConfig(
        latent_channels=4,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        norm_groups=4,
        mid_attention=False,  # the paper: True
        scaling_factor=1.0,  # the export standardises the latents instead
    ),
    image=DenoiserConfig(
        unet=IMAGE_UNET,
        schedule=SCHEDULE,
        sampler=SamplerConfig(name="dpmpp_2m", num_steps=30, timestep_spacing="linspace"),
        resolution=64,
        guidance_scale=3.0,
    ),
    # Two stages, of 8×8 and 16×16 latents; the paper: three, up to 64×64 (§3.2).
    stages=(
        DenoiserConfig(
            unet=FIRST_UNET,
            schedule=SCHEDULE,
            sampler=SamplerConfig(name="dpmpp_2m", num_steps=30, timestep_spacing="linspace"),
            resolution=32,
            guidance_scale=3.0,
        ),
        DenoiserConfig(
            unet=LATER_UNET,
            schedule=SCHEDULE,
            sampler=SamplerConfig(name="dpmpp_2m", num_steps=12, timestep_spacing="linspace"),
            resolution=64,
            guidance_scale=1.0,
            low_res_noise=100,
        ),
    ),
    # Two levels of IFRNet's four, the first at full resolution: the latents are 16×16.
    flow=FlowConfig(in_channels=4, encoder_channels=(24, 36), side_channels=12, stem_stride=1),
    refiner=DenoiserConfig(
        unet=LATER_UNET,
        schedule=SCHEDULE,
        sampler=SamplerConfig(name="dpmpp_2m", num_steps=8, timestep_spacing="linspace"),
        resolution=64,
        guidance_scale=1.0,  # it is conditioned on the empty prompt
        low_res_noise=100,  # as in the UNet that it starts from; the warped clip is not noised
    ),
    num_frames=16,
    fps=8.0,
    temporal_sr_rounds=1,  # the paper: three (§3.3)
    lowpass_factor=2,
)

LOOP = LoopConfig(ema_decay=0.998, sample_every=500, checkpoint_every=250)

# Every run trains on the procedural shapes, with a high learning rate, a cosine to zero and a short
# average; the paper uses Stable Diffusion's settings (§4.1). Muon improves the denoisers and harms
# the video decoder (docs/shapes.md, "Log").
_PARTS = {
    # The image parts, which the paper takes from Stable Diffusion (§3.5). 49 minutes.
    "shapes-autoencoder": RunConfig(
        model=SHAPES,
        task=AutoencoderTaskConfig(resolutions=(64, 32), kl_weight=1e-5, squared_weight=4.0),
        data=DataConfig(num_frames=1, resolution=64),
        steps=2500,
        batch_size=16,
        optim=OptimConfig(name="adamw", learning_rate=1.5e-3, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
    # 61 minutes. After a shorter run, the text encoder cannot distinguish a circle from a square,
    # although the run looks finished (docs/shapes.md).
    "shapes-text-encoder": RunConfig(
        model=SHAPES,
        task=TextEncoderTaskConfig(
            resolution=64,
            num_frames=4,
            tower_channels=(48, 96, 128),
            embedding_dim=128,
            initial_temperature=0.07,
        ),
        data=DataConfig(num_frames=4, resolution=64),
        steps=2000,
        batch_size=64,
        optim=OptimConfig(name="adamw", learning_rate=1e-3, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
    # 57 minutes.
    "shapes-image": RunConfig(
        model=SHAPES,
        task=TextToImageTaskConfig(warm_start="", text_dropout=0.1),
        data=DataConfig(num_frames=1, resolution=64),
        steps=10_000,
        batch_size=32,
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
    # 42 minutes.
    "shapes-stage-1": RunConfig(
        model=SHAPES,
        task=CascadeTaskConfig(stage=1, warm_start="image_unet", text_dropout=0.1),
        data=DataConfig(num_frames=16, resolution=64),
        steps=2000,
        batch_size=16,
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
    # 39 minutes. With more noise than in sampling (100), so that the level in sampling is well
    # within the range.
    "shapes-stage-2": RunConfig(
        model=SHAPES,
        task=CascadeTaskConfig(stage=2, warm_start="stage_1", text_dropout=0.1, low_res_noise=200),
        data=DataConfig(num_frames=16, resolution=64),
        steps=2000,
        batch_size=4,
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
    # 5 minutes. The true flows are known; the paper uses those of a pixel-space IFRNet (§3.5).
    "shapes-flow": RunConfig(
        model=SHAPES,
        task=FlowTaskConfig(),
        data=DataConfig(num_frames=5, resolution=64),
        steps=400,
        batch_size=32,
        optim=OptimConfig(name="adamw", learning_rate=1e-3, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
    # The shipped refiner took 12 minutes. It was trained on other windows: 17 frames at 8.5 to 12
    # fps. It has not been trained again.
    "shapes-refiner": RunConfig(
        model=SHAPES,
        task=RefinerTaskConfig(warm_start="stage_2", interpolation="flow"),
        data=refiner_data(SHAPES),  # 31 frames at 12 to 80 fps
        steps=400,
        batch_size=8,
        optim=OptimConfig(name="muon", learning_rate=2e-3, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
    # 43 minutes. L1 only, and no clean clips. BSRGAN's kernels suit frames of 256 pixels: 64 / 256
    # of their size.
    "shapes-video-decoder": RunConfig(
        model=SHAPES,
        task=VideoDecoderTaskConfig(adversarial_weight=0.0, clean_probability=0.0),
        data=DataConfig(num_frames=16, resolution=64, degrade=DegradeConfig(blur_scale=0.25)),
        steps=2000,
        batch_size=2,
        optim=OptimConfig(name="adamw", learning_rate=2e-4, schedule="cosine", warmup_steps=100),
        loop=LOOP,
    ),
}

# The paper's ablations that need training: the same runs with the same budget, but another task.
_ABLATED = {
    "shapes-stage-1-no-reference": dataclasses.replace(
        _PARTS["shapes-stage-1"],
        task=CascadeTaskConfig(
            stage=1, warm_start="image_unet", text_dropout=0.1, reference_dropout=1.0
        ),
    ),
    "shapes-stage-2-no-reference": dataclasses.replace(
        _PARTS["shapes-stage-2"],
        task=CascadeTaskConfig(
            stage=2,
            warm_start="stage_1",
            text_dropout=0.1,
            reference_dropout=1.0,
            low_res_noise=200,
        ),
    ),
    "shapes-refiner-slerp": dataclasses.replace(
        _PARTS["shapes-refiner"],
        task=RefinerTaskConfig(warm_start="stage_2", interpolation="slerp"),
    ),
}

RUNS: dict[str, RunConfig] = _PARTS | _ABLATED
"""In the order in which the parts train, then the ablations."""

ABLATIONS = {
    "no-reference": ("shapes-stage-1-no-reference", "shapes-stage-2-no-reference"),
    "slerp": ("shapes-refiner-slerp",),
}
"""The runs of each ablation: Table 3 and Fig. 6."""
