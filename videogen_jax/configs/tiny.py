"""The smallest model, with every part, and its runs; the tests use it.

Model: three stages make 4 frames of 8, 16 and 32 pixels, with 0.3 million parameters each; one
    round of temporal super-resolution makes 7 frames of them. Parameters of every part are in
    docs/design.md, section 1.
Result: none. The runs are four steps long and do not train a useful model.
Hours: not measured; the tests train parts of it on a CPU.
Hardware: any.

A part trains on the procedural shapes, with a model directory that contains the parts before it;
the first run copies the tokenizer of the shapes there:

    python -m train.text_to_image tiny-autoencoder --run-dir RUNS/autoencoder --model-dir MODEL
    python -m train.export RUNS/autoencoder MODEL

The other parts follow in the order of `RUNS`: `train.text_to_image` for the text encoder and the
image UNet, `train.cascade` for the stages, `train.temporal_sr` for flow and refiner,
`train.video_decoder` for the video decoder. Fields that are not set have the defaults of their
classes.
"""

import dataclasses

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.configs.paper import DECODER_FPS, STAGE_FPS
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

SCHEDULE = ScheduleConfig(
    num_train_timesteps=1000, beta_schedule="cosine", shift=3.0, prediction="v"
)
SAMPLER = SamplerConfig(name="ddim", num_steps=4, timestep_spacing="linspace", steps_offset=0)

IMAGE_UNET = UNetConfig(
    in_channels=4,  # noisy latent
    out_channels=4,
    block_out_channels=(16, 32),
    layers_per_block=1,
    attention_levels=(True, False),
    num_heads=(2, 2),
    cross_attention_dim=16,
    norm_groups=8,
)
# UNet of the first stage. Its input is the noisy latent and the reference's latent.
FIRST_UNET = dataclasses.replace(IMAGE_UNET, in_channels=8, temporal=True, frame_embedding=True)
# UNet of the other stages and the refiner. Its input also has a low-resolution or a warped clip.
LATER_UNET = dataclasses.replace(FIRST_UNET, in_channels=12, low_res_noise=True)

TINY = ModelConfig(
    name="tiny",
    text_encoder=TextEncoderConfig(
        vocab_size=727,
        max_length=24,
        hidden_size=16,
        intermediate_size=32,
        num_layers=2,
        num_heads=2,
        eos_token_id=726,
    ),
    autoencoder=AutoencoderConfig(  # ×4
        latent_channels=4,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_groups=2,
        mid_attention=True,
        scaling_factor=1.0,
    ),
    image=DenoiserConfig(
        unet=IMAGE_UNET,
        schedule=SCHEDULE,
        sampler=SAMPLER,
        resolution=32,
        guidance_scale=3.0,
    ),
    stages=(
        DenoiserConfig(
            unet=FIRST_UNET,
            schedule=SCHEDULE,
            sampler=SAMPLER,
            resolution=8,
            guidance_scale=3.0,
        ),
        DenoiserConfig(
            unet=LATER_UNET,
            schedule=SCHEDULE,
            sampler=SAMPLER,
            resolution=16,
            guidance_scale=3.0,
            low_res_noise=100,
        ),
        DenoiserConfig(
            unet=LATER_UNET,
            schedule=SCHEDULE,
            sampler=SAMPLER,
            resolution=32,
            guidance_scale=3.0,
            low_res_noise=100,
        ),
    ),
    flow=FlowConfig(in_channels=4, encoder_channels=(8, 12), side_channels=4, stem_stride=1),
    refiner=DenoiserConfig(
        unet=LATER_UNET,
        schedule=SCHEDULE,
        sampler=SAMPLER,
        resolution=32,
        guidance_scale=1.0,
        low_res_noise=100,
    ),
    num_frames=4,
    fps=8.0,
    temporal_sr_rounds=1,
    lowpass_factor=2,
)

OPTIM = OptimConfig(name="adamw", learning_rate=1e-3, schedule="cosine", warmup_steps=100)
LOOP = LoopConfig(ema_decay=0.998, sample_every=500, checkpoint_every=250)

RUNS: dict[str, RunConfig] = {
    "tiny-autoencoder": RunConfig(
        model=TINY,
        task=AutoencoderTaskConfig(resolutions=(32, 16), kl_weight=1e-6, squared_weight=4.0),
        data=DataConfig(num_frames=1, resolution=32),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-text-encoder": RunConfig(
        model=TINY,
        task=TextEncoderTaskConfig(
            resolution=16,
            num_frames=4,
            tower_channels=(8, 16),
            embedding_dim=16,
            initial_temperature=0.07,
        ),
        data=DataConfig(num_frames=4, resolution=16),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-image": RunConfig(
        model=TINY,
        task=TextToImageTaskConfig(warm_start="", text_dropout=0.1),
        data=DataConfig(num_frames=1, resolution=32),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-stage-1": RunConfig(
        model=TINY,
        task=CascadeTaskConfig(stage=1, warm_start="image_unet", text_dropout=0.1),
        data=DataConfig(num_frames=4, resolution=32, fps=STAGE_FPS),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-stage-2": RunConfig(
        model=TINY,
        task=CascadeTaskConfig(stage=2, warm_start="stage_1", text_dropout=0.1, low_res_noise=200),
        data=DataConfig(num_frames=4, resolution=32, fps=STAGE_FPS),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-stage-3": RunConfig(
        model=TINY,
        task=CascadeTaskConfig(stage=3, warm_start="stage_2", text_dropout=0.1, low_res_noise=200),
        data=DataConfig(num_frames=4, resolution=32, fps=STAGE_FPS),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-flow": RunConfig(
        model=TINY,
        task=FlowTaskConfig(),
        data=DataConfig(num_frames=5, resolution=32, fps=(4.0, 128.0)),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-refiner": RunConfig(
        model=TINY,
        task=RefinerTaskConfig(warm_start="stage_3", interpolation="flow"),
        data=refiner_data(TINY),  # 7 frames at 12 to 80 fps
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
    "tiny-video-decoder": RunConfig(
        model=TINY,
        task=VideoDecoderTaskConfig(adversarial_weight=0.0, clean_probability=0.25),
        data=DataConfig(
            num_frames=4,
            resolution=32,
            fps=DECODER_FPS,
            degrade=DegradeConfig(blur_scale=0.125),
        ),
        steps=4,
        batch_size=8,
        optim=OPTIM,
        loop=LOOP,
    ),
}
"""In the order in which the parts train."""
