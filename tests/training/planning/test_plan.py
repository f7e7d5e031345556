"""Memory and time plans of the smallest model on 8 virtual devices."""

import dataclasses
import importlib.util
import io
import math
import os
import subprocess
import sys
import threading
from typing import Any

import jax
import pytest

from tests.support import micro_model
from videogen_jax import sharding
from videogen_jax.configs import RUNS
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import make_loader
from videogen_jax.models.components import component_shapes
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.planning import plan as planning
from videogen_jax.training.planning import report as plan_report
from videogen_jax.training.planning.hlo import Traffic
from videogen_jax.training.planning.plan import StepPlan, find_batch, plan_step
from videogen_jax.training.planning.topology import Topology
from videogen_jax.training.runs.build import abstract_task, batch_shapes
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig
from videogen_jax.training.telemetry.flops import FlopCount

CPU_8 = Topology("cpu", (8,))
V5P = Topology("v5p", (4, 4, 4))
RUN = RunConfig(
    model=micro_model.MICRO,
    task=CascadeTaskConfig(1, "image_unet"),
    steps=2,
    batch_size=16,
    accumulate=2,
    data=DataConfig(resolution=8, num_frames=2),
    mesh=MeshConfig(data=2, fsdp=4, min_sharded_bytes=1),
)


# The step of an image model without attention on its level compiles in a third of the time.
IMAGE = dataclasses.replace(
    micro_model.MICRO.image,
    unet=dataclasses.replace(micro_model.MICRO.image.unet, attention_levels=(False,)),
)
IMAGE_RUN = dataclasses.replace(
    RUN,
    model=dataclasses.replace(micro_model.MICRO, image=IMAGE),
    task=TextToImageTaskConfig(),
)


@pytest.fixture(scope="module")
def plan() -> StepPlan:
    return plan_step(IMAGE_RUN, CPU_8)


# Memory and FLOPs of a step


def by_hand(tree: Any, fsdp: int = 4) -> float:
    """Returns bytes per device: tensors with an axis that `fsdp` divides are split by it."""
    return sum(
        4 * math.prod(x.shape) / (fsdp if any(n % fsdp == 0 for n in x.shape) else 1)
        for x in jax.tree.leaves(tree)
    )


def test_bytes_of_a_device_are_those_of_its_share(plan: StepPlan):
    shapes = component_shapes(IMAGE_RUN.model, "image_unet", "text_encoder", "autoencoder")
    params = by_hand(shapes["image_unet"])
    assert plan.arguments["parameters"] == plan.arguments["average (EMA)"] == params
    counts = 2 * 4  # int32 counters of Adam and of the schedule
    assert plan.arguments["optimizer state"] == 2 * params + counts
    # Frozen networks are split by the run's default, which does not split tensors below 1 MiB.
    frozen = (shapes["text_encoder"], shapes["autoencoder"])
    assert plan.arguments["frozen networks"] == by_hand(frozen, fsdp=1)
    tokens = micro_model.MICRO.text_encoder.max_length
    assert plan.arguments["batch"] == 16 / 8 * (2 * 8 * 8 * 3 + 4 + 4 + 4 * tokens)


def test_what_is_between_comes_on_top(plan: StepPlan):
    assert plan.peak > sum(plan.arguments.values())
    assert plan.fits and plan.total == plan.peak


def test_micro_batches_count_as_often_as_they_run(plan: StepPlan):
    task = abstract_task(IMAGE_RUN)
    params = jax.eval_shape(task.init, jax.random.key(0))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), RUN.batch_size))
    one = planning.count_flops(
        jax.make_jaxpr(jax.grad(lambda *a: task.loss(*a)[0]))(
            params, task.frozen, batch_shapes(IMAGE_RUN), keys
        ).jaxpr
    )
    assert plan.flops.total == pytest.approx(one.total)
    assert plan.frames == RUN.batch_size * RUN.data.num_frames


def test_parameters_are_gathered_and_gradients_reduced(plan: StepPlan):
    """Every split parameter is gathered at least once in each of two micro-batches."""
    whole = by_hand(component_shapes(IMAGE_RUN.model, "image_unet"), fsdp=1)
    assert plan.traffic["all-gather"].sent > 0.5 * whole * 3 / 4
    assert plan.traffic["all-reduce"].sent > 0.5 * whole


def test_a_mesh_or_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="does not multiply to the 8 devices"):
        plan_step(dataclasses.replace(RUN, mesh=MeshConfig(3, 4)), CPU_8)
    with pytest.raises(ValueError, match="batch of 12 .* not divisible by the 8 devices"):
        plan_step(dataclasses.replace(RUN, batch_size=12), CPU_8)
    with pytest.raises(ValueError, match="micro-batches of 4 is not divisible by the 8 devices"):
        plan_step(dataclasses.replace(RUN, batch_size=16, accumulate=4), CPU_8)
    with pytest.raises(ValueError, match="clips of 2 frames are not divisible by the 8"):
        plan_step(dataclasses.replace(RUN, mesh=MeshConfig(1, 1, 8)), CPU_8)


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("tiny-")])
def test_a_planned_batch_is_what_the_loader_gives(name: str):
    config = RUNS[name]
    source = make_source(config, "train", 4)
    length = config.model.text_encoder.max_length
    batch = next(make_loader(source, 2, 0, micro_model.TOKENIZER, length))
    planned = batch_shapes(dataclasses.replace(config, batch_size=2))
    assert {k: (v.shape, v.dtype) for k, v in planned.items()} == {
        k: (v.shape, v.dtype) for k, v in batch.items()
    }


def test_a_plan_from_a_latent_cache_needs_no_text_encoder_and_autoencoder():
    cached = dataclasses.replace(RUN, data=dataclasses.replace(RUN.data, latent_cache="cache"))
    frozen = abstract_task(cached).frozen
    assert frozen.keys() == {"null_text"}
    batch, clip = batch_shapes(cached), (16, 2, 4, 4, 4)
    assert batch["latents_8"].shape == batch["latents_std_8"].shape == clip
    assert batch["text_states"].shape == (16, *frozen["null_text"]["text_states"].shape)
    with pytest.raises(ValueError, match="a run of VideoDecoder trains on pixels"):
        batch_shapes(dataclasses.replace(cached, task=VideoDecoderTaskConfig()))


# Reports


def planned(batch: int, peak: float | None, **fields: Any) -> StepPlan:
    arguments = {"parameters": 1.0}
    flops = FlopCount(64e12, 0.0)
    return StepPlan(V5P, {"fsdp": 64}, batch, batch, arguments, flops, 1.0, peak, **fields)


def test_a_refusal_of_the_compiler_says_how_much_was_needed():
    message = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory "
        "required for HLO temporaries (1.16T) exceeds available HBM (95.73G)."
    )
    needed = planning._needed(jax.errors.JaxRuntimeError(message))
    assert needed == 1.16 * 2**40
    refused = planned(64, None, needed=needed)
    assert not refused.fits
    assert plan_report.verdict(refused).startswith("does not fit: needs 1187.84 GiB of 95.73 GiB")


def test_other_errors_of_the_compiler_stay_errors():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        planning._needed(jax.errors.JaxRuntimeError("INTERNAL: something else"))


def test_a_report_says_that_nothing_ran_and_what_the_floor_assumes(plan: StepPlan):
    text = plan_report.describe(plan)
    for part in ("mesh data=2 fsdp=4 frames=1", "batch 16 (32 frames)", "nothing has run"):
        assert part in text
    assert "a step takes at least" not in text  # the peak of a CPU is unknown
    traffic = {"all-gather": Traffic(3, 1.2e12)}
    text = plan_report.describe(planned(64, 2.0**30, traffic=traffic, accessed=2765e9))
    assert "a step takes at least 2.0000 s (assumed peaks: cloud.google.com" in text
    assert "0.0022 s  at 459 TFLOP/s" in text and "1.0000 s  at 2765 GB/s" in text


def test_a_program_that_cannot_be_read_back_still_has_its_memory(monkeypatch: pytest.MonkeyPatch):
    class Compiled:
        def memory_analysis(self) -> Any:
            return jax.jit(lambda x: x + 1).lower(1.0).compile().memory_analysis()

        def cost_analysis(self) -> dict[str, float]:
            return {"bytes accessed": 8.0}

        def as_text(self) -> str:
            raise jax.errors.JaxRuntimeError("INTERNAL: async-update sees 3\nstack")

    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    measures = planning._measures(Compiled(), mesh)
    assert measures["peak"] > 0 and measures["unread"] == "INTERNAL: async-update sees 3"
    text = plan_report.describe(planned(64, 2.0**30, unread=measures["unread"]))
    assert "not known, jaxlib cannot read the program (INTERNAL: async-update sees 3)" in text


def test_a_line_moves_while_something_works(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan_report, "_QUIET_SECONDS", 0.01)
    written = threading.Event()

    class Stream(io.StringIO):
        def flush(self) -> None:
            written.set()

    stream = Stream()
    with plan_report.ticking("compiling", stream):
        assert written.wait(60)
    assert stream.getvalue().startswith("compiling: 0 s\n")


# The largest batch


@pytest.mark.parametrize("own", [1, 4, 64])
@pytest.mark.parametrize("largest", [1, 2, 3, 7, 40])
def test_the_largest_batch_is_found(monkeypatch: pytest.MonkeyPatch, largest: int, own: int):
    limit, compiled = V5P.chip.hbm_bytes, []

    def plan(config: RunConfig, _: Topology) -> StepPlan:
        clips = config.batch_size // 64
        compiled.append(clips)
        peak = limit * (0.1 + 0.9 * clips / (largest + 0.5))
        fits = clips <= largest
        return planned(config.batch_size, peak if fits else None, needed=peak)

    monkeypatch.setattr(planning, "absent_devices", lambda _: [None] * 64)
    monkeypatch.setattr(
        sharding, "make_mesh", lambda *_: jax.sharding.AbstractMesh((1, 64), ("data", "fsdp"))
    )
    config = dataclasses.replace(RUN, accumulate=1, batch_size=64 * own, mesh=MeshConfig(1, 64))
    best, refused = find_batch(config, V5P, max_compilations=8, plan=plan)
    assert best is not None and refused is not None
    assert (best.batch_size, refused.batch_size) == (64 * largest, 64 * (largest + 1))
    assert len(compiled) == len(set(compiled)) <= 6


def test_a_search_ends_after_the_allowed_compilations(monkeypatch: pytest.MonkeyPatch):
    compiled = []

    def plan(config: RunConfig, _: Topology) -> StepPlan:
        compiled.append(config.batch_size)
        return planned(config.batch_size, 1.0)

    monkeypatch.setattr(planning, "absent_devices", lambda _: jax.devices())
    config = dataclasses.replace(RUN, accumulate=3, batch_size=72)
    best, refused = find_batch(config, V5P, max_compilations=3, plan=plan)
    assert best is not None and refused is None
    assert len(compiled) == 3 and compiled[0] == 72
    assert all(batch % 24 == 0 for batch in compiled)  # eight devices with three micro-batches each
    assert plan_report.found(best, refused).endswith("(not reached)")


def test_a_search_needs_to_know_the_memory():
    with pytest.raises(ValueError, match="memory of cpu is not known"):
        find_batch(RUN, CPU_8)


# The script


def run_plan(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train.plan", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )


def test_the_script_reports_an_error_in_one_line():
    result = run_plan("tiny-stage-1", "--topology", "v9:2x2")
    assert result.returncode == 1
    assert result.stderr.startswith("error: --topology 'v9:2x2': unknown chip 'v9'")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_a_stage_compiles_for_an_absent_tpu_slice():
    result = run_plan(
        "tiny-stage-1", "--topology", "v5e:2x4", "--mesh.data", "1", "--mesh.fsdp", "8"
    )
    assert result.returncode == 0, result.stderr
    assert "8 × TPU v5 lite (v5e:2x4)" in result.stdout
    assert "of 15.75 GiB" in result.stdout
    assert "a step takes at least" in result.stdout
