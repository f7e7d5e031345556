"""What a call shows: bars where somebody looks, and the user's callback."""

import sys
import types

import numpy as np
import pytest

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import Progress, UserError, VideoGen
from videogen_jax.pipeline.progress import Reporter, is_shown

PROMPT = "a red circle moving left"
OPTIONS = {"stages": 1, "temporal_sr": 0, "decoder": "image", "steps": 2}


class Stream:
    def __init__(self, terminal: bool):
        self.isatty = lambda: terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_shown_on_a_terminal(monkeypatch, terminal):
    monkeypatch.setattr(sys, "stderr", Stream(terminal))
    assert is_shown(None) == terminal
    assert is_shown(True) and not is_shown(False)


@pytest.mark.parametrize("kernel", [None, object()])
def test_bars_are_shown_in_a_notebook(monkeypatch, kernel):
    shell = types.SimpleNamespace(kernel=kernel)
    module = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setattr(sys, "stderr", Stream(False))
    assert is_shown(None) == (kernel is not None)


def test_a_function_receives_every_step_and_the_results():
    seen: list[Progress] = []
    model = micro_model.model()
    video = model(PROMPT, progress=seen.append, **OPTIONS)
    parts = list(dict.fromkeys(step.part for step in seen))
    assert parts == ["reference image", "stage 1", "decoding"]
    stage = [step for step in seen if step.part == "stage 1"]
    assert [(step.done, step.total) for step in stage] == [(1, 2), (2, 2), (2, 2)]
    assert [step.result is None for step in stage] == [True, True, False]
    reference, latents = (step.result for step in seen if step.result is not None)
    np.testing.assert_array_equal(np.asarray(reference)[0], video.reference)
    np.testing.assert_array_equal(model.decode(latents)[0], video.frames)


def test_a_function_may_end_the_call():
    class Cancelled(Exception):
        pass

    seen: list[Progress] = []

    def cancel(step: Progress) -> None:
        seen.append(step)
        if step.part == "stage 1":
            raise Cancelled

    with pytest.raises(Cancelled):
        micro_model.model()(PROMPT, progress=cancel, **OPTIONS)
    assert (seen[-1].part, seen[-1].done) == ("stage 1", 1)


def test_only_videos_take_a_function_in_place_of_bars():
    with pytest.raises(UserError, match="progress is .*, expected True or False"):
        micro_model.model().images(PROMPT, progress=print)


def test_a_part_without_steps_has_no_bar(capfd):
    with Reporter(True).part("temporal SR", 0) as part:
        part.tick(0)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("shape", [(1, 2, 4, 4, 3), (2, 4, 4, 4)])
def test_latents_of_another_shape_are_refused(shape):
    with pytest.raises(UserError, match=r"latents have the shape .*, expected \[B, F, h, w, 4\]"):
        micro_model.model().decode(np.zeros(shape, np.float32))


def test_the_model_describes_itself():
    names = ("text_encoder", "autoencoder", "stage_1")
    model = VideoGen(MICRO, micro_model.params(MICRO, *names), micro_model.TOKENIZER)
    first, sizes, present, missing, where = repr(model).splitlines()
    assert first == "VideoGen 'micro'"
    assert sizes == "  8 → 16 pixels, 4 → 7 frames, 8 fps before temporal SR"
    assert present.startswith("  text_encoder 0.0 M, autoencoder 0.0 M, stage_1 0.1 M")
    assert missing == "  missing: image_unet, stage_2, flow, refiner, video_decoder"
    assert where == "  float32 on 1 × cpu"
