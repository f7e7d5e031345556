"""Prompts: the sentences that ship, MSR-VTT's captions as they are, a draw by a seed."""

import json

import pytest

from videogen_jax.data.clips.sources.layouts import class_caption
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.runner.prompts import (
    UCF101_FILE,
    Prompts,
    chosen,
    read_prompts,
    sha256,
)
from videogen_jax.evaluation.runner.protocols import Protocol

PROTOCOL = Protocol("", "clipsim", "")


def test_a_sentence_for_each_class_of_ucf101():
    """Class names are those of the set's files; every sentence has words of its class."""
    sentences = json.loads(UCF101_FILE.read_text())
    assert len(sentences) == len(set(sentences.values())) == 101
    assert list(sentences) == sorted(sentences, key=str.lower)
    for name, sentence in sentences.items():
        stems = [word[:3] for word in class_caption(name).split()]
        assert any(stem in sentence.lower() for stem in stems), (name, sentence)
        assert 4 <= len(sentence.split()) <= 16 and sentence == sentence.strip()
    assert read_prompts("ucf101").texts == tuple(sentences.values())
    assert read_prompts("ucf101-classes").texts[:2] == ("apply eye makeup", "apply lipstick")


def test_videos_go_through_the_prompts_again_and_again():
    prompts = Prompts("a list", ("a", "b", "c"))
    many = chosen(prompts, Protocol("", "is", "", num_videos=7))
    assert many == ("a", "b", "c", "a", "b", "c", "a")
    assert chosen(prompts, PROTOCOL) == ("a", "b", "c")


def write_msrvtt(path, sentences: int = 10):
    videos = [{"video_id": f"video{n}", "split": ("train", "test")[n % 2]} for n in range(4)]
    rows = [{"video_id": f"video{n % 4}", "caption": f"caption {n}"} for n in range(sentences)]
    path.write_text(json.dumps({"videos": videos, "sentences": rows}))
    return path


def test_captions_of_msrvtt_are_counted(tmp_path):
    texts = read_prompts(str(write_msrvtt(tmp_path / "msrvtt.json"))).texts
    assert texts == ("caption 1", "caption 3", "caption 5", "caption 7", "caption 9")


def test_random_captions_are_those_of_the_seed(tmp_path):
    prompts = read_prompts(str(write_msrvtt(tmp_path / "msrvtt.json", 400)))
    drawn = [
        chosen(prompts, Protocol("", "clipsim", "", caption_seed=seed, num_videos=100))
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] and drawn[0] != drawn[2]
    assert len(set(drawn[0])) == 100 and drawn[0] != prompts.texts[:100]
    assert sha256(drawn[0]) == sha256(drawn[1]) != sha256(drawn[2])
    with pytest.raises(UserError, match="has 200 captions, drawing needs 201 captions"):
        chosen(prompts, Protocol("", "clipsim", "", caption_seed=0, num_videos=201))


def test_files_of_lines_and_of_classes(tmp_path):
    (tmp_path / "a.txt").write_text("a ring\n\na star\n")
    (tmp_path / "b.json").write_text('{"Diving": ["one", "two"], "YoYo": "three"}')
    assert read_prompts(str(tmp_path / "a.txt")).texts == ("a ring", "a star")
    assert read_prompts(str(tmp_path / "b.json")).texts == ("one", "two", "three")
    assert read_prompts("real", ["x", "y"]).texts == ("x", "y")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"sentences": 3}', "a.json: expected MSR-VTT's lists"),
        ("a.json", '{"videos": [], "sentences": []}', "captions of the split 'test', found 0"),
        ("a.json", '{"Diving": 3}', "a.json: the class Diving must be a text or a list of texts"),
        ("a.txt", "\n", "a.txt: there are no prompts"),
    ],
)
def test_other_files_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_prompts(str(tmp_path / name))


def test_a_missing_list_says_which_file_is_wanted():
    with pytest.raises(MissingFile, match="no file of prompts nowhere .*test_videodatainfo.json"):
        read_prompts("nowhere")
    with pytest.raises(UserError, match="needs --prompts FILE: MSR-VTT's captions are in test_vid"):
        read_prompts("")
    for captions in ([], ["a", ""]):
        with pytest.raises(UserError, match="prompts 'real' are the captions of --real, which has"):
            read_prompts("real", captions)
