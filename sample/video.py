"""Makes videos of prompts: `python -m sample.video "a red circle moving left" --out out.mp4`."""

import math
from pathlib import Path

import jax
import tyro

from videogen_jax import VideoGen
from videogen_jax.doors import COMPILATION_CACHE, command, enable_compilation_cache
from videogen_jax.pipeline.output import check_format, check_output
from videogen_jax.sharding import MeshConfig, make_mesh


def main(
    prompts: tyro.conf.Positional[tuple[str, ...]],
    /,
    model: str = "shapes",
    out: Path = Path("outputs/video.mp4"),
    seed: int = 0,
    reference: Path | None = None,
    negative_prompt: str = "",
    fps: float | None = None,
    steps: tuple[int, ...] = (),
    guidance: tuple[float, ...] = (),
    stages: int | None = None,
    temporal_sr: int | None = None,
    num_frames: int | None = None,
    mesh: tuple[int, int, int] = (1, 1, 1),
    cache_dir: Path = COMPILATION_CACHE,
) -> None:
    """Makes a video of each prompt, and beside it a contact sheet: the reference, then the frames.

    Args:
        prompts: one text or several; they are sampled together.
        model: name of a model that ships, or a model directory.
        out: .mp4, .gif, .webp, or a folder for PNG frames; of several prompts out_0.mp4, out_1.mp4.
        seed: of all noise.
        reference: image file in place of a generated reference image.
        negative_prompt: what guidance leads away from.
        fps: of the cascade's clip; temporal super-resolution doubles it each round.
        steps: one number, or one for the image model, each stage and the refiner.
        guidance: one scale, or one for the image model and each stage.
        stages: run only so many.
        temporal_sr: rounds of N → 2N − 1 frames.
        num_frames: of the cascade's clip.
        mesh: devices along the axes data and fsdp, which share the prompts, and frames, which share
            each clip; one may be -1, what is left.
        cache_dir: where compiled programs are kept, so that the next start need not compile.
    """
    paths = [out] if len(prompts) == 1 else [_numbered(out, i) for i in range(len(prompts))]
    for path in paths:  # before minutes are spent on what cannot be written
        check_format(path)
        check_output(path)
        check_output(path.with_suffix(".png"))
    enable_compilation_cache(cache_dir)
    print(f"loading {model}")
    devices = jax.devices() if -1 in mesh else jax.devices()[: math.prod(mesh)]
    videos = VideoGen.load(model, mesh=make_mesh(MeshConfig(*mesh), devices))(
        prompts,
        seed=seed,
        reference=reference,
        negative_prompt=negative_prompt,
        fps=fps,
        steps=steps[0] if len(steps) == 1 else steps or None,
        guidance=guidance[0] if len(guidance) == 1 else guidance or None,
        stages=stages,
        temporal_sr=temporal_sr,
        num_frames=num_frames,
        progress=True,
    )
    for path, video in zip(paths, videos, strict=True):
        sheet = path.with_suffix(".png")
        video.save(path)
        video.contact_sheet(sheet, caption=video.prompt)
        print(f"{path} and {sheet}: {video!r}")


def _numbered(out: Path, number: int) -> Path:
    return out.with_name(f"{out.stem}_{number}{out.suffix}")


if __name__ == "__main__":
    command(main, "python -m sample.video")
