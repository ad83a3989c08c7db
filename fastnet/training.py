"""The loop of `fit`: call the compiled epochs, report, and keep the last finite parameters if they diverge."""

import time
from typing import NamedTuple

import numpy as np

from fastnet.engine import Run
from fastnet.errors import TrainingDivergedError
from fastnet.history import History
from fastnet.kernels.codes import COST_NOT_FINITE, PARAMETERS_NOT_FINITE
from fastnet.progress import Progress

SNAPSHOT_SECONDS = 0.5


class Snapshot(NamedTuple):
    """Where a run stood: enough to repeat it from there, bit by bit."""

    parameters: np.ndarray
    position: np.ndarray
    totals: np.ndarray
    order: np.ndarray
    taken_at: float


def train(run: Run, progress: Progress, history: History) -> None:
    """Run all epochs; update `run.parameters` in place, and fill `history` however it ends.

    Raises
    ------
    TrainingDivergedError
        If the cost or a parameter is not finite; the parameters are then the last finite ones.
    """
    start = time.perf_counter()
    snapshot = take_snapshot(run, start)
    history.stopped_reason = "interrupted"
    try:
        while not run.done:
            run.advance()
            now = time.perf_counter()
            if run.status:
                history.stopped_reason = "diverged"
                raise diverged(run, snapshot)
            if now - snapshot.taken_at > SNAPSHOT_SECONDS:
                snapshot = take_snapshot(run, now)
            progress.update(run.costs[: run.finished_epochs].tolist(), run.finished_examples / run.m, now - start)
        history.stopped_reason = "epochs"
    finally:
        history.cost = run.costs[: run.finished_epochs].tolist()
        history.seconds = time.perf_counter() - start
        progress.close()


def take_snapshot(run: Run, now: float) -> Snapshot:
    """Copy what training changes; a few times a second at most, so that it costs nothing beside the work."""
    return Snapshot(run.parameters.copy(), run.position.copy(), run.totals.copy(), run.order.copy(), now)


def diverged(run: Run, snapshot: Snapshot) -> TrainingDivergedError:
    """Bring the last finite parameters back and return the error that says where the run diverged."""
    epoch, example = run.finished_epochs, run.finished_examples
    batch = example // run.batch_size
    if run.status == COST_NOT_FINITE:
        layer, what = run.first_layer_not_finite(), "output"
    else:
        assert run.status == PARAMETERS_NOT_FINITE
        layer, what = first_layer_with_bad_parameters(run), "W or b"
        repeat(run, snapshot, run.chunks_before(epoch, batch * run.batch_size))
    return TrainingDivergedError(
        f"Training diverged in epoch {epoch + 1} of {len(run.costs)}, batch {batch + 1}: layer {layer} is the first "
        f"with a non-finite value in its {what}. The model keeps the last finite parameters. Lower the learning rate "
        f"({run.learning_rate:g}), or bring the features of X to one scale.",
        epoch=epoch + 1,
        batch=batch + 1,
        layer=layer,
    )


def first_layer_with_bad_parameters(run: Run) -> int:
    """Return the first layer, from 1, whose W or b holds a non-finite value."""
    end = 0
    for layer, (n_prev, n) in enumerate(zip(run.network.units, run.network.units[1:], strict=False), start=1):
        begin, end = end, end + n * n_prev + n * run.network.use_bias[layer - 1]
        if not np.isfinite(run.parameters[begin:end]).all():
            return layer
    raise AssertionError("the kernel found a non-finite parameter that is not there")


def repeat(run: Run, snapshot: Snapshot, until_chunk: int) -> None:
    """Go back to the snapshot and repeat the run up to that chunk, counted from the start of the run.

    Training gives the same bits again, so keeping a copy now and then is enough to recover any moment since.
    """
    run.parameters[:] = snapshot.parameters
    run.position[:] = snapshot.position
    run.totals[:] = snapshot.totals
    run.order[:] = snapshot.order
    run.position[run.kernels.LOADED] = 0
    run.work(until_chunk - run.chunks_before(run.finished_epochs, run.finished_examples))
