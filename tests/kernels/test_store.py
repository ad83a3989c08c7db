"""Machine code on disk: what is wrong with a file or a folder costs a compilation, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from fastnet.kernels import ahead
from fastnet.kernels.build import load, store, target
from fastnet.kernels.build import machine as machine_code
from fastnet.kernels.build.store import MAGIC, Code, Key, packed, read, unpacked, write
from fastnet.kernels.link import every_part

KEY = Key("activate_1_float32", "native-0123abcd", "89abcdef01234567")
CODE = Code(bytes(range(256)) * 3, "_ZN7fastnet", ())


def damaged():
    """Yield names and contents of files that were stored and then damaged."""
    whole, rng = packed(KEY, CODE), np.random.default_rng(0)
    yield from {
        "empty": b"", "zeros": bytes(len(whole)), "text": b"Bad Gateway\n", "half": whole[: len(whole) // 2],
        "longer": whole + b"\0", "twice": whole * 2, "only the magic word": MAGIC, "pickle": b"\x80\x04N.",
    }.items()  # fmt: skip
    for length in rng.integers(0, len(whole), 100):
        yield f"cut at {length}", whole[:length]
    for bit in rng.choice(8 * len(whole), 1000, replace=False):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(content)
    for name, key in {
        "other part": KEY._replace(part="activate_2_float32"),
        "other target": KEY._replace(target="x86-64-v4"),
        "other digest": KEY._replace(digest="0" * 16),
    }.items():
        yield name, packed(key, CODE)
    yield "a feature that no CPU has", packed(KEY, CODE._replace(features=("levitation",)))


def signed(header: object) -> bytes:
    """Return a file with another header, and the checksum that belongs to it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = len(text).to_bytes(4, "little") + text + CODE.data
    return MAGIC + sha256(body).digest() + body


def test_what_is_stored_is_read(tmp_path):
    assert write(tmp_path / "new" / "folder", KEY, CODE)
    assert read(tmp_path / "new" / "folder", KEY) == CODE
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [KEY.file_name]


def test_nothing_that_is_damaged_is_read():
    assert unpacked(packed(KEY, CODE), KEY) == CODE
    kinds = list(damaged())
    assert len(kinds) > 1000
    assert not [name for name, content in kinds if unpacked(content, KEY) is not None]


@pytest.mark.parametrize(
    "header",
    [
        [], {}, None, 7, b"{", b"\xff", b"[" * 10_000, {**KEY._asdict()}, {**KEY._asdict(), "symbol": "a"},
        {**KEY._asdict(), "symbol": "a", "features": 3}, {**KEY._asdict(), "symbol": "a", "features": [[]]},
        {**KEY._asdict(), "symbol": 5, "features": []}, {**KEY._asdict(), "symbol": "a", "features": [], "more": 1},
    ],
)  # fmt: skip
def test_nor_is_what_is_signed_but_has_another_header(header):
    assert unpacked(signed(header), KEY) is None
    right = {**KEY._asdict(), "symbol": "_ZN7fastnet", "features": []}
    assert unpacked(signed(right), KEY) == CODE


def obstacles(place):
    """Yield what may stand where a file belongs, each made in turn."""
    place.mkdir()
    yield "a folder"
    place.rmdir()
    place.symlink_to(place.parent / "nowhere")
    yield "a link to nowhere"
    place.unlink()
    place.symlink_to(place)
    yield "a link to itself"
    place.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(place)
        yield "a pipe"


def test_what_is_no_file_is_not_read_and_makes_room(tmp_path):
    place, seen = tmp_path / KEY.file_name, 0
    for what in obstacles(place):
        assert read(tmp_path, KEY) is None, what
        seen += 1
    assert seen > 2
    place.unlink(missing_ok=True)
    for what in obstacles(place):
        assert write(tmp_path, KEY, CODE), what
        assert read(tmp_path, KEY) == CODE, what
        place.unlink()
        place.touch()  # for what the generator removes next
        place.unlink()
        if what == "a folder":
            place.mkdir()
        elif what != "a pipe":
            place.touch()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / KEY.file_name / "holiday").mkdir(parents=True)
    assert not write(tmp_path, KEY, CODE)
    assert (tmp_path / KEY.file_name / "holiday").is_dir()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    write(tmp_path, KEY, CODE)
    monkeypatch.setattr(store, "MOST_BYTES", 10)
    assert read(tmp_path, KEY) is None


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(), FileNotFoundError()])
def test_where_nothing_can_be_written_nothing_is_left(error, tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def write_half(self, data):
        write_bytes(self, data[: len(data) // 2])
        raise error

    monkeypatch.setattr(Path, "write_bytes", write_half)
    assert not write(tmp_path, KEY, CODE)
    assert not list(tmp_path.iterdir())


def test_other_digests_of_the_same_part_and_target_go(tmp_path):
    others = [KEY._replace(target="x86-64-v4", digest="0" * 16), KEY._replace(part="activate_12_float32")]
    for key in (KEY._replace(digest="0" * 16), *others):
        write(tmp_path, key, CODE)
    left, fresh = tmp_path / "another_float32.1-00.tmp", tmp_path / f"{KEY.part}.2-00.tmp"
    left.touch()
    fresh.touch()
    os.utime(left, (1e9, 1e9))
    write(tmp_path, KEY, CODE)
    assert {path.name for path in tmp_path.iterdir()} == {key.file_name for key in (KEY, *others)} | {fresh.name}


def test_folders(monkeypatch, tmp_path):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    kernels = Path(store.__file__).parent.parent
    own = f"fastnet-{sha256(str(kernels).encode()).hexdigest()[:8]}"
    assert store.folders() == [kernels / "__pycache__", tmp_path / ".cache" / own]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert store.folders() == [kernels / "__pycache__", tmp_path / "elsewhere" / own]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # ignored, as the specification says
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert store.folders() == [kernels / "__pycache__"]  # no home is known: "~" is no folder
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    assert store.folders() == [tmp_path / "chosen" / own]


# ------------------------------------------------------------------------------------------------------------- targets

V3 = frozenset(target.LEVELS["x86_64"]["x86-64-v3"])
V4 = frozenset(target.LEVELS["x86_64"]["x86-64-v4"])


@pytest.fixture
def machine(monkeypatch):
    """Make this another machine: a function of its architecture and its features."""
    for name in (*target.SETTINGS, "FASTNET_TARGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(target, "settings", target.settings.__wrapped__)

    def become(architecture, features):
        monkeypatch.setattr(target, "architecture", lambda: architecture)
        monkeypatch.setattr(target, "host_features", lambda: frozenset(features))

    return become


@pytest.mark.parametrize(
    ("architecture", "features", "level"),
    [
        ("x86_64", V4 | {"amx-tile"}, "x86-64-v4"), ("x86_64", V4 - {"avx512vl"}, "x86-64-v3"),
        ("x86_64", V3, "x86-64-v3"), ("x86_64", V3 - {"fma"}, "native"), ("x86_64", (), "native"),
        ("aarch64", (), "generic"), ("riscv64", V4, "native"),
    ],
)  # fmt: skip
def test_the_best_level_that_the_cpu_has_is_chosen(architecture, features, level, machine):
    machine(architecture, features)
    assert target.level() == level


def test_the_level_can_be_named(machine, monkeypatch):
    machine("x86_64", V4)
    for name in ("native", "x86-64-v3", "x86-64-v4"):
        monkeypatch.setenv("FASTNET_TARGET", name)
        assert target.level() == name
    machine("x86_64", V3)
    with pytest.raises(ValueError, match=r"FASTNET_TARGET must be one of 'native', 'x86-64-v3' on this CPU, not 'x86-"):
        target.level()


@pytest.mark.parametrize("name", target.SETTINGS)
def test_a_setting_of_the_compiler_asks_for_code_of_its_own(name, machine, monkeypatch):
    machine("x86_64", V4)
    plain = target.native.__wrapped__()
    assert target.native.__wrapped__() == plain
    monkeypatch.setenv(name, "1")
    assert target.level() == "native"
    assert target.native.__wrapped__() != plain


def test_bounds_checks_that_are_off_are_no_setting(machine, monkeypatch):
    machine("x86_64", V4)
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "0")
    assert target.level() == "x86-64-v4"


def test_a_32_bit_python_is_refused():
    with pytest.raises(
        ImportError, match=r"^fastnet needs a 64-bit Python, but this one has 32 bits\. Install a 64-bit"
    ):
        target.refuse_32_bits(2**31 - 1)
    target.refuse_32_bits(sys.maxsize)


# ------------------------------------------------------------------------------------------------------------ a wheel


@pytest.mark.parametrize("cores", [1, 2, 4, 7, 64])
def test_every_part_is_compiled_once_for_each_level_and_dtype(cores, machine):
    machine("x86_64", ())  # whatever CPU builds the wheel
    found = [
        (task.level, task.dtype, part) for task in ahead.tasks(cores) for part in every_part()[task.first :: task.step]
    ]
    assert len(found) == len(set(found)) == 2 * 2 * len(every_part())
    assert len(list(ahead.tasks(cores))) >= min(cores, 4)


def test_no_levels_no_tasks(machine):
    machine("riscv64", ())
    assert not list(ahead.tasks(4))


@pytest.mark.jit
def test_what_is_compiled_for_a_level_gives_the_bits_of_what_is_compiled_for_this_machine(package):
    """Parts of one level beside parts of another, too."""
    if not target.levels():
        pytest.skip("no wheel has code for this architecture")
    folder, places = package
    shipped = folder / "fastnet" / "kernels" / "store"
    here = [level for level, needed in target.levels().items() if set(needed) <= target.host_features()]
    for level in here:
        ahead.compile_in_processes(shipped, 2, [ahead.Task(level, "float32", 0, 1)])
    results = {
        name: run_python(FIT, **places | {"FASTNET_TARGET": name}, without=target.SETTINGS)
        for name in (*here, "native")
    }
    assert len({bits for bits, *_ in results.values()}) == 1
    assert [numba for *_, numba in results.values()] == ["False"] * len(here) + ["True"]
    if len(here) > 1:
        names = sorted({path.name.split(".")[0] for path in shipped.iterdir()})
        digest = next(shipped.iterdir()).name.split(".")[2]
        for part in names[::2]:  # stored as if it were for the other level
            code = read(shipped, Key(part, here[1], digest))
            write(shipped, Key(part, here[0], digest), code)
        mixed = run_python(FIT, **places | {"FASTNET_TARGET": here[0]}, without=target.SETTINGS)
        assert mixed == results[here[0]]


# ----------------------------------------------------------------------------------------------------- whole processes

ROOT = Path(__file__).parent.parent.parent
PREDICT = """
import sys
from fastnet import Dense, Model
from fastnet.kernels.build import load
model = Model([Dense(1, "selu")], loss="mean_squared_error")
model.build(1)
model.layers[0].W = [[1.0]]
value = model.forward([[1.0]])[0, 0]
print(round(float(value), 4), *(load.counts[way] for way in ("shipped", "cached", "compiled")), "numba" in sys.modules)
"""
PARTS_OF_IT = 7
"""The entry point, the forward pass, the activation, and for rows and for blocks: loading, the product."""

FIT = """
import sys
from hashlib import sha256
import numpy as np
from fastnet import Adam, Dense, Model
rng = np.random.default_rng(0)
X, y = rng.standard_normal((300, 33)), rng.integers(0, 3, 300)
model = Model([Dense(70, "relu"), Dense(17, "gelu"), Dense(3, "softmax")], optimizer=Adam(), seed=0, l2=0.1)
model.fit(X, y, epochs=3, batch_size=65, threads=1)
bits = model.parameters.tobytes() + model.forward(X).tobytes() + model.forward(X[:3]).tobytes()
print(sha256(bits).hexdigest(), "numba" in sys.modules)
"""

COMPILED = ["1.0507", "0", "0", str(PARTS_OF_IT), "True"]
CACHED = ["1.0507", "0", str(PARTS_OF_IT), "0", "False"]
SHIPPED = ["1.0507", str(PARTS_OF_IT), "0", "0", "False"]

KILLED = """
import os
from pathlib import Path
replace, left = Path.replace, [{parts}]
def replace_or_die(self, other):
    left[0] -= 1
    if left[0] < 0:
        os._exit(7)
    return replace(self, other)
Path.replace = replace_or_die
"""


def run_python(code, *options, returns=0, without=(), cwd=None, **environment):
    command = [sys.executable, "-P", *options, "-c", code]  # -P: what is in the current folder does not count
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    for name in without:
        environment.pop(name, None)
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
    assert process.returncode == returns, process.stderr
    return process.stdout.split()


@pytest.fixture
def package(tmp_path):
    """Copy the package, to be edited; return its folder, and the environment that uses it and a cache of its own."""
    ignored = shutil.ignore_patterns("__pycache__", "store")
    shutil.copytree(ROOT / "fastnet", tmp_path / "fastnet", ignore=ignored)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_BOUNDSCHECK": "0", "FASTNET_TARGET": ""}
    return tmp_path, {"PYTHONPATH": str(tmp_path), **cache}


def edit_selu(folder, value="0.5"):
    """Make the activation another one."""
    helper = folder / "fastnet" / "kernels" / "activations.py"
    before = helper.read_text()
    helper.write_text(before.replace("SELU_SCALE = 1.0507009873554805", f"SELU_SCALE = {value}"))
    assert helper.read_text() != before


def cached_files(folder, ending="code"):
    return {path.name for path in (folder / "cache").glob(f"fastnet-*/*.{ending}")}


@pytest.mark.jit
def test_the_store_is_used_and_notices_an_edited_helper(package):
    folder, places = package
    assert run_python(PREDICT, **places) == COMPILED
    assert run_python(PREDICT, **places) == CACHED
    before = cached_files(folder)
    edit_selu(folder)
    assert run_python(PREDICT, **places) == ["0.5", *COMPILED[1:]]
    assert len(cached_files(folder)) == PARTS_OF_IT
    assert not cached_files(folder) & before
    # Other settings, other code: it must neither be served from, nor go to, the plain parts.
    for setting in ({"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "1"}):
        assert run_python(PREDICT, **places | setting) == ["0.5", *COMPILED[1:]]
    assert len(cached_files(folder)) == 3 * PARTS_OF_IT
    assert run_python(PREDICT, **places) == ["0.5", *CACHED[1:]]


@pytest.mark.jit
def test_damaged_files_are_compiled_anew_and_mended(package):
    folder, places = package
    run_python(PREDICT, **places)
    files = sorted((folder / "cache").glob("fastnet-*/*.code"))
    whole = [file.read_bytes() for file in files]
    files[0].write_bytes(b"")
    files[1].write_bytes(whole[1][:-7])
    files[2].write_bytes(whole[3])
    files[3].write_bytes(whole[3][:400] + bytes([whole[3][400] ^ 1]) + whole[3][401:])
    files[4].unlink()
    files[4].mkdir()
    files[5].unlink()
    files[5].symlink_to(folder / "nowhere")
    assert run_python(PREDICT, **places) == ["1.0507", "0", "1", "6", "True"]
    assert run_python(PREDICT, **places) == CACHED
    assert all(file.is_file() for file in files)


@pytest.mark.jit
def test_a_process_that_is_killed_while_it_writes_leaves_whole_files(package):
    folder, places = package
    for parts in (0, 2, 1):
        run_python(KILLED.format(parts=parts) + PREDICT, **places, returns=7)
    assert len(cached_files(folder)) == 3
    assert len(cached_files(folder, "tmp")) == 3
    assert run_python(PREDICT, **places) == ["1.0507", "0", "3", "4", "True"]
    assert run_python(PREDICT, **places) == CACHED


@pytest.mark.jit
def test_what_a_wheel_brings_is_used_and_nothing_is_written(package):
    """Whatever compiled it: its files carry the digest of the sources alone."""
    folder, places = package
    level = target.level() if not target.settings() else target.NATIVE
    if level == target.NATIVE:
        pytest.skip("no wheel has code for this machine, as it is set")
    run_python(PREDICT, **places)
    shipped = folder / "fastnet" / "kernels" / "store"
    shipped.mkdir()
    digest = run_python("from fastnet.kernels.build.target import *; print(source_digest())", **places)[0]
    for path in (folder / "cache").glob("fastnet-*/*.code"):
        part, *rest = path.name.split(".")[:3]
        code = unpacked(path.read_bytes(), Key(part, *rest))
        assert code is not None
        write(shipped, Key(part, level, digest), code)
    shutil.rmtree(folder / "cache")
    assert run_python(PREDICT, **places) == SHIPPED
    assert not (folder / "cache").exists()
    assert run_python(PREDICT, **places | {"FASTNET_TARGET": "native"}) == COMPILED
    # Python that is started in a clone, whose sources are the same, finds the code of the wheel beside it on the path.
    clone = folder / "clone"
    shutil.copytree(folder / "fastnet", clone / "fastnet", ignore=shutil.ignore_patterns("__pycache__", "store"))
    assert run_python(PREDICT, **places | {"PYTHONPATH": os.pathsep.join(map(str, (clone, folder)))}) == SHIPPED
    # One damaged file, and what it holds is compiled; with other sources, everything is.
    next(shipped.glob("activate*")).write_bytes(b"")
    shutil.rmtree(folder / "cache")
    assert run_python(PREDICT, **places) == ["1.0507", "6", "0", "1", "True"]
    edit_selu(folder)
    assert run_python(PREDICT, **places) == ["0.5", *COMPILED[1:]]


@pytest.mark.jit
@pytest.mark.parametrize("option", ["-O", "-OO", "-I"])
def test_options_of_python_change_nothing(option, package):
    folder, places = package
    path = f"import sys; sys.path.insert(0, {str(folder)!r})\n"  # -I ignores PYTHONPATH
    assert run_python(path + PREDICT, option, **places) == COMPILED
    assert run_python(path + PREDICT, **places) == CACHED


@pytest.mark.jit
def test_sources_in_a_zip_are_compiled_once_and_those_of_the_next_version_anew(package):
    folder, places = package
    places = places | {"PYTHONPATH": str(folder / "package.zip")}
    for value in ("1.0507", "0.5"):
        if value == "0.5":
            edit_selu(folder)
        shutil.make_archive(str(folder / "package"), "zip", folder, "fastnet")
        assert run_python(PREDICT, **places) == [value, *COMPILED[1:]]
        assert run_python(PREDICT, **places) == [value, *CACHED[1:]]


@pytest.mark.jit
def test_so_are_those_of_which_there_is_bytecode_alone(package):
    folder, places = package
    sources = list((folder / "fastnet").rglob("*.py"))
    for value in ("1.0507", "0.5"):
        if value == "0.5":
            edit_selu(folder)
        before = {path: path.read_bytes() for path in sources}
        run_python("import compileall, sys; assert compileall.compile_dir('fastnet', legacy=True, quiet=1)", cwd=folder)
        for path in sources:
            path.unlink()
        assert run_python(PREDICT, **places) == [value, *COMPILED[1:]]
        assert run_python(PREDICT, **places) == [value, *CACHED[1:]]
        for path, content in before.items():
            path.write_bytes(content)


def test_bytecode_beside_its_source_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "files", lambda package: tmp_path)
    (tmp_path / "a.py").write_text("x")
    digest = target.source_digest.__wrapped__()
    (tmp_path / "a.pyc").write_text("y")
    assert target.source_digest.__wrapped__() == digest
    (tmp_path / "a.py").unlink()
    assert target.source_digest.__wrapped__() not in (digest, None)


@pytest.mark.jit
def test_without_a_home_and_with_read_only_sources_nothing_is_stored_and_all_works(package):
    folder, places = package
    blocker = folder / "fastnet" / "kernels" / "__pycache__"
    blocker.touch()  # which no one, root included, can put a file into
    nobody = f"import os; os.path.expanduser = lambda path: path\nos.chdir({str(folder)!r})\n"
    del places["NUMBA_CACHE_DIR"]
    without = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    for _ in range(2):
        assert run_python(nobody + PREDICT, "-B", **places, without=without) == COMPILED
    assert {path.name for path in folder.iterdir()} == {"fastnet"}


@pytest.mark.jit
@pytest.mark.parametrize("cache", ["cache", ""])
def test_in_a_deleted_working_directory(cache, package, tmp_path):
    """A relative cache folder then cannot be made."""
    folder, places = package
    places["NUMBA_CACHE_DIR"] = cache or str(folder / "cache")
    gone = str(folder / "gone")
    gone = f"import os; os.mkdir({gone!r}); os.chdir({gone!r}); os.rmdir({gone!r})\n"
    assert run_python(gone + PREDICT, **places) == COMPILED
    if not cache:
        assert run_python(gone + PREDICT, **places) == CACHED


@pytest.mark.jit
def test_two_processes_at_once(package):
    _, places = package
    environment = {**os.environ, **places}
    command = [sys.executable, "-P", "-c", PREDICT]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0].split() for process in started]
    assert [words[0] for words in printed] == ["1.0507", "1.0507"]
    assert run_python(PREDICT, **places) == CACHED


THREADS = """
import sys, threading
import numpy as np
from fastnet import Dense, Model
sys.setswitchinterval(1e-5)
model = Model([Dense(7, "relu"), Dense(1, "sigmoid")], seed=0)
model.build(3)
X, found, start = np.ones((2, 3), np.float32), [], threading.Barrier(8)
def predict():
    start.wait()
    for _ in range(300):
        found.append(model.forward(X).tobytes())
threads = [threading.Thread(target=predict) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), len(set(found)))
"""


@pytest.mark.jit
def test_threads_that_make_the_first_predictions_at_once(package):
    _, places = package
    for _ in range(4):
        assert run_python(THREADS, **places) == ["2400", "1"]


EDITED_MEANWHILE = """
import pathlib, sys
from fastnet import Dense, Model
from fastnet.kernels.build.target import source_digest
source_digest()
helper = pathlib.Path(sys.argv[1])
helper.write_text(helper.read_text().replace("SELU_SCALE = 1.0507009873554805", "SELU_SCALE = 0.5"))
"""


@pytest.mark.jit
def test_what_was_edited_while_a_process_ran_is_not_stored_as_what_it_was(package):
    folder, places = package
    helper = folder / "fastnet" / "kernels" / "activations.py"
    before = helper.read_text()
    code = f"import sys; sys.argv = ['', {str(helper)!r}]\n{EDITED_MEANWHILE}{PREDICT}"
    assert run_python(code, "-B", **places)[0] == "0.5"
    helper.write_text(before)
    assert run_python(PREDICT, "-B", **places) == COMPILED


@pytest.mark.jit
@pytest.mark.parametrize(
    "code",
    [
        "from numba.core import config; config.BOUNDSCHECK = 1\n",
        "from fastnet.kernels.build import target; target.settings()\n"
        "import os; os.environ['NUMBA_BOUNDSCHECK'] = '1'\n",
    ],
)
def test_what_is_compiled_with_settings_that_its_name_does_not_tell_is_not_stored(code, package):
    folder, places = package
    assert run_python(code + PREDICT, **places, without=["NUMBA_BOUNDSCHECK"])[0] == "1.0507"
    assert not cached_files(folder)


@pytest.mark.jit
def test_an_object_without_the_function_it_names_is_refused():
    load.address_of("signs", np.dtype("float32"))
    found = load.stored("signs", np.dtype("float32"))
    with pytest.raises(ImportError, match="The machine code of '_nothing' does not hold that function"):
        machine_code.load(found.code._replace(symbol="_nothing"))


@pytest.mark.jit
def test_sources_that_cannot_be_read_are_compiled_and_not_stored(monkeypatch, tmp_path):
    """As in a program that was frozen: nothing says from which sources the code is."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(load, "source_digest", lambda: None)
    monkeypatch.setattr(load, "_addresses", {})
    before = load.counts[load.COMPILED]
    load.address_of("signs", np.dtype("float32"))
    assert load.counts[load.COMPILED] == before + 1
    assert not list(tmp_path.iterdir())


def test_no_sources_no_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "files", lambda package: tmp_path / "not unpacked")
    assert target.source_digest.__wrapped__() is None
    monkeypatch.setattr(target, "files", lambda package: tmp_path)
    assert target.source_digest.__wrapped__() is None
    (tmp_path / "ir").mkdir()
    (tmp_path / "ir" / "a.py").write_text("x")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "b.py").write_text("x")
    (tmp_path / "ir" / ".#a.py").symlink_to("an editor's lock")
    first = target.source_digest.__wrapped__()
    (tmp_path / "ir" / "a.py").rename(tmp_path / "a.py")
    assert first != target.source_digest.__wrapped__() is not None


@pytest.mark.parametrize("numba", [None, "elsewhere/numba/__init__.py"])
def test_what_a_numba_of_no_known_version_compiles_is_not_stored(numba, monkeypatch):
    monkeypatch.setattr(target, "find_spec", lambda name: numba and type("Spec", (), {"origin": numba}))
    assert target.native.__wrapped__() is None


def test_another_version_of_numba_stores_beside_that_of_the_first(monkeypatch, tmp_path):
    (tmp_path / "_version.py").write_text("0.67.0")
    first = target.native.__wrapped__()
    monkeypatch.setattr(target, "find_spec", lambda name: type("Spec", (), {"origin": str(tmp_path / "__init__.py")}))
    assert first != target.native.__wrapped__() is not None


def test_what_a_call_cannot_do_is_an_index_error():
    if not target.JIT_DISABLED and not os.environ.get("NUMBA_BOUNDSCHECK"):
        pytest.skip("bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
    from fastnet import Dense, Model

    model = Model([Dense(2)], seed=0)
    model.build(3)
    model.forward(np.zeros((1, 3)))
    model._predictor.few.plan.layers["A"] = 10**6
    with pytest.raises(IndexError):
        model.forward(np.zeros((1, 3)))
