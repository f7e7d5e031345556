"""What each preset of a run is, in one line: part, size, batch, steps, hardware."""

from videogen_jax.training.runs.config import RunConfig

HARDWARE = {
    "paper": "64 TPU v5p (planned)",
    "small": "not run",
    "shapes": "2 CPU cores",
    "tiny": "any CPU",
}
"""What trained the runs of each model, see the file of the model."""


def about_run(config: RunConfig) -> str:
    """Returns what a run trains, the size of a clip, its batch and steps, and the hardware."""
    part = config.task.component()
    frames, pixels = config.data.num_frames, config.data.resolution
    if part.startswith("stage_"):
        pixels = config.model.stages[int(part.removeprefix("stage_")) - 1].resolution
    size = f"{frames} × {pixels}² px" if frames > 1 else f"{pixels}² px"
    hardware = HARDWARE.get(config.model.name, "not run")
    return f"{part}, {size}, batch {config.batch_size}, {config.steps} steps, {hardware}"
