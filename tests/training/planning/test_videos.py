"""Plans of a call of the model, compared with the programs that a real call compiles."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import pytest

from tests.support import micro_model
from tests.support.parallel_sampling import CONFIG, OPTIONS, PROMPTS, make_model
from videogen_jax import UserError, VideoGen
from videogen_jax.commands.sample import plan as plan_command
from videogen_jax.configs.paper import PAPER
from videogen_jax.pipeline import placement
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import Request, make_request
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.planning.plan import bytes_per_device, peak_bytes
from videogen_jax.training.planning.topology import Topology
from videogen_jax.training.planning.video_report import describe_search, describe_video
from videogen_jax.training.planning.videos import (
    ProgramPlan,
    VideoPlan,
    least_bytes,
    plan_video,
    shapes_up_to,
    smallest_mesh,
)
from videogen_jax.training.telemetry.flops import FlopCount

CPU_8 = Topology("cpu", (8,))
SIZES = (1, 2, 4)
SHORT: Any = {"stages": 1, "decoder": "image"}  # the fewest programs


def request(**options: Any) -> Request:
    return make_request(CONFIG, PROMPTS[:1], **{"seed": 4, **SHORT, **options})


@pytest.fixture(scope="module")
def split() -> Iterator[None]:
    """Splits small tensors too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "RULES", MeshConfig(min_sharded_bytes=1))
        yield


@pytest.fixture(scope="module")
def model(split: None) -> VideoGen:
    return make_model(make_mesh(MeshConfig(*SIZES)))


@pytest.fixture(scope="module")
def plan(split: None) -> VideoPlan:
    return plan_video(CONFIG, request(), CPU_8, MeshConfig(*SIZES), own_reference=True)


class Recorded:
    """A compiled function that keeps the arguments of its last call."""

    def __init__(self, function: Any):
        self._function, self.lowered = function, None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.lowered = self._function.lower(*args, **kwargs)
        return self._function(*args, **kwargs)


def test_a_plan_has_the_programs_of_a_real_call(plan: VideoPlan, model: VideoGen):
    """Their memory is the same to a byte, so shapes, types and shardings are."""
    cascade: Any = model.cascade  # Any: `Recorded` stands for compiled functions
    decoder: Any = model.decoder
    encode = cascade._encode_text = Recorded(cascade._encode_text)
    condition = cascade._condition = Recorded(cascade._condition)
    step = cascade._stages[0]._take_steps = Recorded(cascade._stages[0]._take_steps)
    decode = decoder._decode["image"] = Recorded(decoder._decode["image"])
    model(PROMPTS[0], **{**OPTIONS, **SHORT})
    names = ["text encoder", "stage 1, conditions", "stage 1, a step", "image decoder, 4 frames"]
    assert [program.name for program in plan.programs] == names
    for program, real in zip(plan.programs, (encode, condition, step, decode), strict=True):
        assert real.lowered is not None, program.name
        needed = peak_bytes(real.lowered.compile(), "cpu")
        assert needed == pytest.approx(program.program, rel=0.01), program.name
    assert [program.runs for program in plan.programs] == [2, 1, 3, 1]
    for name, size in plan.parameters.items():
        placed = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
            model.params[name],
        )
        assert size == bytes_per_device(placed), name


def test_components_that_do_not_compute_are_beside(plan: VideoPlan):
    everything = sum(plan.parameters.values())
    for program in plan.programs:
        assert program.beside == everything - plan.parameters[program.component]
    assert plan.total == max(program.program + program.beside for program in plan.programs)


def test_with_offloading_only_this_and_the_next_turn_are_there(split: None, monkeypatch):
    from videogen_jax.training.planning import videos

    compiled = []
    monkeypatch.setattr(videos, "compile_for", lambda topology, traced: (None, math.nan))
    plan_video(
        CONFIG,
        request(),
        CPU_8,
        MeshConfig(*SIZES),
        offload=True,
        own_reference=True,
        report=compiled.append,
    )
    assert [one.component for one in compiled] == [
        "text_encoder",
        "autoencoder",
        "stage_1",
        "autoencoder",
    ]
    shares = {one.component: one.beside for one in compiled}
    assert 0 == shares["autoencoder"] < shares["stage_1"] < shares["text_encoder"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"guidance": 1.0}, {"stage 1, a step": 3}),
        ({"guidance_interval": (20.0, 30.0)}, {"stage 1, a step": 3}),
        (
            {"guidance_interval": (1.0, 100.0)},
            {"stage 1, a step": 2, "stage 1, an unguided step": 1},
        ),
    ],
)
def test_steps_without_guidance_are_a_program_of_half_the_work(
    split: None, monkeypatch, plan: VideoPlan, options, expected
):
    from videogen_jax.training.planning import videos

    monkeypatch.setattr(videos, "compile_for", lambda topology, traced: (None, math.nan))
    guided = next(one for one in plan.programs if one.name == "stage 1, a step").flops.total
    found = plan_video(
        CONFIG, request(**options), CPU_8, MeshConfig(*SIZES), own_reference=True, only=["stage_1"]
    ).programs
    assert {one.name: one.runs for one in found} == expected
    assert found[-1].flops.total == guided / 2


def test_the_least_bytes_are_those_of_the_parameters(plan: VideoPlan):
    options: Any = {"dtype": "bfloat16", "own_reference": True}
    one = plan_bytes(CONFIG, "text_encoder", "autoencoder", "stage_1") / 2
    assert least_bytes(CONFIG, request(), offload=False, **options) == one
    assert least_bytes(CONFIG, request(), offload=True, **options) == one
    two = make_request(CONFIG, PROMPTS[:1], temporal_sr=0)
    turns = (
        ("text_encoder", "autoencoder", "stage_1"),
        ("autoencoder", "stage_1", "stage_2"),
        ("autoencoder", "stage_2", "video_decoder"),
    )
    largest = max(plan_bytes(CONFIG, *names) / 2 for names in turns)
    assert least_bytes(CONFIG, two, offload=True, **options) == largest


def plan_bytes(config: Any, *names: str) -> float:
    return sum(4 * x.size for x in jax.tree.leaves(micro_model.params(config, *names)))


def test_only_some_components_are_compiled(split: None):
    with pytest.raises(UserError, match="no refiner, expected some of autoencoder, stage_1, text"):
        plan_video(
            CONFIG, request(), CPU_8, MeshConfig(*SIZES), own_reference=True, only=["refiner"]
        )


@pytest.mark.slow  # compiles every program of a call
def test_every_program_of_a_video_compiles():
    whole = make_request(micro_model.MICRO, ["a ring"])
    plan = plan_video(micro_model.MICRO, whole, Topology("cpu", (1,)), MeshConfig())
    assert [program.component for program in plan.programs] == [
        *("text_encoder", "image_unet", "autoencoder", "autoencoder", "stage_1"),
        *("autoencoder", "stage_2", "flow", "refiner", "video_decoder"),
    ]
    assert all(program.accepted and program.flops.total > 0 for program in plan.programs)
    assert plan.fits  # the memory of a CPU is not known


# Reports, and the search for the smallest mesh, without compiling


def fake(topology: Topology, needed: float, accepted: bool = True) -> VideoPlan:
    program = ProgramPlan(
        topology=topology,
        name="stage 3, a step",
        component="stage_3",
        runs=50,
        program=needed,
        beside=2.0**30,
        accepted=accepted,
        flops=FlopCount(1e12),
        accessed=819e9 / 10,
        seconds=1.0,
    )
    return VideoPlan(
        topology, {"data": 1, "fsdp": 1, "frames": 1}, {"stage_3": 2.0**30}, (program,)
    )


def test_the_least_time_is_that_of_the_slower_of_operations_and_memory():
    (program,) = fake(Topology("v5e", (1, 1)), 2.0**30).programs
    assert program.least_seconds == pytest.approx(50 * 0.1)
    fast = dataclasses.replace(program, accessed=None)
    assert fast.least_seconds == pytest.approx(50 * 1e12 / 197e12)


def test_the_report_says_whether_a_call_fits():
    text = describe_video(fake(Topology("v5e", (1, 1)), 2.0**31), "1 prompt")
    assert "stage 3, a step" in text and "3.00 GiB  = 2.00 GiB + 1.00 GiB; 1 TFLOP × 50" in text
    assert text.splitlines()[-1] == "the call fits: needs 3.00 GiB of 15.75 GiB (19%)"
    refused = describe_video(fake(Topology("v5e", (1, 1)), math.nan, accepted=False), "1 prompt")
    assert "does not fit: the compiler rejects it for lack of memory" in refused


def test_the_smallest_mesh_is_the_first_that_fits():
    tried = []

    def plan(topology: Topology) -> VideoPlan:
        tried.append(str(topology))
        return fake(topology, 40 * 2.0**30 / topology.size)

    found, plans = smallest_mesh(Topology("v5e", (4, 4)), 3 * 2.0**30, plan)
    assert str(found) == "v5e:2x2" and tried == ["v5e:1x1", "v5e:2x2"]
    assert describe_search(found, plans).splitlines()[-1] == "smallest mesh that fits: v5e:2x2"
    found, plans = smallest_mesh(Topology("v5e", (1, 1)), 3 * 2.0**30, plan)
    assert found is None and describe_search(None, plans).endswith("none of these fits")
    tried.clear()
    smallest_mesh(Topology("v5e", (2, 2)), 20 * 2.0**30, plan)
    assert tried == ["v5e:2x2"]  # one device has no room for the parameters
    with pytest.raises(UserError, match="the memory of cpu is not known"):
        smallest_mesh(CPU_8, 0, plan)
    assert [str(t) for t in shapes_up_to(Topology("h100", (6,)))] == [
        *("h100:1", "h100:2", "h100:4", "h100:6")
    ]


# The command line


@pytest.fixture
def planned(monkeypatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def plan(config: Any, request: Request, topology: Topology, mesh: Any, **options: Any) -> Any:
        calls.append({"config": config, "request": request, "mesh": mesh, **options})
        return fake(topology, 40 * 2.0**30 / topology.size)

    monkeypatch.setattr(plan_command, "plan_video", plan)
    monkeypatch.setattr(plan_command, "prepare", lambda topology: None)
    monkeypatch.setattr(plan_command, "least_bytes", lambda *args, **options: 22e9)
    return calls


def call(*arguments: str) -> None:
    plan_command.call("plan", list(arguments))


def test_frames_and_size_are_those_of_the_video(planned, capfd):
    call("paper", "--topology", "v5e:2x2", "--frames", "121", "--size", "512x768", "--offload")
    (seen,) = planned
    assert seen["config"] is PAPER and seen["offload"]
    assert (seen["request"].rounds, seen["request"].sizes[-1]) == (3, (512, 768))
    assert seen["request"].options == VideoOptions(temporal_sr=3, height=512, width=768)
    printed = capfd.readouterr().out
    assert "1 prompt, 121 frames of 768x512, float32, offloaded" in printed


def test_the_command_finds_a_mesh(planned, capfd):
    call("paper", "--topology", "v5e:4x4", "--find-mesh")
    assert len(planned) == 1  # 22 GB of parameters alone are too many for one chip
    assert "smallest mesh that fits: v5e:2x2" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paper", "--topology", "v9:1"], "--topology 'v9:1': unknown chip 'v9'"),
        (["paper", "--topology", "h100:1", "--frames", "100"], "expected 16, 31, 61, 121, 241"),
        (["paper", "--topology", "h100:1", "--size", "512"], "--size '512': expected height and"),
        (["paper", "--topology", "h100:1", "--size", "500x512"], "height is 500"),
        (["paper", "--topology", "h100:1", "--prompts", "0"], "prompts is 0"),
        (["papers", "--topology", "h100:1"], "no model 'papers'"),
    ],
)
def test_bad_input_is_one_line(planned, capfd, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert stopped.value.code == 1 and not planned
    assert message in capfd.readouterr().err
