"""Reading of text files."""

from pathlib import Path

from videogen_jax.errors import UserError


def read_text(path: Path) -> str:
    """Returns the text of a UTF-8 file, without a byte order mark.

    Raises:
        UserError: the text is not UTF-8; names the file and the line.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: the text is not UTF-8") from error
