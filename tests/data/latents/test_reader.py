"""The latent cache's files: exact round trips, and complete shards written by any process."""

import dataclasses
import json
import pickle
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.latent_windows import (
    BATCH,
    CLIPS,
    ENCODERS,
    EPOCHS,
    FRAMES,
    LAYOUT,
    Windows,
    contents,
    expected,
    flows_of,
    latents_of,
    text_of,
    tokens_of,
    write,
)
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.data.latents.shards import Encoders, write_info, write_shards
from videogen_jax.data.loader import make_loader


def test_every_window_comes_out_again_with_its_text(cache: Path):
    source = LatentCache(cache)
    assert len(source) == CLIPS
    for index in range(CLIPS):
        for epoch in range(EPOCHS):
            found = source.at(index, epoch)
            assert all(found[name].dtype == np.float32 for name in found if name != "index")
            for name, value in expected(index, epoch).items():
                np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
            assert found.keys() == expected(index, epoch).keys()
    with pytest.raises(IndexError):
        source[CLIPS]


def test_after_the_last_epoch_that_is_cached_comes_the_first(cache: Path):
    source = LatentCache(cache)
    np.testing.assert_array_equal(source.at(5, 4)["latents_16"], source.at(5, 0)["latents_16"])
    assert (source.at(5, 1)["latents_16"] != source.at(5, 0)["latents_16"]).any()


def test_texts_are_stored_once_and_the_empty_prompt_first(cache: Path):
    """The captions of the first shard's windows are "", "one", "clip 1" and "clip 2"."""
    folder = next(iter(sorted(cache.glob("shard-*"))))
    assert len(np.load(folder / "text_states.npy")) == 4
    source = LatentCache(cache)
    for shard in range(LAYOUT.num_shards):
        np.testing.assert_allclose(
            source.text(shard)["text_states"], text_of(tokens_of([""]))[0][0]
        )


def test_only_what_is_requested_is_read(cache: Path):
    source = LatentCache(cache, [8], deviation=False, text=False)
    assert source[0].keys() == {"index", "fps", "latents_8"}
    with pytest.raises(ValueError, match="has latents at 8, 16 pixels, none at 32"):
        LatentCache(cache, [8, 32])


def test_it_feeds_the_loader_in_epochs_and_from_threads_and_pickled(cache: Path):
    source = pickle.loads(pickle.dumps(LatentCache(cache)))
    batches = make_loader(source, CLIPS, seed=0)
    for epoch in range(3):
        batch = next(batches)
        assert batch["latents_std_8"].shape == (CLIPS, FRAMES, 1, 1, 3)
        for place, number in enumerate(batch["index"] - 100):
            want = expected(number, epoch % EPOCHS)
            np.testing.assert_allclose(batch["latents_16"][place], want["latents_16"], rtol=1e-6)


def test_float16_is_half_as_large_and_rounded(cache: Path, tmp_path: Path):
    layout = dataclasses.replace(LAYOUT, dtype="float16")
    half = LatentCache(write(tmp_path / "half", layout))
    full = LatentCache(cache)
    assert half.info["bytes"] < 0.6 * full.info["bytes"]
    for name, value in full.at(7, 1).items():
        np.testing.assert_allclose(half.at(7, 1)[name], value, rtol=2**-11, err_msg=name)
        assert half.at(7, 1)[name].dtype == value.dtype


def test_the_reported_bytes_are_those_of_the_values(cache: Path):
    sizes = [np.load(path).nbytes for path in cache.rglob("*.npy")]
    assert LatentCache(cache).info["bytes"] == sum(sizes)


@pytest.mark.parametrize("threads", [0, 3])
def test_a_cache_killed_at_random_moments_ends_with_the_same_bytes(
    cache: Path, tmp_path: Path, threads: int
):
    """A kill leaves the folder that was being written; an exception removes it."""
    rng, kills, out = random.Random(5 + threads), 0, tmp_path / "cache"
    finished: set[str] = set()

    class Killed(BaseException):
        pass

    def dying(function: Any) -> Any:
        def call(values: Any) -> Any:
            if rng.random() < 0.3:
                leftover = next(out.glob(".shard-*"))
                shutil.copytree(leftover, out / f"{leftover.name}.killed")
                raise Killed
            return function(values)

        return call

    encoders = Encoders(dying(latents_of), tokens_of, dying(text_of), BATCH, dying(flows_of))
    out.mkdir()
    while True:
        try:
            write(out, encoders=encoders, threads=threads)
            break
        except Killed:
            kills += 1
            with pytest.raises(FileNotFoundError, match="no latent cache there"):
                LatentCache(out)
            assert finished <= {path.name for path in out.glob("shard-*")}
            finished = {path.name for path in out.glob("shard-*")}
    assert kills > 2
    assert contents(out) == contents(cache)


def test_two_processes_share_the_shards(cache: Path, tmp_path: Path):
    """Both write their shares at the same time; one of them resumes an earlier start."""
    out = tmp_path / "cache"

    def process(number: int) -> None:
        shards = range(number, LAYOUT.num_shards, 2)
        write_shards(out, LAYOUT, Windows(), ENCODERS, shards, quiet=True)

    process(1)
    shutil.rmtree(next(iter(sorted(out.glob("shard-*")))))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(process, range(2)))
    write_info(out, LAYOUT, {})
    assert contents(out) == contents(cache)


def test_an_existing_shard_is_not_written_again(cache: Path, tmp_path: Path):
    out = tmp_path / "cache"
    shutil.copytree(cache, out)
    write_shards(
        out, LAYOUT, Windows(), Encoders(None, tokens_of, None, BATCH), range(3), quiet=True
    )
    assert contents(out) == contents(cache)


def test_values_that_do_not_fit_the_type_are_refused(tmp_path: Path):
    layout = dataclasses.replace(LAYOUT, dtype="float16")
    large = lambda video: {size: 1e5 * moments for size, moments in latents_of(video).items()}
    message = "shard-00000-of-00003: latents at 16 pixels are not finite in float16"
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "cache", layout, Encoders(large, tokens_of, text_of, BATCH, flows_of))
    assert contents(tmp_path / "cache") == {}
    large = lambda video: np.float32(1e5) + flows_of(video)
    with pytest.raises(ValueError, match="shard-00000-of-00003: flows are not finite in float16"):
        write(tmp_path / "cache", layout, Encoders(latents_of, tokens_of, text_of, BATCH, large))


def test_what_cannot_be_read(cache: Path, tmp_path: Path):
    def damaged(name: str) -> Path:
        out = tmp_path / name
        shutil.copytree(cache, out)
        return out

    with pytest.raises(FileNotFoundError, match="nowhere: no latent cache there"):
        LatentCache(tmp_path / "nowhere")
    out = damaged("cut")
    file = out / LAYOUT.shard_name(1) / "latents_16.npy"
    opened, size = LatentCache(out), file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"latents_16.npy is damaged: has {size - 1} bytes, exp"):
        LatentCache(out)
    assert len(LatentCache(out, [8])) == CLIPS  # does not need that file
    with pytest.raises(ValueError, match="latents_16.npy is damaged: it was cut off"):
        opened.at(7, 1)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="latents_16.npy of the latent cache is missing"):
        LatentCache(out)
    out = damaged("unfinished")
    (out / "info.json").rename(out / "cache.json")
    with pytest.raises(ValueError, match="not finished; run the same"):
        LatentCache(out)
    out = damaged("description")
    info = json.loads((out / "info.json").read_text())
    for text in ("no json", "[]", json.dumps({**info, "texts": [1]})):
        (out / "info.json").write_text(text)
        with pytest.raises(ValueError, match=r"info.json: not "):
            LatentCache(out)


def read_all(directory: Path) -> None:
    source = LatentCache(directory)
    for index in range(CLIPS):
        for epoch in range(EPOCHS):
            source.at(index, epoch)
            for frame in range(1, FRAMES - 1):
                source.flows(index, epoch, frame)


@pytest.mark.parametrize(
    "name",
    ["windows", "latents_16", "latents_8", "flows", "text_states", "text_pooled", "checksums"],
)
def test_every_changed_value_is_found_when_it_is_read(cache: Path, tmp_path: Path, name: str):
    out = tmp_path / "cache"
    shutil.copytree(cache, out)
    (path,) = (out / LAYOUT.shard_name(1)).glob(f"{name}.np?")
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1 if path.suffix == ".npy" else 0  # is computed, not read
    for place in np.linspace(header, len(whole) - 1, 8, dtype=int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            read_all(out)
    path.write_bytes(whole)
    read_all(out)


def test_shards_that_change_places_are_found(cache: Path, tmp_path: Path):
    out = tmp_path / "cache"
    layout = dataclasses.replace(LAYOUT, clips=6, clips_per_shard=3)
    write(out, layout)
    texts = json.loads((out / "info.json").read_text())["texts"]
    assert texts[0] == texts[1]  # the files have the same sizes
    first, second = (out / layout.shard_name(shard) for shard in range(2))
    first.rename(out / "other")
    second.rename(first)
    (out / "other").rename(second)
    with pytest.raises(ValueError, match="checksums.npz is damaged, or of another shard"):
        LatentCache(out)


def test_a_cache_of_an_earlier_version_is_read_with_a_line(cache: Path, tmp_path: Path, caplog):
    out = tmp_path / "cache"
    shutil.copytree(cache, out)
    for path in out.rglob("checksums.npz"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="checksums.npz of the latent cache is missing"):
        LatentCache(out)
    info = json.loads((out / "info.json").read_text())
    del info["checksums"]
    (out / "info.json").write_text(json.dumps(info))
    read_all(out)
    (line,) = caplog.messages
    assert "has no checksums" in line
    write_info(out, LAYOUT, {})  # as if a later version finished it
    read_all(out)
    assert caplog.messages == [line, line]


def test_a_cache_of_the_old_version_is_refused(tmp_path: Path):
    np.save(tmp_path / "latents_64.npy", np.zeros((2, 1, 8, 8, 4), np.float16))
    (tmp_path / "captions.json").write_text("[]")
    with pytest.raises(ValueError, match="a latent cache of an old version"):
        LatentCache(tmp_path)
