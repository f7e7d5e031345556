"""The byte-level BPE tokenizer in CLIP's format."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import videogen_jax
from videogen_jax.commands.train.tokenizer import main as build_shapes_tokenizer
from videogen_jax.data.shapes.captions import caption
from videogen_jax.data.shapes.world import clip_spec
from videogen_jax.tokenizer import (
    END_TOKEN,
    START_TOKEN,
    Tokenizer,
    build_bpe,
    load_tokenizer,
    save_clip_format,
)

SHAPES_TOKENIZER = Path(videogen_jax.__file__).parent / "assets" / "shapes" / "tokenizer"
CAPTIONS = [
    caption(clip_spec(split, index), np.random.default_rng(index))
    for split in ("train", "held_out")
    for index in range(500)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(SHAPES_TOKENIZER)


def test_files_load_in_transformers(tokenizer):
    from transformers import CLIPTokenizer

    reference = CLIPTokenizer.from_pretrained(str(SHAPES_TOKENIZER))
    assert len(reference) == tokenizer.vocab_size <= 1024
    ours = tokenizer(CAPTIONS[:50], 32)
    theirs = reference(CAPTIONS[:50], padding="max_length", max_length=32)["input_ids"]
    np.testing.assert_array_equal(ours, theirs)


def test_vocabulary_is_in_clip_order(tokenizer):
    vocab = json.loads((SHAPES_TOKENIZER / "vocab.json").read_text(encoding="utf-8"))
    tokens = list(vocab)
    assert list(vocab.values()) == list(range(len(vocab)))
    # Ids of the published CLIP vocabulary.
    assert [vocab[token] for token in ("!", "a", "a</w>", "!</w>")] == [0, 64, 320, 256]
    assert tokens[256:512] == [token + "</w>" for token in tokens[:256]]
    merges = (SHAPES_TOKENIZER / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert tokens[512:-2] == [merge.replace(" ", "") for merge in merges]
    assert tokens[-2:] == [START_TOKEN, END_TOKEN]
    assert (tokenizer.start_id, tokenizer.end_id) == (len(vocab) - 2, len(vocab) - 1)


def test_every_caption_word_is_one_token(tokenizer):
    tokens_BT = tokenizer(CAPTIONS, 32)
    assert tokens_BT.dtype == np.int32 and tokens_BT.shape == (len(CAPTIONS), 32)
    for row_T, text in zip(tokens_BT, CAPTIONS, strict=True):
        words = len(text.split())
        assert row_T[0] == tokenizer.start_id
        assert tokenizer.end_id not in row_T[1 : words + 1]
        assert np.all(row_T[words + 1 :] == tokenizer.end_id)


@pytest.mark.parametrize("text", ["", "🙂", "红色的圆 向左", "a red ball", "àé ñ", "b🙂"])
def test_any_prompt_round_trips(tokenizer, text):
    assert tokenizer.decode(tokenizer([text], 64)[0]).replace(" ", "") == text.replace(" ", "")


def test_case_and_blanks_do_not_matter(tokenizer):
    np.testing.assert_array_equal(tokenizer(["A  Red\nBALL"], 8), tokenizer(["a red ball"], 8))


def test_literal_special_tokens_are_dropped(tokenizer):
    prompt = f"a {END_TOKEN} red {START_TOKEN.upper()}ball"
    np.testing.assert_array_equal(tokenizer([prompt], 8), tokenizer(["a red ball"], 8))


def test_truncation_warns_with_what_was_cut(tokenizer):
    with pytest.warns(UserWarning, match="lost: 'moving left'"):
        tokens_BT = tokenizer(["a red ball moving left"], 5)
    np.testing.assert_array_equal(tokens_BT[0, :-1], tokenizer(["a red ball"], 8)[0, :4])
    assert tokens_BT[0, -1] == tokenizer.end_id
    assert tokenizer(["a red ball moving left"], 7)[0, -1] == tokenizer.end_id


def test_default_length_is_the_one_in_the_files(tokenizer):
    assert tokenizer(["a red ball"]).shape == (1, 32)
    assert tokenizer([]).shape == (0, 32)


def test_wrong_calls(tokenizer):
    with pytest.raises(ValueError, match="list of strings"):
        tokenizer("a red ball")
    with pytest.raises(ValueError, match="max_length"):
        tokenizer(["a"], 1)


def test_build_is_deterministic_and_loads(tmp_path):
    built = [build_bpe(CAPTIONS[:200], 60) for _ in range(2)]
    assert built[0] == built[1]
    vocab, merges = built[0]
    assert len(merges) == 60 and len(vocab) == 574
    shipped = json.loads((SHAPES_TOKENIZER / "vocab.json").read_text(encoding="utf-8"))
    assert list(vocab)[:512] == list(shipped)[:512]
    save_clip_format(tmp_path, vocab, merges, max_length=16)
    loaded = load_tokenizer(tmp_path)
    assert (loaded.vocab_size, loaded.max_length, loaded.pad_id) == (574, 16, 573)


def test_shipped_files_are_what_the_script_builds(tmp_path):
    build_shapes_tokenizer(tmp_path)
    for path in SHAPES_TOKENIZER.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(ValueError, match="exists already; give the name of a new directory"):
        build_shapes_tokenizer(tmp_path)


def test_folder_as_transformers_5_saves_it(tokenizer, tmp_path):
    from transformers import CLIPTokenizer

    CLIPTokenizer.from_pretrained(str(SHAPES_TOKENIZER)).save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    loaded = load_tokenizer(tmp_path)
    np.testing.assert_array_equal(loaded(CAPTIONS[:20]), tokenizer(CAPTIONS[:20]))


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_missing_files(tmp_path, name):
    shutil.copytree(SHAPES_TOKENIZER, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vocab.json", "{", "not a JSON file"),
        ("vocab.json", "[]", "JSON object"),
        ("vocab.json", '{"a": 0}', "not a CLIP vocabulary"),
        ("tokenizer_config.json", "{}", "model_max_length"),
    ],
)
def test_damaged_files(tmp_path, name, text, message):
    shutil.copytree(SHAPES_TOKENIZER, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        load_tokenizer(tmp_path)


_WITHOUT_TORCH = """
import importlib.util, logging, sys

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == "torch" else find_spec(name, *args)
from videogen_jax.tokenizer import load_tokenizer

load_tokenizer(sys.argv[1])
logging.getLogger("transformers").warning("a real warning")
"""


def test_loading_without_torch_says_nothing_about_it():
    """transformers would recommend installing it; its other warnings are still shown."""
    command = [sys.executable, "-c", _WITHOUT_TORCH, str(SHAPES_TOKENIZER)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.endswith("a real warning")


@pytest.mark.parametrize("pickled", [False, True])
def test_without_pytorch_nothing_is_printed(tokenizer, tmp_path, pickled):
    """Also where a data worker receives the tokenizer; runs in a process without torch."""
    (tmp_path / "tokenizer.pickle").write_bytes(pickle.dumps(tokenizer))
    code = [
        "import importlib.util, pickle, sys",
        "find = importlib.util.find_spec",
        "importlib.util.find_spec = lambda name, *a: None if name == 'torch' else find(name, *a)",
        f"if {pickled}: tokenizer = pickle.load(open(sys.argv[1], 'rb'))",
        "else:",
        "    from videogen_jax.tokenizer import load_tokenizer",
        "    tokenizer = load_tokenizer(sys.argv[2])",
        "assert tokenizer(['a red circle']).shape == (1, tokenizer.max_length)",
        "import transformers",
        "assert not transformers.utils.is_torch_available()",
    ]
    arguments = [str(tmp_path / "tokenizer.pickle"), str(SHAPES_TOKENIZER)]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code), *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
