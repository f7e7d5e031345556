r"""A model of half the paper's resolution and about a third of its width, and its runs.

Model: the paper's parts, smaller, for one machine with a few chips: three stages make 16 frames of
    64, 128 and 256 pixels, with 111 million parameters each; temporal super-resolution makes 121
    frames of them. Parameters of every part are in docs/design.md, section 1.
Result: none. This model has not been trained; only its parts' shapes were checked (README.md).
Hours: not measured.
Hardware: not measured.

The runs train the video parts. They need clips CLIPS (docs/data.md) and a model directory MODEL
with a text encoder, an autoencoder and an image UNet, for which there are no runs here:

    python -m train.cascade small-stage-1 --run-dir RUNS/stage-1 --model-dir MODEL \
        --data.dataset CLIPS
    python -m train.export RUNS/stage-1 MODEL

The other parts follow in the order of `RUNS`, each exported before the next one starts:
`train.cascade` for the stages, `train.temporal_sr` for flow (with `--task.teacher`) and refiner,
`train.video_decoder` for the video decoder.

Comments mark where the paper differs; `paper.py` marks where it does not give a value. Fields that
are not set have the defaults of their classes.
"""

import dataclasses

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.configs.paper import DECODER_FPS, SPATIAL, STAGE_FPS
from videogen_jax.data.config import DataConfig
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.discriminator import DiscriminatorConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.models.unet import UNetConfig
from videogen_jax.training.config import LoopConfig, OptimConfig
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.task import ComputeConfig
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig, refiner_data
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig

# As in `paper.py`: Stable Diffusion's.
SCHEDULE = ScheduleConfig(
    num_train_timesteps=1000,
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    prediction="eps",
)
SAMPLER = SamplerConfig(name="ddim", num_steps=50, timestep_spacing="leading", steps_offset=1)

IMAGE_UNET = UNetConfig(
    in_channels=4,  # noisy latent
    out_channels=4,
    block_out_channels=(128, 256, 384, 384),  # the paper: 320, 640, 1280, 1280
    layers_per_block=2,
    attention_levels=(True, True, True, False),
    num_heads=(4, 8, 12, 12),  # of 32 channels each; the paper: 8 at every level
    cross_attention_dim=512,
    norm_groups=32,
)
# UNet of the first stage. Its input is the noisy latent and the reference's latent (§3.2).
FIRST_UNET = dataclasses.replace(
    IMAGE_UNET,
    in_channels=8,
    temporal=True,
    frame_embedding=True,  # not in the paper, see `paper.py`
)
# UNet of the other stages and the refiner. Its input also has a low-resolution or a warped clip.
LATER_UNET = dataclasses.replace(FIRST_UNET, in_channels=12, low_res_noise=False)

SMALL = ModelConfig(
    name="small",
    text_encoder=TextEncoderConfig(  # CLIP's, two thirds as wide
        vocab_size=49408,
        max_length=77,
        hidden_size=512,
        intermediate_size=2048,
        num_layers=12,
        num_heads=8,
        activation="quick_gelu",
        eos_token_id=49407,
    ),
    autoencoder=AutoencoderConfig(  # ×8, half as wide as Stable Diffusion's
        latent_channels=4,
        block_out_channels=(64, 128, 256, 256),
        layers_per_block=2,
        norm_groups=32,
        mid_attention=True,
        scaling_factor=0.18215,
    ),
    image=DenoiserConfig(
        unet=IMAGE_UNET,
        schedule=SCHEDULE,
        sampler=SAMPLER,
        resolution=256,
        guidance_scale=7.5,
    ),
    stages=(
        DenoiserConfig(  # 8×8 latents; the paper: 16×16, 32×32 and 64×64
            unet=FIRST_UNET,
            schedule=SCHEDULE,
            sampler=SAMPLER,
            resolution=64,
            guidance_scale=7.5,
        ),
        DenoiserConfig(  # 16×16
            unet=LATER_UNET,
            schedule=SCHEDULE,
            sampler=SAMPLER,
            resolution=128,
            guidance_scale=7.5,
        ),
        DenoiserConfig(  # 32×32
            unet=LATER_UNET,
            schedule=SCHEDULE,
            sampler=SAMPLER,
            resolution=256,
            guidance_scale=7.5,
        ),
    ),
    # IFRNet-S on latents; the paper: IFRNet.
    flow=FlowConfig(
        in_channels=4,
        encoder_channels=(24, 36, 54, 72),
        side_channels=24,
        stem_stride=2,
    ),
    refiner=DenoiserConfig(
        unet=LATER_UNET,
        schedule=SCHEDULE,
        sampler=SAMPLER,
        resolution=256,
        guidance_scale=1.0,  # it is conditioned on the empty prompt
    ),
    num_frames=16,
    fps=8.0,
    temporal_sr_rounds=3,  # 16 frames become 31, 61, 121
    lowpass_factor=4,
)

OPTIM = OptimConfig(
    name="adamw",
    learning_rate=1e-4,
    schedule="constant",
    warmup_steps=1000,
    b1=0.9,
    b2=0.999,
    weight_decay=1e-2,
    clip_norm=1.0,
)
LOOP = LoopConfig(ema_decay=0.9999, sample_every=1000, checkpoint_every=1000)
COMPUTE = ComputeConfig(dtype="bfloat16", remat="blocks")

# For all runs, `--data.dataset` sets the dataset; without it, they train on the procedural shapes.
_PARTS = {
    "small-stage-1": RunConfig(
        model=SMALL,
        task=CascadeTaskConfig(stage=1, warm_start="image_unet", text_dropout=0.1),
        data=DataConfig(num_frames=16, resolution=64, fps=STAGE_FPS),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    "small-stage-2": RunConfig(
        model=SMALL,
        task=CascadeTaskConfig(stage=2, warm_start="stage_1", text_dropout=0.1),
        data=DataConfig(num_frames=16, resolution=128, fps=STAGE_FPS),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    "small-stage-3": RunConfig(
        model=SMALL,
        task=CascadeTaskConfig(stage=3, warm_start="stage_2", text_dropout=0.1),
        data=DataConfig(num_frames=16, resolution=256, fps=STAGE_FPS),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    # The paper's target flows are those of a pixel-space IFRNet on real clips (§3.5):
    # `--data.dataset CLIPS --task.teacher DIR`.
    "small-flow": RunConfig(
        model=SMALL,
        task=FlowTaskConfig(),
        # The ends of a window of five frames are then 1/6 to 1/32 of a second apart, as the frames
        # between which temporal SR interpolates are.
        data=DataConfig(num_frames=5, resolution=256, fps=(24.0, 128.0)),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=ComputeConfig(dtype="bfloat16", remat="none"),  # it has no blocks to recompute
    ),
    "small-refiner": RunConfig(
        model=SMALL,
        task=RefinerTaskConfig(warm_start="stage_3", interpolation="flow"),
        data=refiner_data(SMALL),  # 31 frames at 12 to 80 fps
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    "small-video-decoder": RunConfig(
        model=SMALL,
        task=VideoDecoderTaskConfig(
            adversarial_weight=0.5,
            discriminator=DiscriminatorConfig(channels=64, num_layers=3, frames=1),
            temporal_adversarial_weight=0.5,
            temporal_discriminator=DiscriminatorConfig(channels=64, num_layers=3, frames=5),
            perceptual_weight=0.0,  # as in `paper.py`
            perceptual_frames=4,
            clean_probability=0.2,
        ),
        data=DataConfig(
            num_frames=16,
            resolution=256,
            fps=DECODER_FPS,
            degrade=DegradeConfig(blur_scale=1.0),
        ),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
}

RUNS: dict[str, RunConfig] = _PARTS | {
    # Not in the paper: stage 1, training only the parameters that the image model does not have.
    "small-stage-1-temporal": dataclasses.replace(
        _PARTS["small-stage-1"], optim=dataclasses.replace(OPTIM, freeze=(SPATIAL,))
    ),
}
"""In the order in which the parts depend on each other, then stage 1 with frozen spatial layers."""
