"""When training diverges: say where, and bring the last finite parameters back."""

from typing import NamedTuple

import numpy as np

from fastnet import checks
from fastnet.engine.memory import copy_of, give_back
from fastnet.engine.run import Run
from fastnet.errors import TrainingDivergedError
from fastnet.kernels.codes import COST_NOT_FINITE, PARAMETERS_NOT_FINITE


class Snapshot(NamedTuple):
    """Where a run stood: enough to repeat it from there, bit by bit. To be dropped when it is no longer needed."""

    parameters: np.ndarray
    progress: np.ndarray
    gradient: np.ndarray
    moments: np.ndarray
    powers: np.ndarray
    taken_at: float

    def drop(self) -> None:
        """Give its memory back."""
        for array in (self.parameters, self.gradient, self.moments):
            give_back(array)


def take_snapshot(run: Run, now: float) -> Snapshot:
    """Copy what training changes; a few times a second at most, so that it costs nothing beside the work."""
    return Snapshot(
        parameters=copy_of(run.parameters),
        progress=run.progress.copy(),
        gradient=copy_of(run.gradient),
        moments=copy_of(run.state.moments),
        powers=run.state.powers.copy(),
        taken_at=now,
    )


def diverged(run: Run, snapshot: Snapshot) -> TrainingDivergedError:
    """Bring the last finite parameters back and return the error that says where the run diverged.

    ValueError if it is because the examples have changed.
    """
    epoch, batch = run.finished_epochs, run.finished_batches
    if run.status == COST_NOT_FINITE:
        found = None if run.progress["reduced"][0] else first_layer_not_finite(run)
        layer, kind = len(run.network.units) - 1 if found is None else found, "activation"
        where = f"layer {layer} is the first with a non-finite value in its output"
        if found is None:
            of_penalty = not np.isfinite(run.progress["batch_penalty"][0])
            kind = "parameter" if of_penalty else "activation"
            what = "penalty on the weights" if of_penalty else f"cost of layer {layer}"
            what += ", times sample_weight," if run.examples.weights.size and not of_penalty else ""
            where = f"the outputs of all layers are finite, but the {what} is not"
    else:
        assert run.status == PARAMETERS_NOT_FINITE
        layer, kind = first_layer_with_bad_parameters(run)
        what = {"gradient": "its gradient, or the square of that", "parameter": "its W or b"}[kind]
        where = f"layer {layer} is the first with a non-finite value in {what}"
        bring_back(run, snapshot)
    for name, array in (("X", run.examples.X), ("y", run.examples.targets)):
        came = "non-finite {}, written there during the fit"
        checks.refuse_not_finite(array, name, came, "Let callbacks, and other threads, change copies.")
    return TrainingDivergedError(
        f"Training diverged in epoch {epoch + 1} of {run.course.epochs}, batch {batch + 1}: {where}. The model keeps "
        f"the last finite parameters. Lower the learning rate ({run.job['learning_rate'][0]:g}), or bring the features "
        "of X, and targets that are not 0 or 1, to one scale.",
        epoch=epoch + 1,
        batch=batch + 1,
        layer=layer,
        kind=kind,
    )


def bring_back(run: Run, snapshot: Snapshot) -> None:
    """Go back to the snapshot, and repeat the run from there up to the batch whose update made a parameter non-finite.

    Training gives the same bits again, so keeping a copy now and then is enough to recover any moment since. If Ctrl-C
    comes in between, the model holds parameters of an earlier moment, finite too. With other ranks, which would have to
    repeat it too, there is a copy of each moment.
    """
    if run.before_step:
        run.parameters[:], run.state.moments[:] = run.before_step
        return
    until_chunk = run.chunks_before(run.finished_epochs, run.start_of_batch)
    run.go_on_alone()
    go_back(run, snapshot)
    while (chunks := until_chunk - run.chunks_before(run.finished_epochs, run.finished_examples)) > 0:
        run.work(min(chunks, run.chunks_in_a_call))
        if run.status:  # sooner than the first time: the examples have changed
            go_back(run, snapshot)
            return


def go_back(run: Run, snapshot: Snapshot) -> None:
    """Let a run be where it was when the snapshot was taken."""
    run.parameters[:] = snapshot.parameters
    run.progress[:] = snapshot.progress
    run.progress["loaded"] = run.rates_set = 0
    run.draw_order()
    run.gradient[:] = snapshot.gradient
    run.state.moments[:] = snapshot.moments
    run.state.powers[:] = snapshot.powers


def first_layer_not_finite(run: Run) -> int | None:
    """Return the first layer, from 1, with a non-finite activation in the chunk that was not finished, if any."""
    start = run.finished_examples
    stop = min(run.m, run.start_of_batch + run.batch_size, start + run.chunk)
    for layer in range(1, len(run.network.units)):
        if not np.isfinite(run.activations(layer, stop - start)).all():
            return layer
    return None


def first_layer_with_bad_parameters(run: Run) -> tuple[int, str]:
    """Return the first layer, from 1, that an update has left with a non-finite value, and what that value is.

    "gradient", if that was not finite itself or is not when squared, in a running mean; else "parameter": W or b.
    Only there the gradient is sure to be of this batch: of a large network it is not stored.
    """
    parameters, gradient = np.isfinite(run.parameters), np.isfinite(run.gradient)
    moments, _ = run.state.divided(len(parameters), run.network.n_factored)
    moments = np.isfinite(moments).all(axis=0)
    finite = {"gradient": moments & (gradient | parameters), "parameter": parameters}
    kind = "parameter" if finite["gradient"].all() else "gradient"
    return layer_of(run, int(np.argmin(finite[kind]))), kind


def layer_of(run: Run, index: int) -> int:
    """Return the layer, from 1, of a parameter."""
    ends = [*run.plan.layers["W"][2:].tolist(), len(run.parameters)]
    return 1 + next(layer for layer, end in enumerate(ends) if index < end)
