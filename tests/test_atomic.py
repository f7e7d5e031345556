import os

import pytest

from videogen_jax.atomic import replacing, require_new_directory


def test_writes_a_file_and_its_parents(tmp_path):
    path = tmp_path / "a" / "b.txt"
    for text in ("one", "two"):
        with replacing(path) as temporary:
            assert temporary.suffix == ".txt" and temporary.parent == path.parent
            temporary.write_text(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_replaces_a_folder_as_a_whole(tmp_path):
    path = tmp_path / "frames"
    for name in ("one", "two"):
        with replacing(path) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
        assert [p.name for p in path.iterdir()] == [name]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, as_folder):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as temporary:
        if as_folder:
            temporary.mkdir()
        (temporary / "x" if as_folder else temporary).write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_names_the_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "below").mkdir(parents=True)
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        with (
            pytest.raises(ValueError, match=f"cannot write {path}: "),
            replacing(path) as temporary,
        ):
            temporary.touch()
    assert (tmp_path / "folder" / "below").exists()


def test_a_new_directory_may_be_there_if_it_is_empty(tmp_path):
    require_new_directory(tmp_path / "absent")
    require_new_directory(tmp_path)
    (tmp_path / "file").touch()
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(ValueError, match="exists already; give the name of a new directory"):
            require_new_directory(taken)


def test_leftovers_of_a_killed_process_are_not_used(tmp_path):
    left = tmp_path / f".model.{os.getpid()}"  # process ids recur in containers
    left.mkdir()
    (left / "half").touch()
    with replacing(tmp_path / "model") as temporary:
        temporary.mkdir(exist_ok=True)
    assert list((tmp_path / "model").iterdir()) == []
