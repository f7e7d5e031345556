"""The layout of the page, in Gradio."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

import gradio as gr

from videogen_jax.app.handlers import Handlers, dice
from videogen_jax.app.settings import Settings
from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.sampler_config import SamplerName
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.temporal_sr import Interpolation

# All sampling waits in one queue, with one worker.
_ONE_WORKER: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "sampling"}
_SAMPLERS = ["the model's", *get_args(SamplerName)]


def build_page(config: ModelConfig, handlers: Handlers) -> gr.Blocks:
    """Returns the page for a model."""
    with gr.Blocks(title="VideoGen", analytics_enabled=False) as page:
        gr.Markdown(f"# VideoGen\nThe model `{config.name}`, {_sizes(config)}.")
        with gr.Tab("Generate"):
            _generate_tab(config, handlers)
        with gr.Tab("Compare"):
            _compare_tab(handlers)
        with gr.Tab("Interpolate my video"):
            _interpolate_tab(handlers)
    return page.queue(max_size=20)


def _sizes(config: ModelConfig) -> str:
    pixels = config.stages[-1].resolution
    return f"{config.num_frames} frames of {pixels}×{pixels} pixels before temporal SR"


def _parts(config: ModelConfig) -> list[str]:
    return ["image", *(f"stage {i}" for i in range(1, len(config.stages) + 1)), "refiner"]


def _generate_tab(config: ModelConfig, handlers: Handlers) -> None:
    with gr.Row():
        with gr.Column():
            inputs = _settings(config)
            with gr.Row():
                start = gr.Button("Generate", variant="primary", elem_id="generate")
                stop = gr.Button("Cancel", elem_id="cancel")
        with gr.Column():
            shown = _results()
    shown |= {
        "command": gr.Code(label="The same from the shell", language="shell", interactive=False),
        "python": gr.Code(label="The same from Python", language="python", interactive=False),
        "gallery": gr.Gallery(label="Your last results", columns=6, height=200, fit_columns=False),
    }
    kept = gr.State([])
    gr.on(
        [start.click, inputs[0].submit],
        _generate(config, handlers, shown, kept),
        [kept, *inputs],
        [*shown.values(), kept],
        api_name="generate",
        show_progress="hidden",
        **_ONE_WORKER,
    )
    stop.click(_cancel(handlers), None, shown["status"], queue=False, api_name="cancel")


def _settings(config: ModelConfig) -> list[Any]:
    """Returns the components of the settings, in the order of `_generate`'s arguments."""
    prompt = gr.Textbox(label="Prompt", value="a red circle moving left", elem_id="prompt")
    negative = gr.Textbox(label="Negative prompt")
    picture = gr.Image(
        label="Reference image (by default the image model's)",
        type="filepath",
        sources=["upload", "clipboard"],
        height=160,
    )
    with gr.Row():
        seed = gr.Number(label="Seed", value=0, precision=0, elem_id="seed")
        die = gr.Button("🎲", min_width=40, scale=0)
        die.click(dice, None, seed, queue=False, api_visibility="private")
    with gr.Row():
        frames = gr.Number(label="Frames", value=config.num_frames, precision=0)
        fps = gr.Number(label="Frames per second", value=config.fps)
        rounds = gr.Number(label="Temporal SR rounds", value=config.temporal_sr_rounds, precision=0)
    with gr.Accordion("Advanced: steps and guidance of each part", open=False):
        numbers = _numbers(config)
    return [prompt, negative, picture, seed, frames, fps, rounds, *numbers]


def _numbers(config: ModelConfig) -> list[Any]:
    """Returns the steps of each part, then the guidance of all but the refiner."""
    parts, denoisers = _parts(config), [config.image, *config.stages, config.refiner]
    with gr.Row():
        steps = [
            gr.Number(label=f"Steps, {part}", value=denoiser.sampler.num_steps, precision=0)
            for part, denoiser in zip(parts, denoisers, strict=True)
        ]
    with gr.Row():
        guidance = [
            gr.Number(label=f"Guidance, {part}", value=denoiser.guidance_scale)
            for part, denoiser in zip(parts[:-1], denoisers, strict=False)
        ]
    return [*steps, *guidance]


def _results() -> dict[str, Any]:
    """Returns the components beside the settings, by the names that `Handlers` uses."""
    return {
        "status": gr.Textbox(label="Status", interactive=False, elem_id="status"),
        "bar": gr.HTML(),
        "previews": gr.Gallery(
            label="Reference and stages", columns=4, height=180, fit_columns=False
        ),
        "video": gr.Video(label="Video", autoplay=True, loop=True, elem_id="video"),
        "files": gr.Files(label="Downloads: .mp4, .gif, .webp", interactive=False),
    }


def _generate(
    config: ModelConfig, handlers: Handlers, shown: dict[str, Any], kept: Any
) -> Callable[..., Iterator[dict[Any, Any]]]:
    count = len(_parts(config))

    def run(request: gr.Request, last: list[Any], *values: Any) -> Iterator[dict[Any, Any]]:
        prompt, negative, upload, seed, num_frames, fps, rounds, *numbers = values
        options = VideoOptions(
            seed=seed,
            negative_prompt=negative,
            num_frames=num_frames,
            fps=fps,
            temporal_sr=rounds,
            steps=tuple(numbers[:count]),
            guidance=tuple(numbers[count:]),
        )
        settings = Settings(prompt, options, has_reference=upload is not None)
        for new in handlers.generate(str(request.session_hash), settings, upload, last):
            changed: dict[Any, Any] = {shown[name]: value for name, value in new.items()}
            if "gallery" in new:
                changed[kept] = new["gallery"]
            yield changed

    return run


def _cancel(handlers: Handlers) -> Callable[..., str]:
    def cancel(request: gr.Request) -> str:
        return handlers.cancel(str(request.session_hash))

    return cancel


def _side(name: str) -> list[Any]:
    """Returns the components of one side's settings."""
    gr.Markdown(f"### {name}")
    return [
        gr.Number(label="Steps of all parts (empty: the model's)", value=None, precision=0),
        gr.Number(label="Guidance (empty: the model's)", value=None),
        gr.Dropdown(_SAMPLERS, value=_SAMPLERS[0], label="Sampler"),
        gr.Dropdown(list(get_args(Interpolation)), value="flow", label="Interpolation"),
        gr.Checkbox(label="Reference image", value=True),
    ]


def _compare_tab(handlers: Handlers) -> None:
    prompt = gr.Textbox(label="Prompt", value="a red circle moving left")
    seed = gr.Number(label="Seed of both", value=0, precision=0)
    with gr.Row():
        with gr.Column():
            left = _side("A")
        with gr.Column():
            right = _side("B")
    with gr.Row():
        start = gr.Button("Compare", variant="primary")
        stop = gr.Button("Cancel")
    status = gr.Textbox(label="Status", interactive=False)
    progress = gr.HTML()
    with gr.Row():
        videos = [gr.Video(label=name, autoplay=True, loop=True) for name in "AB"]
    with gr.Row():
        lines = [gr.Code(label=name, language="shell", interactive=False) for name in "AB"]
    shown: dict[str, Any] = {"status": status, "bar": progress}
    for name, video, line in zip("ab", videos, lines, strict=True):
        shown |= {f"video_{name}": video, f"command_{name}": line}
    count = len(left)

    def run(request: gr.Request, text: str, number: Any, *values: Any) -> Iterator[dict[Any, Any]]:
        both = tuple(
            Settings(text, _options(number, *side)) for side in (values[:count], values[count:])
        )
        for new in handlers.compare(str(request.session_hash), (both[0], both[1])):
            yield {shown[name]: value for name, value in new.items()}

    start.click(
        run,
        [prompt, seed, *left, *right],
        list(shown.values()),
        api_name="compare",
        show_progress="hidden",
        **_ONE_WORKER,
    )
    stop.click(_cancel(handlers), None, status, queue=False, api_visibility="private")


def _options(
    seed: Any, steps: Any, guidance: Any, sampler: Any, interpolation: Any, use_reference: Any
) -> VideoOptions:
    return VideoOptions(
        seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=None if sampler == _SAMPLERS[0] else sampler,
        interpolation=interpolation,
        use_reference=use_reference,
    )


def _interpolate_tab(handlers: Handlers) -> None:
    with gr.Row():
        with gr.Column():
            upload = gr.Video(label="Your video", sources=["upload"])
            times = gr.Number(label="How often the frame rate doubles", value=1, precision=0)
            seed = gr.Number(label="Seed", value=0, precision=0)
            start = gr.Button("Interpolate", variant="primary")
        with gr.Column():
            status = gr.Textbox(label="Status", interactive=False)
            video = gr.Video(label="Result", autoplay=True, loop=True)

    def run(path: str | None, number: Any, noise: Any) -> tuple[Any, str]:
        new = handlers.interpolate(path, number, noise)
        return new["video"], new["status"]

    start.click(run, [upload, times, seed], [video, status], api_name="interpolate", **_ONE_WORKER)
