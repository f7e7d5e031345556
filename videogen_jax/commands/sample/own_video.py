"""What the commands on one's own video share: the input, its checks, writing the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import tyro

from videogen_jax.media.output import check_format, check_name, check_output, save_sheet, sheet_path
from videogen_jax.pipeline.own_video.stream import FrameStream

_COLUMNS = 4  # of a contact sheet: frames may be wide

InputVideo: TypeAlias = Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO", help_behavior_hint="")
]


def check_outputs(out: Path, video: Path, fps: float) -> None:
    """Raises UserError if `out` or its contact sheet cannot be written, before the work begins."""
    check_name(out)
    check_format(out, fps)
    check_output(out, [video])
    check_output(sheet_path(out, [video]), [video])


def save(result: FrameStream, out: Path, inputs: Sequence[Path]) -> None:
    """Makes and writes the result and its contact sheet, in place of none of the inputs."""
    result.save(out)
    sheet = sheet_path(out, inputs)  # again, because a file may have come in the meantime
    save_sheet(sheet, result.preview().contact_sheet(columns=_COLUMNS), out)
    print(f"{out} and {sheet}: {result!r}")
