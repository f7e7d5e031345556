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


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
def test_the_padding_token_in_a_prompt_is_a_word(tokenizer, tmp_path, file):
    """Stable Diffusion 2 pads with "!", id 0; OpenCLIP was trained with "!</w>", id 256."""
    shutil.copytree(SHAPES_TOKENIZER, tmp_path, dirs_exist_ok=True)
    if file == "tokenizer_config.json":
        (tmp_path / "special_tokens_map.json").unlink()
    edit(tmp_path / file, pad_token="!")
    loaded = load_tokenizer(tmp_path)
    assert loaded.pad_id == 0
    prompts = ["a red ball!", "stop! now", "!", "!!"]
    ours, plain = loaded(prompts, 16), tokenizer(prompts, 16)
    for ours_T, plain_T in zip(ours, plain, strict=True):
        end = list(plain_T).index(tokenizer.end_id) + 1
        np.testing.assert_array_equal(ours_T[:end], plain_T[:end])
        assert 256 in ours_T[:end] or "!!" in prompts
        assert not ours_T[end:].any()


ADDED = {"normalized": True, "single_word": False, "lstrip": False, "rstrip": False}


@pytest.mark.parametrize("form", ["added_tokens.json", "decoder", "special", "tokenizer.json"])
def test_added_tokens(tokenizer, tmp_path, form):
    """As of textual inversion: they come after end-of-text."""
    shutil.copytree(SHAPES_TOKENIZER, tmp_path, dirs_exist_ok=True)
    end = tokenizer.end_id
    if form == "added_tokens.json":
        (tmp_path / form).write_text(json.dumps({"<cat>": end + 1, "my dog": end + 2}))
    else:
        names = enumerate(("<cat>", "my dog"), end + 1)
        entries = {i: {"content": name, "special": form == "special", **ADDED} for i, name in names}
        edit(tmp_path / "tokenizer_config.json", added_tokens_decoder=entries)
    if form == "tokenizer.json":
        from transformers import CLIPTokenizer

        CLIPTokenizer.from_pretrained(str(tmp_path)).save_pretrained(tmp_path / "new")
        tmp_path = tmp_path / "new"
        assert not (tmp_path / "vocab.json").exists()
    loaded = load_tokenizer(tmp_path)
    assert (loaded.end_id, loaded.pad_id) == (end, end)
    assert (loaded.vocab_size, loaded.largest_id) == (end + 3, end + 2)
    row_T = list(loaded(["a <cat> and my dog"], 16)[0])
    assert row_T.index(end + 1) < row_T.index(end + 2) < row_T.index(end)
    for text in ("a red ball", "a circle moving left!"):
        np.testing.assert_array_equal(loaded([text], 16), tokenizer([text], 16))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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
        ("vocab.json", "[]", "expected an object"),
        ("vocab.json", '{"a": 0}', "not a CLIP vocabulary"),
        ("tokenizer_config.json", "{}", "model_max_length"),
        ("tokenizer_config.json", '{"model_max_length": "24"}', "model_max_length is '24'"),
        ("tokenizer_config.json", '{"model_max_length": null}', "model_max_length is None"),
        ("tokenizer_config.json", "[" * 100_000, "not a JSON file"),
        ("vocab.json", '{"a": "0"}', "expected ids by token"),
    ],
)
def test_damaged_files(tmp_path, name, text, message):
    shutil.copytree(SHAPES_TOKENIZER, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("merges.txt", "#version: 0.2\na b c\n"),
        ("merges.txt", "#version: 0.2\nzz qq\n"),
        ("special_tokens_map.json", "["),
        ("special_tokens_map.json", "[" * 100_000),
        ("special_tokens_map.json", '{"pad_token": "<nothing>"}'),
        ("special_tokens_map.json", '{"pad_token": 3}'),
        ("tokenizer.json", "[" * 100_000),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}, "merges": [["a"]]}}'),
    ],
)
def test_damage_is_one_line_that_names_the_folder(tmp_path, name, text):
    shutil.copytree(SHAPES_TOKENIZER, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


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
