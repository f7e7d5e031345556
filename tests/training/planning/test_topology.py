"""Topologies of absent devices, by the names that `train.plan` takes."""

import importlib.util

import pytest

from videogen_jax.training.planning import topology
from videogen_jax.training.planning.topology import Topology, absent_devices, parse_topology

V5P = Topology("v5p", (4, 4, 4))


def test_a_topology_is_a_chip_and_its_number_by_dimension():
    assert parse_topology("v5p:4x4x4") == V5P
    assert V5P.size == 64 and str(V5P) == "v5p:4x4x4"
    assert parse_topology("v5e:4x8").size == 32
    assert parse_topology("h100:8").shape == (8,)


@pytest.mark.parametrize("text", ["v7:2x2", "", "v5litepod:2x2", "gpu:8"])
def test_an_unknown_chip_is_refused_with_those_there_are(text: str):
    with pytest.raises(ValueError, match="unknown chip .*, expected one of v4, v5e, v5p, v6e"):
        parse_topology(text)


@pytest.mark.parametrize(
    "text", ["v5p:4x4", "v5e:4", "v5p", "h100:2x4", "v5e:0x4", "v5e:4x4x", "cpu:"]
)
def test_a_shape_of_other_dimensions_is_refused(text: str):
    with pytest.raises(ValueError, match=r"expected \d numbers? for"):
        parse_topology(text)


def test_every_chip_has_the_figures_that_a_floor_needs():
    for name, chip in topology.CHIPS.items():
        figures = (chip.hbm_bytes, chip.hbm_bandwidth, chip.link_bandwidth, chip.peak)
        assert all(figures) == (name != "cpu")
        assert bool(chip.source) == (name != "cpu")


@pytest.mark.parametrize(
    ("text", "package", "extra"),
    [("v5p:2x2x1", "libtpu", "plan"), ("h100:8", "jax_plugins", "plan-cuda")],
)
def test_a_missing_compiler_is_reported_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, text: str, package: str, extra: str
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    expected = rf'{text}: this needs the package {package}: pip install "videogen-jax\[{extra}\]"'
    with pytest.raises(ValueError, match=expected):
        absent_devices(parse_topology(text))


def test_gpus_beyond_one_machine_are_whole_machines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(topology, "_require", lambda *_: None)
    with pytest.raises(ValueError, match="12 is not a multiple of it"):
        absent_devices(parse_topology("h100:12"))


def test_more_cpus_than_the_process_has_are_refused():
    with pytest.raises(ValueError, match="cpu:9: there are 8 CPU devices"):
        absent_devices(parse_topology("cpu:9"))
