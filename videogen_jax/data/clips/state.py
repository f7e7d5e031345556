"""The output folder of ingestion: configuration, progress and result.

OUT/.lock                 lock of the process that is at work, see `locking.py`
OUT/ingest.json           configuration and digest of the source, written first
OUT/.partial/             list of rows, a summary per shard, progress; removed when finished
OUT/clips-*.arrayrecord   complete shards
OUT/rejected.jsonl        one line per rejected clip
OUT/clip_sizes.npy        frames, fps, height and width of each clip
OUT/clip_checksums.npy    CRC-32 of each record
OUT/dataset_info.json     written last
"""

import json
import logging
import os
import re
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from videogen_jax.atomic import replacing
from videogen_jax.data.clips.clip_checksums import write_checksums
from videogen_jax.data.clips.ingest_config import Begun, changes
from videogen_jax.data.clips.records import INFO_FILE, shard_name, write_sizes
from videogen_jax.errors import UserError
from videogen_jax.json_text import parse_json_of
from videogen_jax.locking import hold_lock

_log = logging.getLogger(__name__)

REJECTED_FILE = "rejected.jsonl"
_POLL_SECONDS = 0.2
_EXAMPLES_IN_ERROR = 3
# What a run leaves without a configuration: the report of one that took no clip, or files of one
# that was killed.
_LEFT_BEHIND = re.compile(rf"\.partial|\.lock|{re.escape(REJECTED_FILE)}|\.ingest\.\w+\.json")


@dataclass(frozen=True)
class IngestFolder:
    """The folder of one dataset; picklable."""

    out: Path

    @property
    def list_file(self) -> Path:
        """The rows of the source, one JSON object per line."""
        return self._partial / "clips.jsonl"

    @property
    def progress_dir(self) -> Path:
        """Folder of a file per worker, with one byte per finished clip."""
        return self._partial / "progress"

    @property
    def _partial(self) -> Path:
        return self.out / ".partial"

    def shard(self, index: int, count: int) -> Path:
        """Returns the path of a shard; the file exists if the shard is finished."""
        return self.out / shard_name(index, count)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder within the block; nothing in it is changed without this lock.

        A folder that is created for the lock is removed again if it is still empty afterwards.

        Raises:
            UserError: the folder has files of something else, or another process is at work in it.
        """
        made = not self.out.exists()
        if not made:
            self._require_own_files()
        try:
            with hold_lock(self.out / ".lock", f"the output folder {self.out}"):
                yield
        finally:
            if made and self.out.is_dir() and not any(self.out.iterdir()):
                self.out.rmdir()

    @contextmanager
    def new_list(self) -> Iterator[BinaryIO]:
        """Opens a new list of rows for writing, which becomes `list_file` after the block.

        If the block raises, the earlier list is unchanged and the new one is removed.
        """
        self._partial.mkdir(parents=True, exist_ok=True)
        temporary = self._partial / f"clips.{uuid.uuid4().hex}.jsonl"
        try:
            with temporary.open("wb") as file:
                yield file
            os.replace(temporary, self.list_file)
        finally:
            temporary.unlink(missing_ok=True)
            if not any(self._partial.iterdir()):
                self._partial.rmdir()

    def begin(self, begun: Begun) -> None:
        """Writes the configuration, or checks that it equals that of an earlier run.

        A run that has not finished a shard yet is replaced.

        Raises:
            UserError: it differs (names the fields), and the folder has shards.
        """
        path = self.out / "ingest.json"
        now = json.loads(json.dumps(asdict(begun)))
        changed = changes(_read(path), now) if path.is_file() else []
        if changed and any(self.out.glob("clips-*.arrayrecord")):
            raise UserError(
                f"{self.out} was begun with other values: {'; '.join(changed)}. "
                "Use them, or the name of a new directory"
            )
        if changed:
            _log.info("%s has no clips yet and begins anew: %s", self.out, "; ".join(changed))
            for file in self._partial.glob("shard-*.json"):
                file.unlink()
        if changed or not path.is_file():
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(now, indent=2) + "\n")

    def finished(self) -> dict[str, Any] | None:
        """Returns the description of the dataset if it is finished, otherwise None."""
        path = self.out / INFO_FILE
        if not path.is_file():
            return None
        shutil.rmtree(self._partial, ignore_errors=True)
        return _read(path)

    @contextmanager
    def progress(self, total: int) -> Iterator[None]:
        """Shows a progress bar of `total` clips, counted over all workers, while the block runs."""
        from tqdm import tqdm

        shutil.rmtree(self.progress_dir, ignore_errors=True)
        self.progress_dir.mkdir()
        done = threading.Event()
        with tqdm(total=total, desc=f"ingesting {self.out.name}", unit="clip") as bar:

            def show() -> None:
                ticks = sum(entry.stat().st_size for entry in os.scandir(self.progress_dir))
                if new := min(ticks, total) - bar.n:  # a retried clip is counted twice
                    bar.update(new)

            def watch() -> None:
                while not done.wait(_POLL_SECONDS):
                    show()

            thread = threading.Thread(target=watch, daemon=True)
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()
                show()

    @contextmanager
    def shard_files(self, index: int, count: int, summary: dict[str, Any]) -> Iterator[Path]:
        """Yields a path to write a shard at, then writes its summary and moves it to its place."""
        # Not the process id: workers on two machines may make the same shard at the same time.
        temporary = self._partial / f"{uuid.uuid4().hex}.arrayrecord"
        try:
            yield temporary
            with replacing(self._summary(index)) as beside:
                beside.write_text(json.dumps(summary))
            os.replace(temporary, self.shard(index, count))
        finally:
            temporary.unlink(missing_ok=True)

    def finish(self, num_shards: int) -> dict[str, Any]:
        """Sums up the shards and writes the report and the description of the dataset.

        Raises:
            UserError: every clip was rejected; gives the reasons. Only the report is kept.
        """
        summaries = [_read(self._summary(i)) for i in range(num_shards)]
        rejected = [row for summary in summaries for row in summary["rejected"]]
        with replacing(self.out / REJECTED_FILE) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rejected))
        num_clips = sum(summary["clips"] for summary in summaries)
        reasons = Counter(row["reason"] for row in rejected)
        if num_clips == 0:
            self._remove_all(num_shards)
            raise UserError(self._nothing_taken(rejected, reasons))
        begun = _read(self.out / "ingest.json")
        info = {
            "num_clips": num_clips,
            "num_frames": sum(summary["frames"] for summary in summaries),
            "seconds": round(sum(summary["seconds"] for summary in summaries), 3),
            "num_captions": sum(summary["captions"] for summary in summaries),
            "fps": dict(sum((Counter(s["fps"]) for s in summaries), Counter())),
            "sizes": dict(sum((Counter(s["sizes"]) for s in summaries), Counter())),
            "rejected": dict(reasons),
            "shard_clips": [summary["clips"] for summary in summaries],
            **begun["config"],
        }
        write_sizes(self.out, (size for s in summaries for size in s["clip_sizes"]))
        if all("checksums" in s for s in summaries):  # not of shards of an earlier version
            write_checksums(self.out, (crc for s in summaries for crc in s["checksums"]))
        with replacing(self.out / INFO_FILE) as temporary:
            temporary.write_text(json.dumps(info, indent=2) + "\n")
        shutil.rmtree(self._partial)
        return info

    def _require_own_files(self) -> None:
        """Raises UserError if the folder has files and none of them is a configuration."""
        names = sorted(os.listdir(self.out))
        unexpected = [name for name in names if not _LEFT_BEHIND.fullmatch(name)]
        if unexpected and "ingest.json" not in names:
            raise UserError(
                f"{self.out} has files that are not of a dataset ({unexpected[0]}); "
                "give the name of a new directory"
            )

    def _summary(self, index: int) -> Path:
        return self._partial / f"shard-{index:05d}.json"

    def _remove_all(self, num_shards: int) -> None:
        """Removes everything but the report; the same command then starts over."""
        (self.out / "ingest.json").unlink()
        for index in range(num_shards):
            self.shard(index, num_shards).unlink()
        shutil.rmtree(self._partial)

    def _nothing_taken(self, rejected: list[dict[str, Any]], reasons: Counter) -> str:
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        examples = "; ".join(
            f"row {row['row']}, {row['file']}: {row['reason']}, {row['detail']}"
            for row in rejected[:_EXAMPLES_IN_ERROR]
        )
        return (
            f"none of the {len(rejected)} clips could be taken ({counts}): {examples}; "
            f"all are in {self.out / REJECTED_FILE}"
        )


def _read(path: Path) -> Any:
    return parse_json_of(str(path), path.read_bytes())
