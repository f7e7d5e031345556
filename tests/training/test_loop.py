"""The loop with a toy task: non-finite steps, logs, profiles, and the meter."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.micro_model import counting_compilations
from videogen_jax import sharding
from videogen_jax.data.loader import make_loader
from videogen_jax.kernels.attention import attention
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.config import LoopConfig, OptimConfig
from videogen_jax.training.loop import train
from videogen_jax.training.optim import make_optimizer
from videogen_jax.training.step import StepOptions
from videogen_jax.training.task import Samples
from videogen_jax.training.telemetry.flops import FlopCount
from videogen_jax.training.telemetry.profiler import parse_steps
from videogen_jax.training.telemetry.throughput import Meter, StepCost, count_frames, step_cost

BATCH, FRAMES = 4, 2
CONFIG = LoopConfig(log_every=2, sample_every=4, checkpoint_every=2, max_skipped=3)


class Pixels:
    """A source of one-pixel clips; the batches in `bad` are not finite."""

    def __init__(self, bad=()):
        self.bad = set(bad)

    def __len__(self):
        return 64

    def __getitem__(self, index):
        value = np.nan if index // BATCH in self.bad else 1.0
        return {"video": np.full((FRAMES, 1, 1, 3), value, np.float32)}


class Mean:
    """Learns the mean pixel."""

    frozen = {}

    def init(self, key):
        return {"kernel": jnp.zeros(3), "bias": jnp.zeros(3)}

    def warm_start(self, params):
        return params

    def loss(self, params, frozen, batch, keys_B):
        return jnp.square(batch["video"] - params["kernel"] - params["bias"]).mean(), {}

    def samples(self, params, seed):
        return Samples(np.zeros((3, 5, 2, 2, 3), np.uint8), fps=8.0)


class Attending(Mean):
    """Has attention over the 2 frames of a clip."""

    def loss(self, params, frozen, batch, keys_B):
        video_BTND = batch["video"][:, :, 0]
        return super().loss(params, frozen, {"video": attention(*[video_BTND] * 3)}, keys_B)


class Scaled(Mean):
    """Has a weakly typed parameter, as the text encoder's task has."""

    def init(self, key):
        return super().init(key) | {"scale": jnp.log(2.0)}

    def loss(self, params, frozen, batch, keys_B):
        return super().loss(params, frozen, batch, keys_B)[0] * params["scale"], {}


def run(
    run_dir: Path,
    steps: int,
    bad=(),
    optim=OptimConfig("sgd", 0.1),
    config=CONFIG,
    task=Mean(),
    **arguments,
):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    data = make_loader(Pixels(bad), BATCH, seed=0, shuffle=False)
    options = StepOptions(freeze=optim.freeze, learning_rate=lambda step: 0.1)
    return train(
        task,
        make_optimizer(optim, 100),
        data,
        mesh,
        config,
        run_dir,
        steps=steps,
        seed=0,
        options=options,
        **arguments,
    )


def lines(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("run")
    run(run_dir, 6, bad=(2,), profile=(3, 4))
    return run_dir


def test_a_run_reports_what_a_person_watches(finished: Path):
    logged = lines(finished)
    assert [line["step"] for line in logged] == [2, 4, 6]
    expected = {"grad_norm", "param_norm", "learning_rate", "skipped", "skipped_in_a_row"}
    expected |= {"steps_per_second", "frames_per_second", "tflops_per_second", "goodput"}
    expected |= {f"time_{what}" for what in ("start", "compile", "checkpoint", "samples", "data")}
    for line in logged:
        assert expected <= line.keys() and "mfu" not in line  # the peak of a CPU is unknown
        shares = [value for name, value in line.items() if name.startswith("time_")]
        np.testing.assert_allclose(line["goodput"] + sum(shares), 1.0)
        ratio = line["frames_per_second"] / line["steps_per_second"]
        np.testing.assert_allclose(ratio, BATCH * FRAMES)
    assert logged[0]["time_compile"] > 0 and logged[2]["time_samples"] > 0
    assert [line["skipped"] for line in logged] == [0, 1, 1]
    assert list((finished / "tensorboard").iterdir())
    assert {path.name for path in (finished / "samples").iterdir()} == {
        f"step_0000000{step}.{kind}" for step in (4, 6) for kind in ("png", "mp4")
    }


def test_the_requested_steps_are_profiled(finished: Path):
    (trace,) = (finished / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 0


def test_kernels_costs_and_goodput_are_printed(tmp_path: Path, capsys):
    run(tmp_path / "run", 2, task=Attending())
    out = capsys.readouterr()
    assert "  attention   blocked: 2 × 2 of 3\n" in out.out
    assert "MFU is not reported: the peak of these devices is not known" in out.out + out.err
    assert "run: goodput" in out.out and "compile" in out.out and "data" in out.out


@pytest.mark.parametrize(("steps", "expected"), [(3, [3]), (5, [4, 5]), (8, [4, 8])])
def test_the_last_step_is_logged_also_between_intervals(
    tmp_path: Path, steps: int, expected: list[int]
):
    run(tmp_path, steps, config=replace(CONFIG, log_every=4))
    assert [line["step"] for line in lines(tmp_path)] == expected
    assert all(np.isfinite(line["loss"]) for line in lines(tmp_path))


@pytest.mark.parametrize("log_every", [2, 100])
def test_too_many_skipped_steps_in_a_row_end_the_run_and_spare_its_checkpoint(
    tmp_path: Path, log_every: int
):
    # Batches are bad from the third: the limit of three is reached at step 5 and seen by step 7.
    message = r"not finite in \d steps in a row, up to step [67].*loop.max_skipped is 3"
    with pytest.raises(FloatingPointError, match=message):
        run(tmp_path, 16, bad=range(2, 16), config=replace(CONFIG, log_every=log_every))
    assert max(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == 4
    good = run(tmp_path / "good", 2)
    resumed = run(tmp_path, 4)  # only restores the checkpoint
    assert int(resumed.step) == 4 and int(resumed.skipped) == 2
    np.testing.assert_array_equal(resumed.params["kernel"], good.params["kernel"])


def test_skipped_steps_that_are_few_do_not_end_a_run(tmp_path: Path):
    state = run(tmp_path, 8, bad=(1, 2, 4, 5))
    assert (int(state.skipped), int(state.skipped_in_a_row)) == (4, 0)
    assert np.isfinite(state.params["kernel"]).all()


@pytest.mark.parametrize("name", ["adamw", "adafactor", "lion", "muon", "sgd"])
def test_a_run_with_frozen_parameters_resumes_as_if_uninterrupted(tmp_path: Path, name: str):
    optim = OptimConfig(name, 0.1, warmup_steps=0, freeze=("bias",))
    whole = run(tmp_path / "whole", 4, bad=(1,), optim=optim)
    run(tmp_path / "parts", 2, bad=(1,), optim=optim)
    resumed = run(tmp_path / "parts", 4, bad=(1,), optim=optim)
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    assert int(whole.skipped) == 1 and whole.params["kernel"].all()
    assert not whole.params["bias"].any()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_is_compiled_once(tmp_path: Path, name: str):
    with counting_compilations() as compiled:
        run(tmp_path, 3, optim=OptimConfig(name, 0.1), task=Scaled())
    assert compiled.count("jit(step)") == 1


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_meter_accounts_for_all_time():
    clock = Clock()
    meter = Meter(clock)

    def batches():
        for batch in "ab":
            clock.now += 1.0
            yield batch

    with meter.spend("compile"):
        clock.now += 4.0
    for _ in meter.waiting(batches()):
        clock.now += 2.0
    with pytest.raises(RuntimeError), meter.spend("checkpoint"):
        clock.now += 2.0
        raise RuntimeError
    assert meter.stepping() == 6.0
    expected = {"steps": 4 / 12, "compile": 4 / 12, "data": 2 / 12, "checkpoint": 2 / 12}
    unspent = {"start": 0.0, "samples": 0.0, "validation": 0.0}
    assert meter.shares() == pytest.approx(expected | unspent)
    assert str(meter).startswith("goodput 33.3% of 12.0 s; start 0.0 s, compile 4.0 s")


@dataclass
class Device:
    device_kind: str


def test_mfu_is_of_all_devices_and_none_where_the_peak_is_unknown():
    batch = {"video": np.zeros((2, 3, 1, 1, 3)), "tokens": np.zeros((2, 7))}
    flops = FlopCount(products=275e12)
    known = step_cost(flops, batch, [Device("TPU v4")] * 4)
    assert known.frames == 6
    assert known.rates(2.0) == pytest.approx(
        {
            "steps_per_second": 2.0,
            "frames_per_second": 12.0,
            "tflops_per_second": 550.0,
            "mfu": 0.5,
        }
    )
    unknown = step_cost(flops, batch, [Device("abacus")])
    assert unknown.peak is None and "mfu" not in unknown.rates(2.0)
    assert "MFU is not reported" in str(unknown) and "MFU" not in str(known)
    loop = StepCost(FlopCount(1.0, uncounted=("while",)), 1, 1.0)
    assert "not counted in full: while" in str(loop)


def test_frames_of_clips_latents_and_triplets():
    clip, image = np.zeros((2, 3, 4, 4, 8)), np.zeros((2, 4, 4, 3))
    assert count_frames({"latents_64": clip, "latents_32": clip, "fps": np.zeros(2)}) == 6
    triplet = {name: image for name in ("a", "mid", "b")}
    assert count_frames(triplet | {"flow_a": np.zeros((2, 4, 4, 2))}) == 6


@pytest.mark.parametrize("text", ["", "3", "3:", "0:4", "5:4", "a:b", "1:2:3"])
def test_a_profile_that_is_no_range_of_steps_is_an_error(text):
    with pytest.raises(ValueError, match=r"--profile is .*, expected START:STOP"):
        parse_steps(text)
    assert parse_steps("3:4") == (3, 4)
