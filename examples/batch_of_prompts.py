"""Samples a file of prompts, one per line, several at a time.

    python examples/batch_of_prompts.py prompts.txt --out outputs/prompts

The same line goes on where an interrupted one ended: videos that exist are left out. A video
depends on its prompt, its seed and its place in its batch, so the batches are the same every time.
"""

from pathlib import Path

import tyro

from videogen_jax import VideoGen


def main(
    prompts: tyro.conf.Positional[Path],
    /,
    model: str = "shapes",
    out: Path = Path("outputs/prompts"),
    batch_size: int = 4,
    steps: int | None = None,
) -> None:
    """Samples the prompts of a text file.

    Args:
        prompts: text file with one prompt per line.
        model: name of a shipped model, or a model directory.
        out: folder for 0000.mp4, 0001.mp4, ...
        batch_size: prompts that are sampled together.
        steps: steps of every sampler, by default the model's.
    """
    texts = [line.strip() for line in prompts.read_text(encoding="utf-8").splitlines()]
    texts = [text for text in texts if text]
    loaded = VideoGen.load(model)
    for first in range(0, len(texts), batch_size):
        batch = texts[first : first + batch_size]
        paths = [out / f"{first + number:04d}.mp4" for number in range(len(batch))]
        if all(path.exists() for path in paths):
            continue
        # A seed of its own for each batch: with the same one, equal places had equal noise.
        videos = loaded(batch, seed=first // batch_size, steps=steps)
        for path, video in zip(paths, videos, strict=True):
            print(f"{video.save(path)}: {video.prompt}")


if __name__ == "__main__":
    tyro.cli(main)
