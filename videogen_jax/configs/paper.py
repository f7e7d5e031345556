"""The paper's model: the cascade of §3.2 on Stable Diffusion 1.5's networks, and its runs.

Model: text encoder, autoencoder and image UNet are Stable Diffusion's, converted and not trained
    (§3.5). Three stages make 16 frames of 128, 256 and 512 pixels, with 1.06 billion parameters
    each; temporal super-resolution makes 121 frames of them. Parameters of every part are in
    docs/design.md, section 1.
Result: none. This model has not been trained; only its parts' shapes were checked (README.md).
Hours: not measured.
Hardware: not measured. The paper used 64 A100 of 80 GB (§4.1). The compiler's figures for the
    stages on 64 TPU v5p are in docs/training.md, "The paper's stages on 64 × v5p".

docs/paper.md has every command, from Stable Diffusion's weights and clips to a video; docs/cost.md
computes what they take.

Comments mark where the paper differs or does not give a value. Fields that are not set have the
defaults of their classes.
"""

import dataclasses

from videogen_jax.config import DenoiserConfig, ModelConfig
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

# "Our other basic settings follow the open-sourced Stable Diffusion code" (§4.1): noise schedule,
# sampler, guidance, optimizer, learning rate, text dropout and average of the weights are Stable
# Diffusion's.
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
    block_out_channels=(320, 640, 1280, 1280),
    layers_per_block=2,
    attention_levels=(True, True, True, False),
    num_heads=(8, 8, 8, 8),
    cross_attention_dim=768,
    norm_groups=32,
)
# UNet of the first stage. Its input is the noisy latent and the reference's latent (§3.2).
FIRST_UNET = dataclasses.replace(
    IMAGE_UNET,
    in_channels=8,
    temporal=True,
    # Not in the paper: the frame's index, scaled by the text, is added to the time embedding. A
    # prototype without frame positions ignored the reference after the first frame.
    frame_embedding=True,
)
# UNet of the other stages and the refiner. Its input also has a low-resolution or a warped clip.
# The paper does not add noise to that clip; `low_res_noise` stays off.
LATER_UNET = dataclasses.replace(FIRST_UNET, in_channels=12, low_res_noise=False)

PAPER = ModelConfig(
    name="paper",
    text_encoder=TextEncoderConfig(  # CLIP ViT-L/14
        vocab_size=49408,
        max_length=77,
        hidden_size=768,
        intermediate_size=3072,
        num_layers=12,
        num_heads=12,
        activation="quick_gelu",
        eos_token_id=49407,
    ),
    autoencoder=AutoencoderConfig(  # ×8: four levels
        latent_channels=4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        norm_groups=32,
        mid_attention=True,
        scaling_factor=0.18215,
    ),
    image=DenoiserConfig(
        unet=IMAGE_UNET,
        schedule=SCHEDULE,
        sampler=SAMPLER,
        resolution=512,
        guidance_scale=7.5,
    ),
    stages=(
        DenoiserConfig(  # 16×16 latents
            unet=FIRST_UNET,
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
        DenoiserConfig(  # 64×64
            unet=LATER_UNET,
            schedule=SCHEDULE,
            sampler=SAMPLER,
            resolution=512,
            guidance_scale=7.5,
        ),
    ),
    # IFRNet. The paper changes its first layer for latents (§3.5); the residual that ours adds to
    # the warped frames is one of latents too.
    flow=FlowConfig(
        in_channels=4,
        encoder_channels=(32, 48, 72, 96),
        side_channels=32,
        stem_stride=2,
    ),
    # The paper does not say which text conditions the refiner. Ours is conditioned on the empty
    # prompt, so there is no guidance.
    refiner=DenoiserConfig(
        unet=LATER_UNET,
        schedule=SCHEDULE,
        sampler=SAMPLER,
        resolution=512,
        guidance_scale=1.0,
    ),
    num_frames=16,
    fps=8.0,  # the paper does not say
    temporal_sr_rounds=3,  # §3.3; N frames become 2N − 1, so 121 in place of the paper's 8 × 16
    lowpass_factor=4,  # the paper does not say where low frequencies end (§3.3)
)

OPTIM = OptimConfig(
    name="adamw",
    learning_rate=1e-4,
    schedule="constant",
    warmup_steps=1000,  # this and clipping are added to Stable Diffusion's
    b1=0.9,
    b2=0.999,
    weight_decay=1e-2,
    clip_norm=1.0,
)
LOOP = LoopConfig(ema_decay=0.9999, sample_every=1000, checkpoint_every=1000)
COMPUTE = ComputeConfig(dtype="bfloat16", remat="blocks")

# Ranges of frame rates, in frames per second, from which each clip draws its own; the paper does
# not say. Sampling asks the stages for 8 (`PAPER.fps`), or the `fps` of a call, and decodes videos
# at 8 to 64. Clips have whole fractions of their own rates: 15 of 30, 60 in place of 64.
STAGE_FPS = (4.0, 16.0)
DECODER_FPS = (6.0, 80.0)

# All parameters of a stage, except the temporal layers and the first convolution, whose input
# channels for the reference are new too.
SPATIAL = r"(?!(.*/)?temporal_|conv_in/).*"

# For all runs, the paper gives neither steps nor batch size. It trains the stages on WebVid-10M and
# the other parts on 40,000 clips from YouTube (§4.1). `--data.dataset` sets the dataset; without
# it, the procedural shapes take its place.
_PARTS = {
    "paper-stage-1": RunConfig(
        model=PAPER,
        task=CascadeTaskConfig(stage=1, warm_start="image_unet", text_dropout=0.1),
        data=DataConfig(num_frames=16, resolution=128, fps=STAGE_FPS),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    "paper-stage-2": RunConfig(
        model=PAPER,
        task=CascadeTaskConfig(stage=2, warm_start="stage_1", text_dropout=0.1),
        data=DataConfig(num_frames=16, resolution=256, fps=STAGE_FPS),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    "paper-stage-3": RunConfig(
        model=PAPER,
        task=CascadeTaskConfig(stage=3, warm_start="stage_2", text_dropout=0.1),
        data=DataConfig(num_frames=16, resolution=512, fps=STAGE_FPS),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    # The paper's target flows are those of a pixel-space IFRNet on real clips (§3.5):
    # `--data.dataset CLIPS --task.teacher DIR`.
    "paper-flow": RunConfig(
        model=PAPER,
        task=FlowTaskConfig(),
        # The ends of a window of five frames are then 1/6 to 1/32 of a second apart, as the frames
        # between which temporal SR interpolates are.
        data=DataConfig(num_frames=5, resolution=512, fps=(24.0, 128.0)),
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=ComputeConfig(dtype="bfloat16", remat="none"),  # it has no blocks to recompute
    ),
    # The paper does not say what the refiner starts from.
    "paper-refiner": RunConfig(
        model=PAPER,
        task=RefinerTaskConfig(warm_start="stage_3", interpolation="flow"),
        data=refiner_data(PAPER),  # 31 frames at 12 to 80 fps
        steps=100_000,
        batch_size=256,
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
    # The paper does not give the loss. Ours is that of Stable Diffusion's autoencoder, with a
    # discriminator of windows of frames too. LPIPS needs weights that this library does not
    # contain: `--task.lpips DIR --task.perceptual-weight 1` (docs/training.md).
    "paper-video-decoder": RunConfig(
        model=PAPER,
        task=VideoDecoderTaskConfig(
            adversarial_weight=0.5,
            discriminator=DiscriminatorConfig(channels=64, num_layers=3, frames=1),
            temporal_adversarial_weight=0.5,
            temporal_discriminator=DiscriminatorConfig(channels=64, num_layers=3, frames=5),
            perceptual_weight=0.0,
            perceptual_frames=4,  # with LPIPS: of 16
            clean_probability=0.2,  # the paper does not say that it has clean clips
        ),
        data=DataConfig(
            num_frames=16,
            resolution=512,
            fps=DECODER_FPS,
            degrade=DegradeConfig(blur_scale=1.0),
        ),
        steps=100_000,
        batch_size=128,  # two clips on each of 64 devices; four need 115 GiB
        optim=OPTIM,
        loop=LOOP,
        compute=COMPUTE,
    ),
}

RUNS: dict[str, RunConfig] = _PARTS | {
    # Not in the paper: stage 1, training only the parameters that the image model does not have.
    "paper-stage-1-temporal": dataclasses.replace(
        _PARTS["paper-stage-1"], optim=dataclasses.replace(OPTIM, freeze=(SPATIAL,))
    ),
}
"""In the order in which the parts depend on each other, then stage 1 with frozen spatial layers."""
