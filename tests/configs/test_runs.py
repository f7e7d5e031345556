"""The run presets: the runs of each model, and that each suits its clips."""

import contextlib
import dataclasses
import functools
import json
import subprocess
import sys

import pytest

from videogen_jax import trees
from videogen_jax.configs import MODELS, RUNS, runs_of
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.models import parameters
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.optim import trainable
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.train import check_micro_batch, with_model_of
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.weights.config_file import load_config, save_config, to_dict

NEWER_FIELDS = ("accumulate", "compute", "optim/freeze", "loop/max_skipped", "task/image_weight")
OF_IMAGES = ["autoencoder", "text-encoder", "image"]
AFTER_STAGES = ["flow", "refiner", "video-decoder"]
ABLATED = ["stage-1-no-reference", "stage-2-no-reference", "refiner-slerp"]


@pytest.mark.parametrize("name", MODELS)
def test_every_part_has_a_run_in_the_order_in_which_parts_need_each_other(name):
    stages = [f"stage-{number}" for number in range(1, len(MODELS[name].stages) + 1)]
    # Stable Diffusion's weights provide the image networks.
    first = OF_IMAGES if name in ("shapes", "tiny") else []
    last = [] if first else ["stage-1-temporal"]
    parts = [run.removeprefix(f"{name}-") for run in RUNS if run.startswith(f"{name}-")]
    ablated = ABLATED if name == "shapes" else []
    assert parts == [*first, *stages, *AFTER_STAGES, *last, *ablated]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_of_the_model_that_its_name_says(name):
    assert RUNS[name].model is MODELS[name.split("-")[0]]


def test_presets_load_without_the_packages_of_training():
    """Conversion needs model sizes and must work with only the packages for sampling."""
    heavy = "optax orbax grain cv2 tensorboardX tyro torch".split()
    assert (
        output_of(f"import videogen_jax.configs; print(*({set(heavy)} & set(sys.modules)))") == ""
    )


def test_nothing_that_presets_import_imports_presets():
    forbid = "sys.modules['videogen_jax.configs'] = None"  # importing it raises an ImportError
    assert output_of(f"{forbid}; import videogen_jax.training.runs.config; print('no')") == "no"


def output_of(code: str) -> str:
    command = [sys.executable, "-c", f"import sys; {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_temporal_training_freezes_what_the_image_model_has():
    """Freezes all of it except the first convolution, which takes the reference as input."""
    model = MODELS["tiny"]

    def shapes(denoiser):
        width = model.text_encoder.hidden_size
        return parameters.shapes(parameters.init_unet, denoiser.unet, width)

    stage, of_image = shapes(model.stages[0]), set(trees.paths(shapes(model.image)))
    freeze = RUNS["small-stage-1-temporal"].optim.freeze
    trained = set(trees.paths(trainable(freeze, stage)))
    new = set(trees.paths(stage)) - of_image
    assert trained == new | {"conv_in/kernel", "conv_in/bias"}


def test_a_run_takes_the_model_of_the_directory_it_trains_for(tmp_path):
    run = RUNS["tiny-stage-1"]
    assert with_model_of(run, tmp_path) == run
    converted = dataclasses.replace(run.model, name="converted", fps=7.0)
    save_config(tmp_path / "config.json", converted)
    of_directory = dataclasses.replace(run, model=converted)
    assert with_model_of(run, tmp_path, agreed=True) == of_directory
    assert with_model_of(of_directory, tmp_path) == of_directory
    changed = dataclasses.replace(run, model=dataclasses.replace(converted, fps=6.0))
    with pytest.raises(ValueError, match=r"differing fields:\n  fps: 7.0 there, 6.0 now$"):
        with_model_of(changed, tmp_path)


@pytest.mark.parametrize(("accumulate", "is_right"), [(1, True), (2, True), (4, False)])
def test_every_device_has_the_same_share_of_a_micro_batch(accumulate, is_right):
    run = dataclasses.replace(RUNS["tiny-stage-1"], batch_size=16, accumulate=accumulate)
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    message = r"batch_size 16 in accumulate = 4 micro-batches of 4 is not divisible by the 8 dev"
    with contextlib.nullcontext() if is_right else pytest.raises(ValueError, match=message):
        check_micro_batch(run, mesh)


def test_accumulate_divides_the_batch():
    with pytest.raises(ValueError, match="accumulate is 3, expected a divisor of batch_size.* 8"):
        dataclasses.replace(RUNS["tiny-stage-1"], accumulate=3)


def test_the_configuration_of_a_run_from_before_a_field_was_there_still_loads(tmp_path):
    """New fields have defaults, so runs started before them can be resumed."""
    run = RUNS["tiny-stage-1"]
    data = to_dict(run)
    for path in NEWER_FIELDS:
        *branches, field = path.split("/")
        del functools.reduce(dict.__getitem__, branches, data)[field]
    (tmp_path / "config.json").write_text(json.dumps(data))
    assert load_config(tmp_path / "config.json", RunConfig) == run


@pytest.mark.parametrize("name", runs_of("cascade"))
def test_a_stages_clips_are_not_enlarged(name):
    run = RUNS[name]
    stage = run.model.stages[run.task.stage - 1]
    assert run.data.resolution >= stage.resolution
    assert run.data.num_frames == run.model.num_frames
    before = f"stage_{run.task.stage - 1}" if run.task.stage > 1 else "image_unet"
    assert run.task.warm_start == before


@pytest.mark.parametrize("name", runs_of("temporal_sr"))
def test_temporal_super_resolution_trains_at_the_last_stages_size(name):
    run = RUNS[name]
    assert run.data.resolution >= run.model.refiner.resolution
    if isinstance(run.task, RefinerTaskConfig):
        assert run.task.warm_start == f"stage_{len(run.model.stages)}"


@pytest.mark.parametrize("name", runs_of("video_decoder"))
def test_degradations_suit_the_size_of_the_clips(name):
    data = RUNS[name].data
    assert data.degrade == DegradeConfig.for_pixels(data.resolution)
