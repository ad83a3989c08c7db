"""Reading ahead: whatever befalls the thread that reads, a fit on a stream ends well."""

import pytest
from scenes import run_scene

pytestmark = pytest.mark.jit  # not about kernels

STREAM = """
from fastnet.engine import parts, threads
parts.PART_BYTES = 1  # 1024 rows: the least that a part has
X, y = np.tile(X, (5, 1)), np.tile(y, 5)

class Blocks:
    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def __iter__(self):
        for start in range(0, len(X), 250):
            time.sleep(self.seconds)
            yield X[start : start + 250], y[start : start + 250]

def fitted(**settings):
    model = make()
    model.fit(Blocks(), epochs=2, batch_size=100, shuffle=False, **settings)
    return model

def in_memory():
    model = make()
    model.fit(X, y, epochs=2, batch_size=100, shuffle=False)
    return digest(model)
"""


def test_ctrl_c_at_any_moment_is_what_is_raised_and_leaves_nothing_behind():
    out = run_scene(
        STREAM
        + """
random.seed(0)
model, before = make(), _thread._count()
start = time.perf_counter()
fitted(validation_data=Blocks())
seconds = time.perf_counter() - start
for trial in range(40):
    timer = threading.Timer(random.uniform(0, seconds), os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        model.fit(Blocks(), epochs=2, batch_size=100, validation_data=Blocks())
        while timer.is_alive():
            time.sleep(0.001)
        time.sleep(0.001)
    except KeyboardInterrupt:
        pass
    timer.join()
    patience = time.monotonic() + 10
    while _thread._count() > before and time.monotonic() < patience:
        time.sleep(0.001)  # the last steps of a thread that has ended
    assert _thread._count() == before and not threads._reserved, (trial, _thread._count(), threads._reserved)
    assert model._parameters is None or np.isfinite(model.parameters).all()
print(digest(fitted()) == in_memory())
"""
    )
    assert out == "True\n"


@pytest.mark.parametrize("leave", ["go on", "sys.exit(0)"])
def test_a_forked_child_says_that_it_has_no_thread_to_read(leave):
    """It hung, for the thread that it waited for was the parent's."""
    out = run_scene(
        STREAM
        + f"""
def fork(model, epoch, logs):
    global pid
    if epoch == 0:
        pid = os.fork()
        if pid == 0 and {leave!r} != "go on":
            sys.exit(0)

try:
    make().fit(Blocks(0.002), epochs=2, callbacks=fork)
except BaseException as error:
    assert pid == 0
    print(type(error).__name__, error, threads._reserved, flush=True)
    fitted()
    os._exit(0)
assert pid
print(os.waitpid(pid, 0)[1])
""",
        timeout=60,
    )
    if leave == "go on":
        assert out.startswith("RuntimeError A fit on a stream cannot go on in a forked process, where no thread reads")
    else:
        assert out.startswith("SystemExit 0 {}")
    assert out.endswith("\n0\n")


def test_where_no_thread_can_be_had_the_fit_reads_itself():
    out = run_scene(
        STREAM
        + """
import atexit

def refuse(*arguments):
    raise RuntimeError("can't start new thread")

@atexit.register
def at_the_end():
    print(digest(fitted()) == expected_digest)

expected_digest = in_memory()
threads.start_new_thread = threading._start_new_thread = refuse
print(digest(fitted()) == expected_digest)
"""
    )
    assert out == "True\nTrue\n"


def test_gevent_reads_where_it_trains():
    pytest.importorskip("gevent")
    before = "from gevent import monkey\nmonkey.patch_all()\n"
    assert run_scene(STREAM + "print(digest(fitted()) == in_memory())", before=before) == "True\n"
