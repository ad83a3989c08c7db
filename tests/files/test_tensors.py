"""Files of arrays: what is written comes back, other readers read it, and nothing else is read."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import hostile
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import fastnet
from fastnet import FileFormatError
from fastnet.files import durable, tensors

RNG = np.random.default_rng(0)
ARRAYS = {
    "f8": RNG.standard_normal((7, 3)),
    "f4": np.float32([[1.5, -0.0, np.inf]]),
    "none": np.empty((0, 5)),
    "scalar": np.array(3),
    "f2": np.float16([2.5]),
    "strided": np.arange(24.0).reshape(4, 6)[::2, ::-1],
    "fortran": np.asfortranarray(RNG.random((3, 5))),
    "big": np.arange(5, dtype=">i4"),
    "bool": np.array([True, False]),
    "ä ∂ \n": np.uint8([0, 255]),
    **{
        kind: np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind)
        for kind in ("i8", "i4", "i2", "i1", "u8", "u4", "u2")
    },
}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder("="), name
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_what_is_written_is_read(tmp_path):
    texts = {"a": 'ä\x00\n"', "": "b"}
    tensors.write(tmp_path / "file", ARRAYS, texts)
    contents = tensors.read(tmp_path / "file")
    assert_equal(contents.arrays, ARRAYS)
    assert contents.texts == texts
    assert not contents.arrays["f8"].flags.writeable
    tensors.write(tmp_path / "again", contents.arrays, texts)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()


def test_what_changes_while_it_is_written_is_written_as_it_was(tmp_path, monkeypatch):
    """As where one thread saves a model, and another trains it."""
    array = np.ones(1000)

    def write_whole(path, pieces):
        array[:] = 2
        durable.write_whole(path, pieces)

    monkeypatch.setattr(tensors, "write_whole", write_whole)
    tensors.write(tmp_path / "file", {"a": array}, {})
    np.testing.assert_array_equal(tensors.read(tmp_path / "file").arrays["a"], np.ones(1000))


def test_the_official_library_reads_what_is_written(tmp_path):
    tensors.write(tmp_path / "file", ARRAYS, {"a": "ä"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_equal(safetensors.numpy.load_file(tmp_path / "file"), ARRAYS)
        with safetensors.safe_open(tmp_path / "file", "numpy") as file:
            assert file.metadata()["a"] == "ä"


def test_what_the_official_library_writes_is_read(tmp_path):
    arrays = {name: np.ascontiguousarray(array) for name, array in ARRAYS.items() if name != "big"}
    arrays["scalar"] = ARRAYS["scalar"]
    safetensors.numpy.save_file(arrays, tmp_path / "file", metadata={"a": "b"})
    contents = tensors.read(tmp_path / "file")
    assert_equal(contents.arrays, arrays)
    assert contents == (contents.arrays, {"a": "b"}, None)


def test_a_model_that_something_else_has_written_anew_is_refused(tmp_path):
    path = hostile.samples(tmp_path)[0]
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(arrays, path, metadata)
    with pytest.raises(FileFormatError, match="it was changed: its SHA-256"):
        fastnet.load(path)


@pytest.mark.parametrize("what", hostile.hostile_files())
def test_a_hostile_file_is_refused(tmp_path, what):
    (tmp_path / "file").write_bytes(hostile.hostile_files()[what])
    hostile.tracemalloc.start()
    try:
        found = hostile.load_bounded(tmp_path / "file")
    finally:
        hostile.tracemalloc.stop()
    assert isinstance(found, FileFormatError), what
    assert str(found).startswith(repr(str(tmp_path / "file")))
    assert not Path("/tmp/fastnet-was-here").exists()


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", "/dev/stdin"):
        with pytest.raises(FileFormatError, match="not a file"):
            fastnet.load(path)
    with pytest.raises(FileNotFoundError):
        fastnet.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        fastnet.load(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="symbolic links"):
        fastnet.load(tmp_path / "loop")


def test_every_byte_counts(tmp_path):
    """One bit of each byte is turned, and each length is tried."""
    original = hostile.samples(tmp_path)[1].read_bytes()
    path = tmp_path / "changed"
    for i in range(len(original)):
        for content in (original[:i] + bytes([original[i] ^ 1 << i % 8]) + original[i + 1 :], original[:i]):
            path.write_bytes(content)
            with pytest.raises(FileFormatError):
                fastnet.load(path)
    path.write_bytes(original)
    fastnet.load(path)


def test_mutations_are_refused_and_take_little_memory(tmp_path):
    assert hostile.attack(tmp_path, 1500, seed=0) > 1300


def test_a_huge_file_with_holes_is_an_error_and_no_crash(tmp_path):
    """Its header is right; of its 64 GiB nothing is on the disk."""
    script = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
import hostile, fastnet, pathlib
size = 2**36
entry = {{"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
path = pathlib.Path({str(tmp_path / "holes")!r})
path.write_bytes(hostile.remade({{"__metadata__": {{"format": "fastnet model 1"}}, "W1": entry}}))
with path.open("ab") as file:
    file.truncate(path.stat().st_size + size)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)
try:
    fastnet.load(path)
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "memory does not suffice for the file\n", done.stderr


def test_more_than_a_reader_takes_is_not_written(tmp_path):
    many = {str(i): np.empty(0) for i in range(6000)}
    with pytest.raises(ValueError, match="but a file takes 1048576 and 32768"):
        tensors.write(tmp_path / "file", many, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["c16", "U3", "m8[s]", "O"])
def test_what_no_file_can_hold_is_not_written(tmp_path, dtype):
    with pytest.raises(TypeError, match=r"a has the dtype .*, which no file can hold"):
        tensors.write(tmp_path / "file", {"a": np.zeros(3, dtype)}, {})
    assert not list(tmp_path.iterdir())


def test_the_error_is_a_value_error_and_travels():
    error = pickle.loads(pickle.dumps(FileFormatError("why")))
    assert isinstance(error, ValueError)
    assert str(error) == "why"
