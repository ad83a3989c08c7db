"""Where a fit stands, written to files while it goes on, and taken up again to the bit.

A checkpoint is a file of the network (`files/network.py`) and beside it: the text "fit", an object of JSON, with what
must be the same when the fit goes on, and the states of its callbacks; and arrays, of the history, of the sums over the
running epoch, and, within an epoch, of the order of its examples and of its outputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.callbacks import AnyCallback, Callback, Checkpoint, TimeLimit
from fastnet.engine.examples import FitData
from fastnet.engine.parts import first_of
from fastnet.engine.ranks import Ranks
from fastnet.engine.run import MOST_CHUNKS, MOST_EXAMPLES, Run
from fastnet.engine.watch import Watch
from fastnet.errors import FileFormatError, is_of_a_handler, may_get_lost
from fastnet.files import network, tensors
from fastnet.history import History
from fastnet.optimizers import Optimizer
from fastnet.schedules import innermost

FIT = "fit"
SUMS = ("batch_cost", "batch_penalty", "batch_weight", "epoch_cost", "epoch_penalty", "epoch_weight")
"""The fields of a run's progress that are sums over examples."""

FILE_NAME = re.compile(r"checkpoint-(\d{8,})\.fastnet")


Saved = tuple[dict[str, np.ndarray], dict[str, str]]
"""Arrays and texts of a file, by name."""


class FitSettings(NamedTuple):
    """What a fit has, and must have again to go on: numbers, names, and the digest of its data.

    `optimizer` is a text of the one that it begins with.
    """

    optimizer: str
    batch_size: int
    shuffle: bool
    metrics: tuple[str, ...]
    callbacks: tuple[str, ...]
    label_smoothing: float
    data: str

    def of_all(self, ranks: Ranks, wanted: Sequence[Checkpoint]) -> FitSettings:
        """Return those of a fit on several ranks, of which these are one's; ValueError for checkpoints in an epoch."""
        if any(each.batches is not None for each in wanted):
            raise ValueError("Checkpoint(batches=...) is for a fit without other ranks. Leave it out: each epoch, say.")
        digests = ranks.gathered(np.frombuffer(bytes.fromhex(self.data), np.uint8)[np.newaxis])
        (batch_size,) = ranks.sums([self.batch_size])
        return self._replace(
            batch_size=min(int(batch_size), MOST_EXAMPLES), data=hashlib.sha256(digests.tobytes()).hexdigest()
        )

    def check(self, fit: Mapping[str, Any], epochs: int) -> None:
        """Raise ValueError if another fit, which is to go on as this one, had others, or has done more epochs."""
        for name, value in self._asdict().items():
            before = tuple(fit[name]) if isinstance(value, tuple) else fit[name]
            if before != value:
                remedy = "Pass the same, or leave resume out to begin anew"
                had = f"{name}={before!r}, but this one has {value!r}"
                if name == "data":
                    had = "other examples: X, y, weights or those held out differ"
                if name == "optimizer":
                    had = f"the optimizer {before}, but this one has {value}"
                    remedy += "; to train on with another, take the model by fastnet.load(path), and set its optimizer"
                raise ValueError(f"resume: the fit that would go on had {had}. {remedy}.")
        if (fit["epoch"], fit["example"]) > (epochs, 0):
            begun = fit["epoch"] + (fit["example"] > 0)
            raise ValueError(
                f"resume: the fit that would go on is in its epoch {begun} already, but epochs={epochs}. Pass "
                f"epochs={begun} or more, or leave resume out to begin anew."
            )


def fingerprint(examples: FitData) -> str:
    """Return a digest of all examples that a fit was given, with their weights; of a stream, of its first block."""
    found = hashlib.sha256(repr((examples.share, examples.last)).encode())
    training, held_out = (data and first_of(data) for data in (examples.training, examples.held_out))
    arrays: list[Any] = [*training]
    if held_out is not None:
        arrays += held_out[1:] if examples.share else held_out  # X is the same, to be divided
    for array in arrays:
        if array is not None:
            found.update(f"{array.dtype}{array.shape}".encode())
            for rows in checks.slabs(array):
                found.update(np.ascontiguousarray(array[rows]).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def text_of(optimizer: Optimizer) -> str:
    """Return how an optimizer is known to a file: as it is printed, but of a function as learning rate its name."""
    rate = innermost(optimizer.learning_rate)
    name = getattr(rate, "__qualname__", None)
    return repr(optimizer) if name is None else repr(optimizer).replace(repr(rate), name)


def names_of(callbacks: tuple[AnyCallback, ...]) -> tuple[str, ...]:
    """Return how callbacks are known to a file: a class by its name."""
    return tuple(type(each).__name__ if isinstance(each, Callback) else "function" for each in callbacks)


# ---------------------------------------------------------------------------------------------------------- writing


class Saver:
    """Writes the checkpoints of one fit, as the settings of a `Checkpoint` say.

    `settings` are what must be the same when the fit goes on; `saved` returns arrays and texts of the network, after so
    many epochs. Makes the folder: OSError if that cannot be, or nothing can be written there; TypeError if no file can
    hold the network. Of the files that are there, those of other fits stay: all, unless this one goes on from that
    folder or a file in it, `came_from`.
    """

    def __init__(
        self, checkpoint: Checkpoint, settings: FitSettings, saved: Callable[[int], Saved], came_from: Any
    ) -> None:
        self.checkpoint, self.settings, self.saved = checkpoint, settings, saved
        saved(0)  # what no file can hold is said now, not after an epoch
        checkpoint.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(checkpoint.folder, os.W_OK | os.X_OK):
            raise PermissionError(f"Checkpoint cannot write to {str(checkpoint.folder)!r}. Pass another folder.")
        self.not_before = 0.0
        """The time before which only the last checkpoint is written, by `time.perf_counter`."""
        self.number = max((number for number, _ in numbered(checkpoint.folder)), default=0)
        source = None if came_from is None else os.path.realpath(came_from)
        goes_on = source is not None and os.path.realpath(checkpoint.folder) in (source, os.path.dirname(source))
        self.first_number = 0 if goes_on else self.number + 1
        """That of the oldest file that is this fit's, to be deleted one day."""

    def chunks_until_due(self, run: Run) -> int:
        """Return how many chunks there are up to the next checkpoint that may be written; MOST_CHUNKS if not yet."""
        if time.perf_counter() < self.not_before:
            return MOST_CHUNKS
        epoch, example, batches = run.finished_epochs, run.finished_examples, self.checkpoint.batches
        end = (epoch // self.checkpoint.every + 1) * self.checkpoint.every, 0
        if batches is not None:
            next_one = (example // (batches * run.batch_size) + 1) * batches * run.batch_size
            end = (epoch, next_one) if next_one < run.m else (epoch + 1, 0)
        return run.chunks_before(*end) - run.chunks_before(epoch, example)

    def is_due(self, run: Run, reason: str) -> bool:
        """Return whether a checkpoint is to be written now, where a call of the kernel has just ended."""
        epoch, example, batches = run.finished_epochs, run.finished_examples, self.checkpoint.batches
        if reason or run.done:
            return True
        if run.progress["batches"][0]:  # of an epoch of several ranks
            return False
        if time.perf_counter() < self.not_before:
            return False
        if example == 0:
            return batches is not None or epoch % self.checkpoint.every == 0
        return batches is not None and example % (batches * run.batch_size) == 0

    def save(self, run: Run, history: History, watch: Watch | None, reason: str) -> None:
        """Write a checkpoint, and delete those that are no longer kept; a warning if that cannot be done."""
        start = time.perf_counter()
        callbacks = watch.callbacks if watch else ()
        states = [callback.state() if isinstance(callback, Callback) else {} for callback in callbacks]
        arrays, texts = self.saved(run.first_epoch + run.finished_epochs)
        arrays |= {f"history.{name}": np.array(values) for name, values in series_of(history).items()}
        arrays["progress"] = np.array([run.progress[name][0] for name in SUMS])
        if run.finished_examples:
            if run.course.shuffle:
                arrays["order"] = run.examples.order
            if run.examples.outputs.size:
                arrays["outputs"] = run.examples.outputs
        described = []
        for index, state in enumerate(states):
            taken = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
            arrays |= {f"callbacks.{index}.{name}": array for name, array in taken.items()}
            described.append({name: value for name, value in state.items() if name not in taken})
        text = self.settings._asdict() | {
            "first_epoch": run.first_epoch, "epoch": run.finished_epochs, "example": run.finished_examples,
            "reason": reason, "seconds": [history.seconds, history.compile_seconds], "states": described,
        }  # fmt: skip
        texts[FIT] = json.dumps(text, separators=(",", ":"), allow_nan=False)
        folder = self.checkpoint.folder
        try:
            self.number += 1
            tensors.write(folder / f"checkpoint-{self.number:08}.fastnet", arrays, texts)
            for number, path in numbered(folder):
                if self.first_number <= number <= self.number - self.checkpoint.keep:
                    path.unlink(missing_ok=True)
        except OSError as error:
            if is_of_a_handler(error):
                raise
            with may_get_lost():
                warnings.warn(f"A checkpoint could not be written, and training goes on: {error}", stacklevel=7)
        end, share = time.perf_counter(), self.checkpoint.most_time
        self.not_before = end + (end - start) * (1 - share) / share


def series_of(history: History) -> dict[str, list[float]]:
    """Return the lists of a history by name."""
    return {"cost": history.cost, "val_cost": history.val_cost, **history.metrics}


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints in a folder with their numbers, the newest last."""
    matches = filter(None, map(FILE_NAME.fullmatch, os.listdir(folder)))
    return sorted((int(match[1]), folder / match[0]) for match in matches)


# ---------------------------------------------------------------------------------------------------------- going on


class Resumed(NamedTuple):
    """Where an earlier fit stood: its network, the text FIT, and the arrays beside those of the network."""

    saved: network.SavedNetwork
    fit: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def restore(self, run: Run, history: History, watch: Watch | None) -> str:
        """Bring run, history and callbacks to where they stood; return why the fit was to end, or "".

        The network has been restored by now. FileFormatError if what the file says cannot be.
        """
        epoch, example, floats = self.fit["epoch"], self.fit["example"], np.dtype(np.float64)
        if example and (example >= run.m or example % run.batch_size):
            raise FileFormatError(f"it stands at example {example} of epoch {epoch}, where no batch begins")
        validated = watch is not None and watch.validation is not None
        for name, values in series_of(history).items():
            n = epoch if validated or not name.startswith("val_") else 0
            values.extend(network.array_of(self.arrays, f"history.{name}", (n,), floats).tolist())
        history.seconds, history.compile_seconds = self.fit["seconds"]
        run.progress["epoch"], run.progress["example"] = epoch, example
        sums = network.array_of(self.arrays, "progress", (len(SUMS),), floats)
        network.refuse_not_finite({"progress": sums}, {})
        for name, value in zip(SUMS, sums, strict=True):
            run.progress[name] = value
        if example:
            if run.course.shuffle:
                run.examples.order[:] = self._order(run.m)
            if run.examples.outputs.size:
                outputs = run.examples.outputs
                outputs[:] = network.array_of(self.arrays, "outputs", outputs.shape, outputs.dtype)
        for index, callback in enumerate(watch.callbacks if watch else ()):
            if isinstance(callback, Callback):
                self._restore_callback(callback, index)
        if self.arrays:
            raise FileFormatError(f"it has {', '.join(map(repr, self.arrays))}, which this fit has not")
        reason: str = self.fit["reason"]
        return "" if reason == TimeLimit.reason else reason  # there is more time now

    def _order(self, m: int) -> np.ndarray:
        """Return the order of the examples of the running epoch; FileFormatError if it is no permutation."""
        order = network.array_of(self.arrays, "order", (m,), np.dtype(np.int64))
        if not np.array_equal(np.sort(order), np.arange(m)):
            raise FileFormatError("its order is no permutation of the examples")
        return order

    def _restore_callback(self, callback: Callback, index: int) -> None:
        prefix = f"callbacks.{index}."
        names = [name for name in self.arrays if name.startswith(prefix)]
        state = self.fit["states"][index] | {name.removeprefix(prefix): self.arrays.pop(name) for name in names}
        try:
            callback.restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"the state of its {type(callback).__name__} is refused: {error!r}") from None


FORM: dict[str, type] = {
    "optimizer": str,
    "batch_size": int, "shuffle": bool, "metrics": list, "callbacks": list, "label_smoothing": float,
    "data": str,
    "first_epoch": int, "epoch": int, "example": int, "reason": str, "seconds": list, "states": list,
}  # fmt: skip
"""The entries of the text FIT and their types in JSON."""


def check_form(fit: dict[str, Any]) -> None:
    """Raise FileFormatError unless the text FIT has the form of one."""
    if fit.keys() != FORM.keys():
        raise FileFormatError(f"its {FIT} must have {', '.join(FORM)}")
    integers = [value for name, value in fit.items() if FORM[name] is int]
    good = all(type(value) is FORM[name] for name, value in fit.items()) and tensors.are_sizes(integers)
    good = good and all(isinstance(each, str) for name in ("metrics", "callbacks") for each in fit[name])
    good = good and len(fit["seconds"]) == 2 and all(isinstance(each, float) for each in fit["seconds"])
    good = (
        good and len(fit["states"]) == len(fit["callbacks"]) and all(isinstance(each, dict) for each in fit["states"])
    )
    if not good:
        raise FileFormatError(f"its {FIT} has an entry of another type than it must have")


def _read_file(path: Path, functions: Mapping[str, Any]) -> Resumed:
    contents = tensors.read(path)
    try:
        network.check_kind(contents, network.CHECKPOINT)
        saved = network.read(contents, functions, check_finite=True)
        fit = network.object_of(contents, FIT)
        check_form(fit)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} cannot be read: {error}.") from None
    return Resumed(saved, fit, contents.arrays)


def read(path: Any, functions: Mapping[str, Any]) -> Resumed:
    """Return what a checkpoint holds, or the newest that is whole of a folder of them, with a warning of others.

    Raises
    ------
    FileFormatError
        If a file is no checkpoint, or none of a folder is whole.
    OSError
        If it cannot be read; FileNotFoundError if there is none.
    """
    path = Path(checks.path(path, "resume"))
    if not path.is_dir():
        return _read_file(path, functions)
    listed = numbered(path)
    if not listed:
        raise FileNotFoundError(
            f"There is no checkpoint in {str(path)!r}, whose name would be checkpoint-00000001.fastnet."
        )
    damaged: FileFormatError | FileNotFoundError
    for _, each in reversed(listed):
        try:
            return _read_file(each, functions)
        # Not found: a link that leads nowhere, or another fit deletes its oldest.
        except (FileFormatError, FileNotFoundError) as error:
            with may_get_lost():
                warnings.warn(f"A checkpoint is skipped: {error}", stacklevel=5)
            damaged = error
    raise damaged
