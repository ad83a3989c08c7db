"""The loop of `fit`: call the compiled epochs, look at what came out, and report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastnet import checks
from fastnet.engine.divergence import bring_back, diverged, take_snapshot
from fastnet.engine.progress import Progress
from fastnet.engine.run import MOST_CHUNKS, Run
from fastnet.engine.watch import Watch
from fastnet.history import History
from fastnet.kernels.codes import PARAMETERS_NOT_FINITE

if TYPE_CHECKING:
    from fastnet.engine.checkpoints import Saver

SNAPSHOT_SECONDS = 0.5


def train_epochs(
    run: Run, progress: Progress, history: History, watch: Watch | None = None, savers: Sequence[Saver] = (),
    reason: str = "",
) -> None:  # fmt: skip
    """Run all epochs; update `run.parameters` in place, and fill `history` however it ends.

    A run that goes on where an earlier one stood may have a `reason` to end at once.

    Raises
    ------
    TrainingDivergedError
        If the cost or a parameter is not finite; the parameters are then the last finite ones.
    """
    start = time.perf_counter()
    snapshot = take_snapshot(run, start)
    start -= history.seconds
    history.stopped_reason = "interrupted"
    try:
        while not run.done and not reason:
            if run.go_on_to_next_part():
                older, snapshot = snapshot, take_snapshot(run, time.perf_counter())
                older.drop()
            finished = run.finished_epochs
            limits = [saver.chunks_until_due(run) for saver in savers]
            run.advance(min([*limits, run.chunks_left_in_part if watch else MOST_CHUNKS]))
            now = time.perf_counter()
            if watch is None:
                history.cost += run.costs_of(finished, run.finished_epochs)
            if run.status:
                history.stopped_reason = "diverged"
                raise diverged(run, snapshot)
            outdated = now - snapshot.taken_at > SNAPSHOT_SECONDS and run.ranks is None
            if watch is not None and run.finished_epochs > finished:
                reason = watch.after_epoch()
                outdated |= watch.changed_something
                if watch.changed_something:
                    checks.parameters(run.parameters, "non-finite {} left by a callback")
                    run.state.factor(run.network, run.parameters)
            if outdated:
                older, snapshot = snapshot, take_snapshot(run, now)  # so that Ctrl-C never leads to dropping one twice
                older.drop()
            history.seconds = now - start
            for saver in savers:
                if saver.is_due(run, reason):
                    saver.save(run, history, watch, reason)
            progress.update(history, *run.place_in_epoch, now - start)
        history.stopped_reason = reason or "epochs"
        if watch is not None:
            watch.finish()
    except BaseException:  # Ctrl-C, or what the handler of another signal raises
        if run.status == PARAMETERS_NOT_FINITE:  # it came during the call in which the run diverged
            bring_back(run, snapshot)
        raise
    finally:
        snapshot.drop()
        history.seconds = time.perf_counter() - start
        progress.close(history, history.seconds)
