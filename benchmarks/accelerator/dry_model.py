"""The model that a dry run uses in place of `paper`."""

import dataclasses

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.configs.tiny import TINY


def dry_model() -> ModelConfig:
    """Returns `tiny` with one stage and networks of one or two levels, which compile quickly."""

    def small(part: DenoiserConfig) -> DenoiserConfig:
        unet = dataclasses.replace(
            part.unet, block_out_channels=(16,), attention_levels=(True,), num_heads=(2,)
        )
        return dataclasses.replace(part, unet=unet, resolution=TINY.stages[0].resolution)

    image, stage, refiner = small(TINY.image), small(TINY.stages[0]), small(TINY.refiner)
    return dataclasses.replace(
        TINY,
        text_encoder=dataclasses.replace(TINY.text_encoder, num_layers=1),
        autoencoder=dataclasses.replace(
            TINY.autoencoder, block_out_channels=(8, 16), mid_attention=False
        ),
        image=image,
        stages=(stage,),
        refiner=refiner,
        num_frames=3,
    )
