"""The output of a run for people: numbers, sheets and videos."""

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tensorboardX import record_writer
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import masked_crc32c

from videogen_jax.training.task import Samples
from videogen_jax.training.telemetry.events import tag_of
from videogen_jax.training.telemetry.metrics_writer import MetricsWriter

ROWS, FRAMES, SIDE = 6, 3, 16


def clips() -> np.ndarray:
    """Returns clips: frame f of clip r is uniformly grey, 30 r + 10 f."""
    grey = 30 * np.arange(ROWS)[:, None] + 10 * np.arange(FRAMES)
    return np.broadcast_to(grey[..., None, None, None], (ROWS, FRAMES, SIDE, SIDE, 3)).astype("u1")


def events(run_dir: Path) -> list[Event]:
    """Reads the only TensorBoard file: records of length, its checksum, data and its checksum."""
    (path,) = (run_dir / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        body, data = data[12 : 12 + size], data[16 + size :]
        assert masked_crc32c(body)  # records fill the file exactly
        found.append(Event.FromString(body))
    return found


def test_numbers_go_to_a_line_and_to_tensorboard(tmp_path: Path):
    with MetricsWriter(tmp_path) as writer:
        writer.scalars(7, {"loss": 0.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 7, "loss": 0.5}
    read = [(e.step, v.tag, v.simple_value) for e in events(tmp_path) for v in e.summary.value]
    assert read == [(7, "train/loss", 0.5)]


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("loss", "train/loss"),
        ("steps_per_second", "speed/steps_per_second"),
        ("mfu", "speed/mfu"),
        ("memory_peak_gib", "memory/memory_peak_gib"),
        ("goodput", "time/goodput"),
        ("time_samples", "time/time_samples"),
        ("validation/loss", "validation/loss"),
    ],
)
def test_tags_are_in_groups(name, tag):
    assert tag_of(name) == tag


def test_tensorboard_has_the_configuration_and_captions(tmp_path: Path):
    config = {"model": {"fps": 8.0}, "seed": 3, "optim": {"learning_rate": 0.1}, "fps": [4, 16]}
    with MetricsWriter(tmp_path) as writer:
        (tmp_path / "config.json").write_text(json.dumps(config))  # after the first step
        for step in (1, 2):
            writer.scalars(step, {"loss": 0.5})
        writer.samples(2, Samples(clips(), captions=("a red circle", "a ring")))
    values = [value for event in events(tmp_path) for value in event.summary.value]
    tags = [value.tag for value in values]
    assert tags.count("config/text_summary") == 1
    texts = {value.tag: value.tensor.string_val for value in values if value.tensor.string_val}
    shown = texts["config/text_summary"][0].decode().splitlines()
    assert json.loads("\n".join(line.removeprefix("    ") for line in shown)) == config
    assert texts["samples/captions/text_summary"] == [b"1. a red circle\n2. a ring"]
    (start,) = (v for v in values if v.tag == "_hparams_/session_start_info")
    data = HParamsPluginData.FromString(start.metadata.plugin_data.content)
    fields = data.session_start_info.hparams
    assert {name: value.number_value for name, value in fields.items()} == {
        "seed": 3,
        "optim.learning_rate": 0.1,
    }


def test_clips_become_a_sheet_and_a_video_and_move_in_tensorboard(tmp_path: Path):
    with MetricsWriter(tmp_path) as writer:
        writer.samples(40, Samples(clips(), fps=8.0))
    with Image.open(tmp_path / "samples/step_00000040.png") as sheet:
        rows = np.asarray(sheet).reshape(ROWS, SIDE, FRAMES, SIDE, 3).swapaxes(1, 2)
    np.testing.assert_array_equal(rows, clips())
    with av.open(tmp_path / "samples/step_00000040.mp4") as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        assert file.streams.video[0].average_rate == 8
    assert len(frames) == FRAMES and frames[0].shape == (2 * SIDE, 4 * SIDE, 3)
    for number, frame in enumerate(frames):  # four clips in a row, two in the next
        assert abs(int(frame[8, 24, 0]) - (30 + 10 * number)) < 6
        assert abs(int(frame[24, 8, 0]) - (120 + 10 * number)) < 6
        assert frame[24, 56].max() < 6
    values = {v.tag: v.image for e in events(tmp_path) for v in e.summary.value}
    assert set(values) == {"samples", "videos"}
    with Image.open(io.BytesIO(values["videos"].encoded_image_string)) as moving:
        assert moving.n_frames == FRAMES and moving.info["duration"] in (120, 130)


def test_stills_become_a_sheet_alone(tmp_path: Path):
    with MetricsWriter(tmp_path) as writer:
        writer.samples(2, Samples(clips()))
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step_00000002.png"]


def test_a_full_disk_ends_the_events_with_one_warning(tmp_path: Path, monkeypatch, caplog):
    """Not the run: `metrics.jsonl` has the numbers, and nothing waits for a writer."""
    monkeypatch.setattr(record_writer, "open_file", lambda path: open("/dev/full", "wb"))
    with MetricsWriter(tmp_path) as writer:
        for step in range(50):  # more than the queue of tensorboardX's own writer holds
            writer.scalars(step, {"loss": 0.5})
        writer.samples(50, Samples(clips()))
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 50
    (record,) = caplog.records
    assert "no TensorBoard events from here on" in record.message
    assert "No space left on device" in record.message
