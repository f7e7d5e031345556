"""The page in a headless Chromium: votes by keyboard, kept, exported and tallied."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import chromium
from tests.support.study_page import write_videos
from videogen_jax.evaluation.study.page import Study, write_study
from videogen_jax.evaluation.study.tally import tally_votes

COUNT = 4
PLAYS = (
    "() => [...document.querySelectorAll('video')].every(v => v.videoWidth && v.currentTime > 0)"
)

# A browser takes half a minute on two cores with other work.
pytestmark = pytest.mark.slow


def make_study(folder: Path, embed: bool) -> Study:
    a, b = write_videos(folder / "ours", COUNT), write_videos(folder / "theirs", COUNT, seed=1)
    return write_study(a, b, folder / "page", embed=embed)


def begin(page: Any, name: str) -> None:
    page.fill("#annotator", name)
    page.keyboard.press("Enter")


def answers_for_a(study: Study) -> list[str]:
    """Returns the key that prefers A, of each pair."""
    key = json.loads(study.key.read_text())
    return ["1" if pair["a_is_first"] else "2" for pair in key["pairs"]]


@pytest.mark.parametrize("embed", [True, False])
def test_votes_by_keyboard_are_exported_and_tallied(tmp_path: Path, embed: bool):
    study = make_study(tmp_path, embed)
    key = json.loads(study.key.read_text())
    with chromium(viewport={"width": 1280, "height": 800}) as page:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.goto(study.page.as_uri())
        begin(page, "Ann Ö")
        for number, favour in enumerate(answers_for_a(study)):
            assert page.inner_text("#position") == f"Pair {number + 1} of {COUNT}"
            assert page.inner_text("#prompt").strip('“”"') == key["pairs"][number]["prompt"]
            page.wait_for_function(PLAYS)
            assert page.is_disabled("#next")
            page.keyboard.press("Enter")  # has no effect before both answers
            page.keyboard.press("r")
            page.keyboard.press(favour)
            page.keyboard.press("1")
            page.keyboard.press("Enter")
        with page.expect_download() as download:
            page.keyboard.press("s")
        assert download.value.suggested_filename.startswith("votes-Ann_O")
        download.value.save_as(tmp_path / "votes.json")
        assert problems == []
    result = tally_votes([study.key, tmp_path / "votes.json"])
    assert result.annotators == ("Ann Ö",)
    assert result.preferences["quality"].for_a == COUNT
    firsts = answers_for_a(study).count("1")
    assert result.preferences["alignment"].for_a == firsts == COUNT // 2


def test_votes_are_kept_when_the_page_is_closed(tmp_path: Path):
    study = make_study(tmp_path, embed=True)
    with chromium() as page:
        page.goto(study.page.as_uri())
        begin(page, "Bob")
        for name in "12":
            page.keyboard.press(name)
        page.keyboard.press("Enter")
        page.keyboard.press("1")
        page.reload()
        assert page.input_value("#annotator") == "Bob"
        page.click("text=Start")
        assert page.inner_text("#position") == f"Pair 2 of {COUNT}"
        assert page.is_checked("#question-quality input[value='1']")
        page.keyboard.press("Backspace")
        assert page.is_checked("#question-alignment input[value='2']")
        page.check("#question-alignment input[value='1']")  # with the mouse
        page.keyboard.press("Enter")
        stored = page.evaluate("() => JSON.parse(localStorage.getItem(localStorage.key(0)))")
        expected = {"1": {"quality": 1, "alignment": 1}, "2": {"quality": 1}}
        assert stored == {"annotator": "Bob", "votes": expected}


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_width_and_every_control_has_a_name(tmp_path: Path, width: int):
    study = make_study(tmp_path, embed=True)
    with chromium(viewport={"width": width, "height": 844}) as page:
        page.goto(study.page.as_uri())
        begin(page, "C")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for group in ("Which video is of higher quality?", "Which video better represents"):
            group = page.get_by_role("group", name=group)
            for name in ("Video 1", "Video 2"):
                assert group.get_by_role("radio", name=name).count() == 1
        for name in ("Replay", "Back", "Next"):
            assert page.get_by_role("button", name=name).is_visible()


def test_who_wants_less_motion_starts_the_videos(tmp_path: Path):
    study = make_study(tmp_path, embed=True)
    with chromium(reduced_motion="reduce") as page:
        page.goto(study.page.as_uri())
        begin(page, "D")
        page.wait_for_selector("video[controls]")
        assert page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
