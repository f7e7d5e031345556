"""The page of costs: its arithmetic on small numbers, and that it shows the stored figures."""

import jax
import numpy as np
import pytest

from benchmarks.cost import clips, operations, page
from videogen_jax.configs import RUNS
from videogen_jax.configs.paper import PAPER
from videogen_jax.configs.tiny import TINY
from videogen_jax.models.components import component_shapes
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.parameters import count, init_flow, shapes
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.telemetry.flops import jaxpr_flops

PRESETS = [f"paper-{part}" for part in operations.PARTS]
DAY = 86400


def test_the_page_is_what_the_script_writes():
    assert page.PAGE.read_text() == page.render(operations.read(), clips.read())


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stored_operations_are_those_of_the_preset(preset):
    """If not: `python -m benchmarks.cost.operations`, then `python -m benchmarks.cost.page`."""
    assert operations.read()[preset]["run"] == operations.fingerprint(RUNS[preset])


@pytest.mark.slow  # traces the step of six large networks, in minutes
@pytest.mark.parametrize("preset", PRESETS)
def test_the_stored_operations_are_those_of_the_code(preset):
    """The test above does not notice a change of the code; this one does."""
    assert operations.figures(RUNS[preset]) == operations.read()[preset]


def test_a_chip_of_known_peak_takes_known_days():
    """v5p: 459 TFLOP/s."""
    assert page.chip_days(459e12 * DAY, "v5p", mfu=1.0) == pytest.approx(1.0)
    assert page.chip_days(459e12 * DAY, "v5p", mfu=0.25) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="peak of cpu"):
        page.chip_days(1.0, "cpu")


def test_a_run_takes_the_operations_of_all_its_clips():
    run = page.Training("a run", "paper-stage-2", steps=10)
    counted = {"paper-stage-2": {"flops": 3.0, "flops_cached": 2.0}}
    assert run.operations(counted) == 10 * 256 * 3
    assert run._replace(cached=True).operations(counted) == 10 * 256 * 2


def test_bytes_of_a_cache():
    """The formula of docs/data.md."""
    cache = page.Cache("a cache", clips=5, epochs=3, frames=16, resolutions=(128, 512), texts=2)
    window = 2 * 16 * 4 * (16**2 + 64**2) * 4 + 12
    assert cache.bytes("float32") == 15 * window + 2 * 78 * 768 * 4
    assert cache.bytes("float16") == 15 * (window + 12) / 2 + 2 * 78 * 768 * 2
    assert cache.encoding({"128": 1.0, "512": 10.0}) == 15 * 16 * 11


def test_the_caches_of_the_recipe_fit_their_runs():
    for cache, preset in (
        (page.REFINER_CACHE, "paper-refiner"),
        (page.UCF101_CACHE, "paper-stage-1"),
    ):
        latents = RUNS[preset].task.cached_latents(PAPER)
        assert latents is not None and set(cache.resolutions) == set(latents.resolutions)
        assert cache.frames == RUNS[preset].data.num_frames
        assert max(cache.resolutions) == RUNS[preset].data.resolution


def test_ingest_and_loading_on_small_numbers(monkeypatch):
    figures = {"seconds_a_frame": 0.036, "bytes_a_frame": 2e6, "width": 9, "height": 5}
    monkeypatch.setattr(page, "INGESTED", (page.Clips("clips", 1000, 100, "a"),))
    (row,) = page.ingest_rows({"a": figures})
    assert row == ["clips", "1,000", "100", "36.0 ms", "1.00", "9×5", "2.00 MB", "200 GB"]
    # 64 chips at 40 % of 459 TFLOP/s, and 0.459 TFLOP for each window: 25,600 windows a second.
    (row,) = page.loading_rows({"paper-flow": {"flops": 0.459e12}}, {"paper-flow": 0.01})
    assert row[:3] == ["`paper-flow`", "10 ms", "256"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234, "1,230"),
        (99.96, "100"),
        (45.61, "45.6"),
        (4.561, "4.56"),
        (0.04561, "0.046"),
    ],
)
def test_three_digits(value, text):
    assert page.round3(value) == text


@pytest.mark.slow  # traces a step; the stored operations of the flow are checked above
def test_the_teacher_of_a_flow_counts(tmp_path):
    """The step without it has 0.04 GFLOP, the teacher 0.4."""
    config = RUNS["tiny-flow"]
    assert isinstance(config.task, FlowTaskConfig)
    taught = operations.step_flops(operations.with_teacher(config, config.task, tmp_path))
    frames = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    network = LatentFlow(operations.IFRNET)
    teacher = jaxpr_flops(
        lambda params, a, b: network.apply({"params": params}, a, b, np.full(1, 0.5)),
        shapes(init_flow, operations.IFRNET),
        frames,
        frames,
    )
    assert taught > teacher.total


def test_encoding_grows_with_the_pixels():
    flops = operations.encoding_flops(TINY)
    assert list(flops) == ["8", "16", "32"]
    assert flops["16"] < flops["32"] < 5 * flops["16"]


def test_measured_clips_are_complete():
    assert set(clips.read()["windows"]) == set(PRESETS)
    assert set(clips.read()["sources"]) == set(clips.SOURCES)


def test_stored_parameters():
    stored = operations.read()["paper-flow"]["parameters"]
    assert stored == count(component_shapes(PAPER, "flow")["flow"])
