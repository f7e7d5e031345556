"""Errors of Beam's workers: one line for an error of the user, everything for a bug."""

import errno
import logging
import sys
import traceback

import pytest

from videogen_jax.data.clips.beam_errors import one_line, raising_user_errors, writing
from videogen_jax.errors import UserError


def text_of(error):
    """Returns the text of an error with its traceback, as Beam passes it on."""
    try:
        raise error
    except Exception:
        return traceback.format_exc()


@pytest.mark.parametrize(
    "raised",
    [
        UserError("cannot write a.arrayrecord: no space [while running 'files']"),
        RuntimeError(text_of(UserError("cannot write a.arrayrecord: no space"))),
        RuntimeError(
            text_of(UserError("cannot write a.arrayrecord: no space [while running 'files-7']"))
        ),
    ],
)
def test_a_user_error_of_a_worker_is_raised_again(raised):
    with pytest.raises(UserError) as found, raising_user_errors():
        raise raised
    assert str(found.value) == "cannot write a.arrayrecord: no space"


def test_a_bug_stays_as_it_is():
    bug = RuntimeError(text_of(KeyError("a bug")))
    with pytest.raises(RuntimeError) as found, raising_user_errors():
        raise bug
    assert found.value is bug


def test_the_text_of_a_user_error_is_not_shown(capsys, caplog):
    log = logging.getLogger("apache_beam.runners.worker.sdk_worker")
    ours, other = text_of(UserError("no space")), text_of(KeyError("a bug"))
    with raising_user_errors():
        for text in (ours, other):
            print(text, file=sys.stderr)
            log.error("Original traceback is\n%s", text)
    assert capsys.readouterr().err == f"{other}\n"
    assert [record.args for record in caplog.records] == [(other,)]
    log.error("Original traceback is\n%s", ours)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (RuntimeError("write() failed:\n  File too large"), "write() failed: File too large"),
    ],
)
def test_errors_of_writing_name_what_was_written(error, detail):
    with pytest.raises(UserError) as found, writing("shard 3"):
        raise error
    assert str(found.value) == f"cannot write shard 3: {detail}"


def test_texts_are_one_line_of_limited_length():
    assert one_line(ValueError("a\n b")) == "a b" and one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("x" * 2000))) == 503
