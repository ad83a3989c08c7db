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
    gradient: np.ndarray
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
            progress.update(run.costs, run.finished_epochs, run.finished_examples / run.m, now - start)
        history.stopped_reason = "epochs"
    finally:
        history.cost = run.costs[: run.finished_epochs].tolist()
        history.seconds = time.perf_counter() - start
        progress.close()


def take_snapshot(run: Run, now: float) -> Snapshot:
    """Copy what training changes; a few times a second at most, so that it costs nothing beside the work."""
    return Snapshot(
        parameters=run.parameters.copy(),
        position=run.position.copy(),
        totals=run.totals.copy(),
        order=run.order.copy(),
        gradient=run.gradient.copy(),
        taken_at=now,
    )


def diverged(run: Run, snapshot: Snapshot) -> TrainingDivergedError:
    """Bring the last finite parameters back and return the error that says where the run diverged."""
    epoch, example = run.finished_epochs, run.finished_examples
    batch = example // run.batch_size
    if run.status == COST_NOT_FINITE:
        found = run.first_layer_not_finite()
        layer = len(run.network.units) - 1 if found is None else found
        where = f"layer {layer} is the first with a non-finite value in its output"
        if found is None:
            where = f"the outputs of all layers are finite, but the cost of layer {layer} is not"
    else:
        assert run.status == PARAMETERS_NOT_FINITE
        layer = run.first_layer_with_bad_parameters()
        where = f"layer {layer} is the first with a non-finite value in its W or b"
        repeat(run, snapshot, run.chunks_before(epoch, batch * run.batch_size))
    return TrainingDivergedError(
        f"Training diverged in epoch {epoch + 1} of {len(run.costs)}, batch {batch + 1}: {where}. The model keeps the "
        f"last finite parameters. Lower the learning rate ({run.learning_rate:g}), or bring the features of X, and "
        "targets that are not 0 or 1, to one scale.",
        epoch=epoch + 1,
        batch=batch + 1,
        layer=layer,
    )


def repeat(run: Run, snapshot: Snapshot, until_chunk: int) -> None:
    """Go back to the snapshot and repeat the run up to that chunk, counted from the start of the run.

    Training gives the same bits again, so keeping a copy now and then is enough to recover any moment since.
    """
    run.parameters[:] = snapshot.parameters
    run.position[:] = snapshot.position
    run.totals[:] = snapshot.totals
    run.order[:] = snapshot.order
    run.gradient[:] = snapshot.gradient
    run.position[run.kernels.LOADED] = 0
    run.work(until_chunk - run.chunks_before(run.finished_epochs, run.finished_examples))
