"""The table of docs/data.md with the line of ingest for each run that trains on clips."""

from pathlib import Path

from videogen_jax.configs import RUNS
from videogen_jax.data.clips.files.clip_config import ClipConfig

DOCS = Path(__file__).parents[3] / "docs" / "data.md"


def test_the_line_for_a_run_makes_clips_of_its_size():
    """Of every run of `paper` and `small` that reads more than one frame."""
    text = DOCS.read_text(encoding="utf-8").split("### Sizes for the presets")[1]
    table = text.split("### ")[0]
    rows = [row.split("|")[1:-1] for row in table.splitlines() if "| `--short-side" in row]
    found = {}
    for runs, options in rows:
        words = options.strip(" `").split()
        values = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        clip = ClipConfig(values["--short-side"], min_side=values["--min-side"])
        assert clip.short_side == clip.min_side
        found |= {name.strip(" `"): clip.short_side for name in runs.split(",")}
    expected = {
        name: run.data.resolution
        for name, run in RUNS.items()
        if name.startswith(("paper-", "small-")) and run.data.num_frames > 1
    }
    assert found == expected
