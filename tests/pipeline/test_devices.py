"""Several prompts in one call, on one device and on eight."""

import jax
import numpy as np
import pytest

from tests.support import micro_model, parallel_sampling
from tests.support.parallel_sampling import CONFIG, OPTIONS, PROMPTS, make_model
from tests.support.processes import run_processes
from videogen_jax import Video, VideoGen, layout
from videogen_jax.pipeline import noise, placement
from videogen_jax.pipeline.denoise import sampling_plan
from videogen_jax.sharding import MeshConfig, make_mesh, put_whole_batch

ROUNDING = 1  # levels of 255: 1e-6 from the order of sums may change rounding


@pytest.fixture(scope="module")
def one_device() -> VideoGen:
    return make_model()


@pytest.fixture(scope="module")
def eight_devices() -> VideoGen:
    return make_model(make_mesh(MeshConfig()))


@pytest.fixture(scope="module")
def on_one(one_device) -> list[Video]:
    return one_device(PROMPTS, **OPTIONS)


def worst(one: Video, other: Video) -> int:
    """Returns the largest difference of any value, in levels of 255."""
    return int(np.abs(one.frames.astype(int) - other.frames).max())


def test_each_prompt_has_its_video(on_one):
    assert [video.prompt for video in on_one] == PROMPTS
    assert all((video.frames != on_one[0].frames).mean() > 0.1 for video in on_one[1:])


def test_the_first_of_several_is_that_of_one(on_one, one_device):
    assert worst(on_one[0], one_device(PROMPTS[0], **OPTIONS)) <= ROUNDING


def test_the_same_seed_gives_the_same_videos_on_1_and_8_devices(on_one, eight_devices):
    on_eight = eight_devices(PROMPTS, **OPTIONS)
    for one, other in zip(on_one, on_eight, strict=True):
        assert one.prompt == other.prompt
        assert worst(one, other) <= ROUNDING


def test_each_device_has_one_of_the_prompts(eight_devices):
    batch = put_whole_batch(
        eight_devices._mesh, {"tokens": np.zeros((8, 16), np.int32), "sample": np.arange(8)}
    )
    keys = noise.sample_keys(np.uint32(0), batch["sample"])
    assert len(batch["tokens"].sharding.device_set) == 8
    assert keys.sharding.shard_shape(keys.shape) == (1,)
    assert jax.tree.leaves(eight_devices.params)[0].sharding.is_fully_replicated


def test_prompts_that_the_devices_do_not_divide_are_filled_up(on_one, eight_devices):
    """The batch is filled up to 8, for which everything is compiled."""
    eight_devices(PROMPTS, **OPTIONS)
    with micro_model.counting_compilations() as compiled:
        videos = eight_devices(PROMPTS[:3], **OPTIONS)
    assert [video.prompt for video in videos] == PROMPTS[:3] and not compiled
    for one, other in zip(on_one, videos, strict=False):
        assert worst(one, other) <= ROUNDING


def test_a_list_of_seeds_gives_each_prompt_what_it_gives_alone(on_one, eight_devices):
    seeds, seen = [5, OPTIONS["seed"], 7], []
    prompts = [PROMPTS[1], PROMPTS[0], PROMPTS[2]]
    videos = eight_devices(prompts, **OPTIONS | {"seed": seeds}, progress=seen.append)
    results = [step.result for step in seen if step.result is not None]
    assert results and {len(result) for result in results} == {3}  # none of those that fill up
    assert [video.seed for video in videos] == seeds
    assert worst(on_one[0], videos[1]) <= ROUNDING
    assert worst(on_one[1], videos[0]) > 10 * ROUNDING


def part_of_a_device(model: VideoGen) -> float:
    """Returns the share of all parameters that the first device has."""
    leaves = [x for x in jax.tree.leaves(model.params) if x.size > 64]  # all but a few biases
    return sum(x.addressable_shards[0].data.size for x in leaves) / sum(x.size for x in leaves)


@pytest.mark.parametrize(
    "sizes",
    [
        (1, 2, 4),
        # Compiles for another mesh what the mesh above covers.
        pytest.param((1, 8, 1), marks=pytest.mark.slow),
    ],
)
def test_one_prompt_over_parameters_and_frames_is_the_same_video(on_one, monkeypatch, sizes):
    monkeypatch.setattr(placement, "RULES", MeshConfig(min_sharded_bytes=1))
    model = make_model(make_mesh(MeshConfig(*sizes)))
    assert part_of_a_device(model) <= 1 / 8 + 0.05
    with micro_model.counting_compilations() as compiled:
        assert worst(on_one[0], model(PROMPTS[0], **OPTIONS)) <= ROUNDING
    # Once for each stage: the state after a step is laid out as the one before the first.
    assert compiled.count("jit(_sample)") == len(CONFIG.stages)


def test_coefficients_that_are_first_used_on_a_mesh_serve_other_devices():
    with layout.activate(make_mesh(MeshConfig())):
        table = sampling_plan(CONFIG.image, num_steps=7, first=2)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(table))


def test_frames_that_the_devices_do_not_divide_are_refused():
    model = make_model(make_mesh(MeshConfig(data=1, frames=2), jax.devices()[:2]))
    with pytest.raises(ValueError, match="clips of 3 frames are not divisible by the 2 devices"):
        model(PROMPTS[0], num_frames=3, **OPTIONS)


@pytest.mark.slow  # starts processes, each of which compiles the model
@pytest.mark.parametrize(("processes", "devices", "sizes"), [(2, 2, (1, 2, 2)), (4, 2, (2, 2, 2))])
def test_processes_make_the_same_videos(on_one, tmp_path, processes, devices, sizes):
    run_processes(
        parallel_sampling.__file__,
        [tmp_path / "videos.npz", *sizes],
        tmp_path,
        processes=processes,
        devices=devices,
    )
    with np.load(tmp_path / "videos.npz") as file:
        found = file["frames"]
    assert len(found) == 3
    for one, frames in zip(on_one, found, strict=False):
        assert np.abs(one.frames.astype(int) - frames).max() <= ROUNDING
