"""A file is written whole or not at all, whatever happens meanwhile; and nothing else stays."""

import errno
import os
import subprocess
import sys

import killed
import pytest

import fastnet
from fastnet.files import durable
from fastnet.files.durable import ENDING, write_whole

OLD, NEW = b"old" * 1000, [b"new", memoryview(b"er" * 5000), b""]


def temporaries(folder):
    return [path for path in folder.iterdir() if path.name.endswith(ENDING)]


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "ä file"
    path.write_bytes(OLD)
    return path


def test_the_pieces_take_the_place_of_what_was_there(target):
    write_whole(target, NEW)
    assert target.read_bytes() == b"new" + b"er" * 5000
    assert os.listdir(target.parent) == [target.name]
    write_whole(str(target.with_name("x" * 255)), NEW)  # the longest name that there can be


def test_permissions_follow_the_umask(target):
    old = os.umask(0o027)
    try:
        write_whole(target, NEW)
    finally:
        os.umask(old)
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_link_stays(target):
    link = target.with_name("link")
    link.symlink_to(target)
    write_whole(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes().startswith(b"newer")


def test_what_is_no_file_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a device or a pipe"):
        write_whole(tmp_path / "pipe", NEW)
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, NEW)
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "no folder" / "file", NEW)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_alone(target, monkeypatch, call, error):
    real, calls = getattr(os, call), []

    def fail(*args):
        calls.append(args)
        if call == "write" and len(calls) == 1:
            return real(args[0], args[1][:2])  # a part of it
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(durable.os, call, fail)
        with pytest.raises(type(error)):
            write_whole(target, NEW)
    assert calls
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


def test_a_full_disk_leaves_the_old_file_alone(target):
    """The process may write no more than so many bytes to a file."""
    script = f"""
import resource, signal, sys
sys.path[:0] = {sys.path!r}
from fastnet.files.durable import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_whole({str(target)!r}, [bytes(3000), bytes(3000)])
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{errno.EFBIG}\n", done.stderr
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(target):
    left = target.with_name(f".0123{ENDING}")
    left.write_bytes(b"part")
    with (target.parent / f".4567{ENDING}").open("w") as held:
        durable.lock(held.fileno())
        write_whole(target, NEW)
        assert temporaries(target.parent) == [target.parent / f".4567{ENDING}"]
    (target.parent / f".89ab{ENDING}").symlink_to(target)
    write_whole(target, NEW)
    assert temporaries(target.parent) == [target.parent / f".89ab{ENDING}"], "a link is not followed"
    assert target.exists()


def test_a_writer_whose_file_is_swept_before_it_is_locked_takes_another(target, monkeypatch):
    real, swept = durable.lock, []

    def lock(descriptor):
        if not swept:
            swept.extend(temporaries(target.parent))
            swept[0].unlink()
        real(descriptor)

    monkeypatch.setattr(durable, "lock", lock)
    write_whole(target, NEW)
    assert len(swept) == 1
    assert target.read_bytes().startswith(b"newer")


def test_a_writer_whose_file_another_is_about_to_sweep_takes_another(target, monkeypatch):
    real, sweepers = durable.lock, []

    def lock(descriptor):
        if not sweepers:
            sweepers.append(os.open(temporaries(target.parent)[0], os.O_WRONLY))
            real(sweepers[0])
        real(descriptor)

    monkeypatch.setattr(durable, "lock", lock)
    path, descriptor = durable.temporary(target.parent)
    assert not os.path.sameopenfile(descriptor, sweepers[0])
    assert path in temporaries(target.parent)
    for each in (descriptor, *sweepers):
        os.close(each)


def test_a_pipe_among_what_is_swept_is_not_waited_for(target):
    """Whoever may write to the folder can make one."""
    os.mkfifo(target.parent / f".0123{ENDING}")
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
from fastnet.files.durable import write_whole
write_whole({str(target)!r}, [b"new"])
"""
    subprocess.run([sys.executable, "-c", script], timeout=20, check=True)
    assert target.read_bytes() == b"new"


def test_a_path_of_bytes(target):
    write_whole(os.fsencode(target), NEW)
    assert target.read_bytes().startswith(b"newer")


@pytest.mark.jit
def test_saves_killed_at_any_moment_leave_the_old_file_or_the_new(tmp_path):
    killed.attack_saves(tmp_path, 10, seed=0)


@pytest.mark.parametrize("path", [True, None, 3, object()])
def test_what_is_no_path_is_named(path):
    for use in (fastnet.Model([fastnet.Dense(1)]).save, fastnet.load, fastnet.Checkpoint):
        with pytest.raises(TypeError, match=r"path must be a text or an os\.PathLike"):
            use(path)
        with pytest.raises(ValueError, match="path must not be empty"):
            use("")


def test_a_folder_that_is_not_there_is_named_as_it_was_given(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder for the file: '.*none/model'"):
        fastnet.Model([fastnet.Dense(1)]).save(tmp_path / "none" / "model")
