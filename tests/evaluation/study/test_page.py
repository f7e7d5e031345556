"""The page of a study: pairs by name, what it does not reveal, and wrong folders."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.study_page import write_videos
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.study import page
from videogen_jax.evaluation.study.page import QUESTIONS, write_study
from videogen_jax.evaluation.study.pairs import make_pairs, study_id
from videogen_jax.media.video import Video

COUNT = 6


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("study")
    return write_videos(folder / "oursecret", COUNT), write_videos(folder / "theirs", COUNT, seed=1)


@pytest.fixture
def copies(folders: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    a, b = (shutil.copytree(folder, tmp_path / folder.name) for folder in folders)
    return a, b


def study_of(html: Path) -> dict:
    (text,) = re.findall(r'<script id="study"[^>]*>(.*?)</script>', html.read_text("utf-8"), re.S)
    return json.loads(text)


def test_pairs_are_in_random_order_and_on_random_sides(folders: tuple[Path, Path]):
    pairs = make_pairs(*folders, seed=0)
    names = [pair.name for pair in pairs]
    assert sorted(names) == [f"clip_{i}" for i in range(COUNT)] != names
    assert sum(pair.a_is_first for pair in pairs) == COUNT // 2
    for pair in pairs:
        assert [file.stem for file in pair.files] == [pair.name] * 2
        assert (pair.files[0].parent == folders[0]) == pair.a_is_first
        assert pair.prompt == (folders[0] / f"{pair.name}.txt").read_text().strip()
    assert make_pairs(*folders, seed=0) == pairs
    others = [make_pairs(*folders, seed=seed) for seed in range(1, 9)]
    assert len({tuple(pair.name for pair in other) for other in others}) > 4
    assert len({tuple(pair.a_is_first for pair in other) for other in others}) > 4
    assert len({study_id(other) for other in [pairs, *others]}) == 9


@pytest.mark.parametrize("embed", [True, False])
def test_the_page_has_the_videos_and_does_not_say_whose_they_are(
    folders: tuple[Path, Path], tmp_path: Path, embed: bool
):
    study = write_study(*folders, tmp_path / "page", seed=7, embed=embed)
    assert study.page == tmp_path / "page" / "index.html" and study.pairs == COUNT
    shown, key = study_of(study.page), json.loads(study.key.read_text())
    assert list(shown["questions"].values()) == list(QUESTIONS.values())
    for number, (pair, secret) in enumerate(zip(shown["pairs"], key["pairs"], strict=True)):
        assert pair["prompt"] == secret["prompt"], number
        sides = folders if secret["a_is_first"] else folders[::-1]
        for source, folder in zip(pair["videos"], sides, strict=True):
            data = (folder / f"{secret['name']}.mp4").read_bytes()
            if embed:
                assert page.base64.b64decode(source["data"]) == data
            else:
                assert (study.page.parent / source["file"]).read_bytes() == data
    told = study.page.read_text() + " ".join(map(str, study.page.parent.rglob("*")))
    told = told.replace(str(tmp_path), "")
    for secret in ("oursecret", "theirs", "clip_", "a_is_first", "seed"):
        assert secret not in told
    assert not list(study.page.parent.rglob("*key*"))
    assert "http" not in told.replace("http-equiv", "")  # it loads nothing
    assert len(list(study.page.parent.rglob("*.mp4"))) == (0 if embed else 2 * COUNT)


def test_prompts_are_those_of_a_manifest_and_cannot_end_the_script(copies: tuple[Path, Path]):
    for path in [*copies[0].glob("*.txt"), *copies[1].glob("*.txt")]:
        path.unlink()
    prompt = '</script><b>"red" & <!-- blue'
    lines = [{"file": f"clip_{i}.mp4", "prompt": f"{prompt} {i}", "seed": i} for i in range(COUNT)]
    (copies[1] / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    study = write_study(*copies, copies[0].parent / "page")
    prompts = [pair["prompt"] for pair in study_of(study.page)["pairs"]]
    assert sorted(prompts) == [f"{prompt} {i}" for i in range(COUNT)]


def test_names_are_those_of_the_folders_or_given(folders: tuple[Path, Path], tmp_path: Path):
    key = json.loads(write_study(*folders, tmp_path / "page").key.read_text())
    assert key["names"] == {"a": "oursecret", "b": "theirs"}
    named = write_study(*folders, tmp_path / "named", names=("X", "Y"))
    assert json.loads(named.key.read_text())["names"] == {"a": "X", "b": "Y"}
    with pytest.raises(UserError, match="both called 'X'"):
        write_study(*folders, tmp_path / "same", names=("X", "X"))


def edit_and_fail(copies: tuple[Path, Path], message: str) -> None:
    out = copies[0].parent / "page"
    with pytest.raises(UserError, match=message) as error:
        write_study(*copies, out)
    assert "\n" not in str(error.value)
    assert not out.exists() and not out.with_name("page-key.json").exists()


def test_names_without_a_partner(copies: tuple[Path, Path]):
    (copies[0] / "clip_2.mp4").unlink()
    (copies[1] / "clip_4.mp4").rename(copies[1] / "other.mp4")
    edit_and_fail(
        copies,
        "theirs has none for clip_4.mp4 of .*oursecret; .*oursecret has none for clip_2.mp4, "
        "other.mp4 of",
    )


def test_a_file_that_is_no_video_or_that_browsers_do_not_play(copies: tuple[Path, Path]):
    path, whole = copies[1] / "clip_3.mp4", (copies[1] / "clip_3.mp4").read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    edit_and_fail(copies, "clip_3.mp4 cannot be read as a video")
    path.write_bytes(whole)
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    edit_and_fail(copies, "clip_3.mp4: browsers do not play mpeg4, expected h264")


def test_gifs_and_webp_are_videos_too(tmp_path: Path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    for name, suffix in (("a", ".gif"), ("b", ".webp")):
        Video(frames, 8.0).save(tmp_path / name / f"x{suffix}")
        (tmp_path / name / "x.txt").write_text("noise")
    (pair,) = study_of(write_study(tmp_path / "a", tmp_path / "b", tmp_path / "page").page)["pairs"]
    assert {source["type"] for source in pair["videos"]} == {"image/gif", "image/webp"}
    shutil.copy(tmp_path / "a" / "x.gif", tmp_path / "b")
    with pytest.raises(UserError, match="x.gif and x.webp have the same name"):
        write_study(tmp_path / "a", tmp_path / "b", tmp_path / "other")
    (tmp_path / "b" / "x.gif").unlink()
    (tmp_path / "b" / "x.webp").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="x.webp cannot be read as a video"):
        write_study(tmp_path / "a", tmp_path / "b", tmp_path / "other")


def test_prompts_that_are_missing_differ_or_are_damaged(copies: tuple[Path, Path]):
    (copies[0] / "clip_1.txt").write_text("another")
    edit_and_fail(copies, "clip_1.mp4 have other prompts: 'another' and ")
    (copies[0] / "clip_1.txt").unlink()
    (copies[1] / "clip_1.txt").write_text(" \n")
    edit_and_fail(copies, "no prompt is known for .*clip_1.mp4: expected clip_1.txt beside it, or")
    (copies[1] / "manifest.jsonl").write_text('{"file": "clip_1.mp4", "prompt": "x"}\n{"fi')
    edit_and_fail(copies, "manifest.jsonl, line 2: not JSON")


def test_folders_that_are_missing_or_empty(copies: tuple[Path, Path], tmp_path: Path, monkeypatch):
    with pytest.raises(MissingFile, match="no folder .*nowhere"):
        write_study(copies[0], tmp_path / "nowhere", tmp_path / "page")
    (tmp_path / "empty").mkdir()
    edit_and_fail((copies[0], tmp_path / "empty"), "empty: no videos there; expected files in .mp4")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine").touch()
    with pytest.raises(UserError, match="page exists already"):
        write_study(*copies, tmp_path / "page")
    (tmp_path / "new-key.json").touch()
    with pytest.raises(UserError, match="new-key.json exists already"):
        write_study(*copies, tmp_path / "new")
    monkeypatch.setattr(page, "LARGEST_PAGE", 1000)
    with pytest.raises(UserError, match="that a page may embed: add --no-embed"):
        write_study(*copies, tmp_path / "large")
