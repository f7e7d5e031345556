"""Paths in buckets: writing as a whole, copies, and clear errors."""

import os
from pathlib import Path

import pytest

from tests.support.storage import memory_url, s3_server
from videogen_jax import paths
from videogen_jax.atomic import replacing
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.home import expand_home
from videogen_jax.paths import as_path, is_remote, is_whole, local_copy, read_range


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])  # a server starts
def bucket(request):
    """A new folder in a bucket."""
    if request.param == "memory":
        yield as_path(memory_url())
        return
    with s3_server() as url:
        yield as_path(url) / "folder"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_only_urls_are_in_buckets(tmp_path: Path):
    assert as_path("a/b") == Path("a/b") and as_path(tmp_path) is not None
    assert as_path("file:///a/b") == Path("/a/b")
    assert not any(map(is_remote, ["a/b", "s3:/a", "file:///a", tmp_path, 3, None]))
    remote = expand_home("memory://a/b")
    assert is_remote(remote) and is_remote("gs://a") and as_path(remote) is remote
    assert str(remote / "c") == "memory://a/b/c"


def test_a_file_appears_as_a_whole(bucket):
    path = bucket / "deep" / "a.txt"
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert not path.exists()
    for text in ("first", "second"):
        with replacing(path) as temporary:
            assert temporary.name == "a.txt" and isinstance(temporary, Path)
            temporary.write_text(text)
        assert path.read_text() == text
    assert read_range(path, 1, 3) == b"eco" and read_range(path, 4, 100) == b"nd"


def write_folder(folder: Path, names: list[str]) -> None:
    with replacing(folder, last="last.json") as temporary:
        for name in names:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(name)


def test_a_folder_is_whole_when_its_last_file_is_there(bucket, monkeypatch):
    folder = bucket / "folder"
    put, order = folder.fs.put_file, []

    def failing(local, key):
        order.append(Path(key).name)
        if Path(key).name == "last.json":
            raise OSError("the network is gone")
        put(local, key)

    with monkeypatch.context() as patch:
        patch.setattr(folder.fs, "put_file", failing)
        with pytest.raises(UserError, match="cannot be used: the network is gone"):
            write_folder(folder, ["a", "b/c", "last.json"])
    assert order[-1] == "last.json" and sorted(order[:2]) == ["a", "c"]
    assert folder.is_dir() and not is_whole(folder, "last.json")
    write_folder(folder, ["d", "last.json"])  # replaces all of it
    assert is_whole(folder, "last.json")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"d", "last.json"}


def test_a_copy_is_made_once_for_each_version(bucket, cache, monkeypatch):
    write_folder(bucket / "folder", ["a", "b/c", "last.json"])
    copied = local_copy(bucket / "folder" / "b" / "c")
    assert copied.read_text() == "b/c" and copied.is_relative_to(cache) and copied.name == "c"
    folder = local_copy(bucket / "folder")
    assert (folder / "b" / "c").read_text() == "b/c" and (folder / "a").is_file()
    with monkeypatch.context() as patch:
        patch.setattr(bucket.fs, "get_file", None)
        assert local_copy(bucket / "folder" / "b" / "c") == copied
    with replacing(bucket / "folder" / "b" / "c") as temporary:
        temporary.write_text("new")
    assert local_copy(bucket / "folder" / "b" / "c").read_text() == "new"
    assert copied.read_text() == "b/c"  # a process may still read it
    with pytest.raises(MissingFile, match="none"):
        local_copy(bucket / "none")


def test_what_is_local_is_not_copied(tmp_path: Path):
    assert local_copy(tmp_path) is tmp_path


def test_folders_are_copied_to_and_from_buckets(bucket, tmp_path: Path):
    (tmp_path / "from" / "deep").mkdir(parents=True)
    (tmp_path / "from" / "deep" / "a").write_text("a")
    paths.copy_folder(tmp_path / "from", bucket / "there")
    paths.copy_folder(bucket / "there", tmp_path / "back")
    assert (tmp_path / "back" / "deep" / "a").read_text() == "a"


def test_an_unknown_scheme_is_one_clear_line():
    with pytest.raises(UserError, match=r"nope://a cannot be opened: .*nope.*buckets.md"):
        as_path("nope://a")


@pytest.mark.slow  # the clients of storage are imported, and one starts
def test_without_credentials_or_bucket_there_is_one_clear_line(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    as_path("s3://no-bucket").fs.clear_instance_cache()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(UserError, match=r"s3://no-bucket/model cannot be used: .*redentials"):
        paths.require_reachable(as_path("s3://no-bucket/model"))
    with s3_server() as url:
        paths.require_reachable(as_path(url) / "nothing-yet")
        missing = as_path("s3://another-bucket/file")
        with pytest.raises(UserError, match="s3://another-bucket/file"):
            with replacing(missing) as temporary:
                temporary.write_text("text")
