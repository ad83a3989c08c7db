"""A file is written whole, or not at all."""

import os

import pytest

from fastnet.exchange.files import write_whole


def test_the_file_is_there_with_the_permissions_of_any_new_one(tmp_path):
    write_whole(tmp_path / "new", lambda file: file.write(b"all of it"))
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "new").read_bytes() == b"all of it"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("there", [True, False])
def test_what_was_there_stays_if_writing_fails(there, error, tmp_path):
    if there:
        (tmp_path / "old").write_bytes(b"old")

    def fail(file):
        file.write(b"a part")
        raise error

    with pytest.raises(error):
        write_whole(tmp_path / "old", fail)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({"old": b"old"} if there else {})


def test_until_the_end_the_old_file_is_read(tmp_path):
    path = os.fsencode(tmp_path / "it")
    write_whole(path, lambda file: file.write(b"old"))

    def write(file):
        file.write(b"new")
        file.flush()
        assert (tmp_path / "it").read_bytes() == b"old"

    write_whole(path, write)
    assert (tmp_path / "it").read_bytes() == b"new"


def test_a_link_goes_on_pointing_to_what_it_did(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "it")
    write_whole(tmp_path / "link", lambda file: file.write(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "it").read_bytes() == b"new"


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere/it'$"):
        write_whole(tmp_path / "nowhere" / "it", lambda file: file.write(b"new"))
    with pytest.raises(TypeError, match="PathLike"):
        write_whole(3, lambda file: file.write(b"new"))
