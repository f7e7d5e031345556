"""Videos of a file of prompts, into a folder, in batches that processes share."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.json_text import parse_json
from videogen_jax.media.references import Reference
from videogen_jax.media.video import Video
from videogen_jax.media.video_folder import VideoFolder
from videogen_jax.pipeline.requests.checks import check_count
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import MAX_SEED
from videogen_jax.text_files import read_text

_NAME = re.compile(r"\w[\w.-]{0,99}")
_FIELDS = {"prompt": str, "id": str, "seed": int, "negative_prompt": str}


class Model(Protocol):
    """`VideoGen`, as far as it is used here."""

    def __call__(
        self,
        prompt: list[str],
        *,
        reference: Reference | None,
        options: VideoOptions,
        progress: bool,
    ) -> list[Video]: ...


@dataclasses.dataclass(frozen=True)
class PromptLine:
    """A line of a file of prompts; its video is that of the prompt alone with its seed."""

    index: int  # from 0
    id: str  # name of the video's file, without suffix
    prompt: str
    seed: int
    negative_prompt: str

    def entry(self, suffix: str) -> dict[str, Any]:
        """Returns the line of the manifest."""
        entry = dataclasses.asdict(self)
        return {**entry, "file": f"{self.id}{suffix}"}


def read_prompts(path: Path, seed: int = 0, negative_prompt: str = "") -> list[PromptLine]:
    """Reads a file of prompts.

    Args:
        path: a `.txt` with a prompt in each line, or a `.jsonl` with
            `{"prompt": "a ring", "id": "ring-1", "seed": 7, "negative_prompt": "blue"}` in each
            line, where all but "prompt" may be left out.
        seed: seed of the first line; that of line n is n higher unless the line has its own.
        negative_prompt: that of lines without their own.

    Raises:
        MissingFile: there is no such file.
        UserError: the suffix is another one, or a line is empty, is not as above, or has the id of
            another line; names the file and the line.
    """
    if path.suffix not in (".txt", ".jsonl"):
        raise UserError(f"{path}: expected a file of prompts, .txt or .jsonl")
    if not path.is_file():
        raise MissingFile(f"no file of prompts {path}")
    check_count("seed", seed, 0, MAX_SEED)
    lines, first = [], {}
    for index, text in enumerate(read_text(path).removesuffix("\n").split("\n")):
        where = f"{path}, line {index + 1}"
        if not text.strip():
            raise UserError(f"{where}: it is empty, expected a prompt")
        fields = _fields(text, where) if path.suffix == ".jsonl" else {"prompt": text.strip()}
        own_seed = check_count(f"{where}: seed", fields.get("seed", 0), 0, MAX_SEED)
        line = PromptLine(
            index=index,
            id=fields.get("id", f"{index:05d}"),
            prompt=fields["prompt"],
            seed=own_seed if "seed" in fields else (seed + index) % (MAX_SEED + 1),
            negative_prompt=fields.get("negative_prompt", negative_prompt),
        )
        # Some file systems have one file for names that differ in case only.
        if (other := first.setdefault(line.id.casefold(), index)) != index:
            raise UserError(f"{where}: the id {line.id!r} is that of line {other + 1} already")
        lines.append(line)
    return lines


def sample_prompts(
    load: Callable[[], Model],
    lines: Sequence[PromptLine],
    folder: VideoFolder,
    options: VideoOptions,
    *,
    batch_size: int = 1,
    suffix: str = ".mp4",
    reference: Reference | None = None,
    together: bool = False,
    progress: bool = False,
) -> Iterator[dict[str, Any]]:
    """Makes the videos that a folder does not have yet; yields the manifest's line of each.

    Batches always have the same lines, so that a run that was interrupted makes the same videos,
    bit for bit. Of several processes, each makes every n-th batch that is missing.

    Args:
        load: returns the model; called if a video is missing.
        lines: the prompts.
        folder: receives a video as soon as its batch is done.
        options: options of all videos, but for the seeds and negative prompts.
        batch_size: lines that are sampled together; the last batch is filled up with its last line.
        suffix: the format, as of `Video.save`.
        reference: reference image of all videos.
        together: whether all processes make each batch together, for a mesh over all of them; only
            process 0 writes.
        progress: whether to show progress bars.

    Raises:
        UserError: the folder has another prompt or seed for a line.
        MissingFile: as for a call of the model.
    """
    check_count("batch_size", batch_size, 1)
    done = _done(lines, folder, suffix)
    batches = [lines[i : i + batch_size] for i in range(0, len(lines), batch_size)]
    missing = [any(line.index not in done for line in batch) for batch in batches]
    if jax.process_count() > 1:  # processes may have looked at different times
        missing = multihost_utils.broadcast_one_to_all(np.array(missing)).tolist()
    todo = [batch for batch, is_missing in zip(batches, missing, strict=True) if is_missing]
    own = todo if together else todo[jax.process_index() :: jax.process_count()]
    writes = not together or jax.process_index() == 0
    model = functools.cache(load)
    for batch in own:
        filled = [*batch, *[batch[-1]] * (batch_size - len(batch))]
        changed = dataclasses.replace(
            options,
            seed=tuple(line.seed for line in filled),
            negative_prompt=tuple(line.negative_prompt for line in filled),
        )
        prompts = [line.prompt for line in filled]
        videos = model()(prompts, reference=reference, options=changed, progress=progress)
        for line, video in zip(batch, videos, strict=False):
            if writes and line.index not in done:
                entry = line.entry(suffix)
                folder.add(entry, video)
                yield entry
    if writes:
        folder.close()


def _done(lines: Sequence[PromptLine], folder: VideoFolder, suffix: str) -> set[int]:
    """Returns the indices of the lines whose videos exist."""
    done = set()
    for index, entry in folder.entries().items():
        expected = lines[index].entry(suffix) if index < len(lines) else {}
        for key, value in expected.items():
            if entry.get(key) != value:
                raise UserError(
                    f"{folder.path} has line {index + 1} with {key} {entry.get(key)!r}, not "
                    f"{value!r}; give a new folder"
                )
        done.add(index)
    return done


def _fields(text: str, where: str) -> Mapping[str, Any]:
    try:
        fields = parse_json(text)
    except ValueError as error:
        raise UserError(f"{where}: it is not JSON: {error}") from error
    if not isinstance(fields, dict) or "prompt" not in fields:
        raise UserError(f'{where}: expected an object with "prompt"')
    for key, value in fields.items():
        if key not in _FIELDS:
            raise UserError(f"{where}: unknown key {key!r}, expected one of {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[key]) or isinstance(value, bool):
            raise UserError(f"{where}: {key} is {value!r}, expected {_FIELDS[key].__name__}")
    if not fields["prompt"].strip():
        raise UserError(f"{where}: the prompt is empty")
    if "id" in fields and not _NAME.fullmatch(fields["id"]):
        raise UserError(
            f"{where}: id is {fields['id']!r}, expected a file name of letters, digits, '_', '-' "
            "and '.'"
        )
    return fields
