"""The loop of `fit`: call the compiled epochs, look at what came out, and report."""

import time

from fastnet.engine.divergence import bring_back, diverged, take_snapshot
from fastnet.engine.progress import Progress
from fastnet.engine.run import Run
from fastnet.engine.watch import Watch
from fastnet.history import History
from fastnet.kernels.codes import PARAMETERS_NOT_FINITE

SNAPSHOT_SECONDS = 0.5


def train_epochs(run: Run, progress: Progress, history: History, watch: Watch | None = None) -> None:
    """Run all epochs; update `run.parameters` in place, and fill `history` however it ends.

    Raises
    ------
    TrainingDivergedError
        If the cost or a parameter is not finite; the parameters are then the last finite ones.
    """
    start = time.perf_counter()
    snapshot = take_snapshot(run, start)
    history.stopped_reason = "interrupted"
    reason = ""
    try:
        while not run.done and not reason:
            finished = run.finished_epochs
            run.advance(to_end_of_epoch=watch is not None)
            now = time.perf_counter()
            if watch is None:
                history.cost += run.costs_of(finished, run.finished_epochs)
            if run.status:
                history.stopped_reason = "diverged"
                raise diverged(run, snapshot)
            outdated = now - snapshot.taken_at > SNAPSHOT_SECONDS
            if watch is not None and run.finished_epochs > finished:
                reason = watch.after_epoch()
                outdated |= watch.changed_something
            if outdated:
                older, snapshot = snapshot, take_snapshot(run, now)  # so that Ctrl-C never leads to dropping one twice
                older.drop()
            progress.update(history, run.finished_examples, run.m, now - start)
        if watch is not None:
            watch.finish()
        history.stopped_reason = reason or "epochs"
    except KeyboardInterrupt:
        if run.status == PARAMETERS_NOT_FINITE:  # it came during the call in which the run diverged
            bring_back(run, snapshot)
        raise
    finally:
        snapshot.drop()
        history.seconds = time.perf_counter() - start
        progress.close(history, history.seconds)
