"""Contact sheets of clips before and after degradation.

Shape letters: F frames, H height, W width; a trailing 3 are RGB channels, uint8.
"""

from pathlib import Path

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.data.degrade import DegradeConfig, Recipe, degrade, draw_recipe
from videogen_jax.data.loader import Source
from videogen_jax.errors import UserError
from videogen_jax.media.contact_sheet import contact_sheet, stack_sheets

FRAMES_IN_ROW = 6


def save_degradation_sheet(
    source: Source, config: DegradeConfig, path: Path, clips: int = 4, seed: int = 0
) -> list[str]:
    """Writes a picture with two rows per clip: the original frames, and the degraded ones.

    Args:
        source: source of examples with `video`, uint8 [F, H, W, 3]; the first ones are shown.
        config: the distributions that recipes are drawn from. A clip's recipe is a function of
            seed and index, as in the first epoch of training.
        path: the PNG file to write.
        clips: number of clips.
        seed: seed of the recipes.

    Returns:
        a readable line about each clip's degradation.

    Raises:
        UserError: `clips` is below 1, or `seed` below 0.
    """
    if clips < 1:
        raise UserError(f"clips is {clips}, expected at least 1")
    if seed < 0:
        raise UserError(f"seed is {seed}, expected at least 0")
    sheets, lines = [], []
    for index in range(min(clips, len(source))):
        example = source[index]
        recipe = draw_recipe(config, np.random.default_rng([seed, index, 0]))
        video_FHW3 = example["video"]
        shown = np.unique(np.linspace(0, len(video_FHW3) - 1, FRAMES_IN_ROW).round().astype(int))
        lines.append(f"{index}: {describe(recipe)}")
        captions = (f"{index}: {example['caption']}", lines[-1])
        # The whole clip is degraded: a codec's loss depends on the preceding frames.
        for frames_FHW3, caption in zip(
            (video_FHW3, degrade(video_FHW3, recipe)), captions, strict=True
        ):
            sheets.append(contact_sheet(frames_FHW3[shown], caption=caption))
    with replacing(path) as temporary:
        stack_sheets(sheets).save(temporary, format="PNG")
    return lines


def describe(recipe: Recipe) -> str:
    """Describes the steps of a recipe in order, with sizes in pixels and levels of 255."""
    words = {
        f"blur_{number}": f"blur {len(kernel)}x{len(kernel)}"
        for number, kernel in enumerate(recipe.kernels, start=1)
    }
    words["resize"] = f"down and up by {recipe.resize_factor:.2f}"
    words["jpeg"] = f"jpeg with quality {recipe.jpeg_quality}"
    # The noise of a channel is a weighted sum of three normal numbers.
    level = float(np.sqrt(np.square(recipe.noise_mixing).sum(axis=1).mean()))
    frozen = " and the same in all frames" if recipe.noise_frozen else ""
    words["noise"] = f"noise of {level:.1f} levels{frozen}"
    steps = [words[step] for step in recipe.steps]
    if recipe.codec != "none":
        measure = "quality" if recipe.codec == "jpeg" else "rate factor"
        steps.append(f"{recipe.codec} with {measure} {recipe.quality}")
    return ", ".join(steps)
