"""What several processes, *ranks*, say to each other that train one model, each with a shard of the examples.

All go through the same exchanges in the same order. Each of these begins with an *agreement*: a sum over the ranks of a
buffer whose length all know, and in which each rank has a place to say that it has failed. The steps of training are
such exchanges, with the gradient in the buffer; before all others it is zeros. So a rank on which anything is raised,
wherever that is, takes part in one agreement more, which is the next for the others whatever they are about, and says
so there; then all hear its message, and stop. What follows an agreement, within an exchange, cannot fail by itself.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from fastnet import words
from fastnet.engine.memory import aligned_zeros
from fastnet.engine.threads import available_cores, get_num_threads
from fastnet.errors import TrainingDivergedError

NUMBERS = 3
"""Of each rank at the end of the buffer: four integers of 16 bits for each, which float32 holds; and then its failures.
So sums of them are those of float64, whatever the dtype of the gradient."""

STEPS_BETWEEN_CHECKS = 1000
"""After so many, and after each epoch, the ranks check that they hold the same parameters."""

FIELDS = ("epoch", "batch", "layer", "kind")
"""Of a TrainingDivergedError."""


class Communicator(Protocol):
    """What connects ranks: MPI, or a class of a few lines for another transport.

    Each method is called by all ranks in the same order, in one thread each, with flat contiguous arrays of one length
    and dtype. What goes wrong is raised, on every rank, so that none waits for another for ever.
    """

    rank: int
    size: int

    def allreduce(self, array: np.ndarray) -> None:
        """Put the sum over all ranks in the place of an array of float32 or float64.

        To the bit the same on every rank and every time: added in the order of the ranks, say.
        """

    def bcast(self, array: np.ndarray, root: int) -> None:
        """Put the array of one rank, of any dtype, in the place of those of the others."""


class Ranks:
    """The ranks of a communicator during one fit: a context manager, which all of them enter and leave together.

    Whatever is raised within it on one rank is raised there, and a RuntimeError with its message on all others; a
    TrainingDivergedError is one everywhere. While ranks exchange something, what signals' handlers raise has to wait.
    """

    def __init__(self, communicator: Communicator, given: Any = None) -> None:
        self.communicator, self.rank, self.size = communicator, communicator.rank, communicator.size
        self.given = communicator if given is None else given
        """What the communicator was made of."""
        self.buffer = np.zeros(self.n_places)
        self.is_over = False
        """Whether no rank waits for this one any more."""
        self.depth = 0
        self.handlers: dict[int, tuple[Any, Any]] = {}
        self.pending: list[tuple[int, Any]] = []

    # ------------------------------------------------------------------------------------------ beginning and end

    def __enter__(self) -> Self:
        if id(self.given) in _in_use:
            raise RuntimeError(
                "fit was called by a callback, or in another thread, of a fit on the same ranks, whose messages would "
                "be mixed up. Pass another communicator: MPI.COMM_SELF to train on one rank alone."
            )
        self.depth += 1  # until the first exchange: the others would not be told of what is raised here
        if threading.current_thread() is threading.main_thread():
            for number in signal.valid_signals():
                handler = signal.getsignal(number)
                if callable(handler):
                    self.handlers[number] = handler, partial(self._on_signal, handler)
                    signal.signal(number, self.handlers[number][1])
        _in_use[id(self.given)] = self
        self.depth -= 1
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            with self._undisturbed():
                if error is None:
                    self.agree()  # nobody has failed after the last exchange either
                elif not self.is_over:
                    text = described(error)
                    self.buffer[:] = 0
                    self.places[self.rank, -1] = 1
                    self.communicator.allreduce(self.buffer)
                    self._stop(error, text)
        finally:
            _in_use.pop(id(self.given), None)
            for number, (handler, mine) in self.handlers.items():
                if signal.getsignal(number) is mine:
                    signal.signal(number, handler)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Let signals wait meanwhile. After an error here there are no more exchanges."""
        self.depth += 1
        try:
            yield
        except BaseException:
            self.is_over = True
            raise
        finally:
            self.depth -= 1
            while self.pending and not self.depth:
                number, frame = self.pending.pop(0)
                self.handlers[number][0](number, frame)

    def _on_signal(self, handler: Callable[[int, Any], Any], number: int, frame: Any) -> None:
        if self.depth or (frame and frame.f_code is Ranks.__exit__.__code__):  # where that begins
            self.pending.append((number, frame))
        else:
            handler(number, frame)

    def _stop(self, error: BaseException | None = None, text: str = "") -> None:
        """Raise what another rank has raised; or tell the others of an error of this one, by that text."""
        self.is_over = True
        root, text = self._first(text)
        if error is None:
            error = error_of(text, root, self.size)
            raise known_to_all(error)
        known_to_all(error).add_note(f"So it was on rank {self.rank} of {self.size}. All have stopped.")

    # -------------------------------------------------------------------------------------------------- exchanges

    @property
    def n_places(self) -> int:
        """How many numbers the places of all ranks have."""
        return self.size * (4 * NUMBERS + 1)

    @property
    def places(self) -> np.ndarray:
        """The end of the buffer, a row for each rank."""
        return self.buffer[len(self.buffer) - self.n_places :].reshape(self.size, -1)

    def use_buffer(self, n: int, dtype: np.dtype) -> np.ndarray:
        """Let all agreements from now on be about a vector of n numbers of a dtype, too, and return that."""
        buffer = aligned_zeros(n + self.n_places, dtype)
        with self._undisturbed():
            self.agree()
            self.buffer = buffer
        return buffer[:n]

    def add_up(self, *numbers: float) -> list[float]:
        """Add up the vector, and some numbers, over all ranks; return those. An agreement."""
        places = self.places
        with self._undisturbed():
            places[:] = 0
            places[self.rank, :-1] = np.array(numbers, np.float64).view(np.uint16)
            self.communicator.allreduce(self.buffer)
            if places[:, -1].any():
                self._stop()
        of_ranks = places[:, :-1].astype(np.uint16).view(np.float64)
        return [sum(column) for column in of_ranks.T.tolist()]

    def agree(self) -> None:
        """Go on if no rank has failed."""
        self.buffer[:] = 0
        self.add_up(*[0.0] * NUMBERS)

    def sums(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        """Return the sums over all ranks of some arrays of numbers, in float64."""
        found = [np.array(array, np.float64) for array in arrays]
        packed = np.concatenate([array.ravel() for array in found])
        with self._undisturbed():
            self.agree()
            self.communicator.allreduce(packed)
        ends = np.cumsum([array.size for array in found])[:-1]
        parts = np.split(packed, ends)
        return [part.reshape(array.shape) for part, array in zip(parts, found, strict=True)]

    def of_each(self, *numbers: float) -> np.ndarray:
        """Return some numbers of each rank: (size, n)."""
        table = np.zeros((self.size, len(numbers)))
        table[self.rank] = numbers
        return self.sums([table])[0]

    def take_from_first(self, *arrays: np.ndarray) -> None:
        """Put what arrays hold on rank 0 in the place of those of all others."""
        with self._undisturbed():
            self.agree()
            for array in arrays:
                self.communicator.bcast(array, 0)

    def first_text(self, text: str) -> str:
        """Return the text of the first rank that has one; "" if none has."""
        with self._undisturbed():
            self.agree()
            return self._first(text)[1]

    def _first(self, text: str) -> tuple[int, str]:
        data = np.frombuffer(text.encode(), np.uint8)
        lengths = np.zeros(self.size)
        lengths[self.rank] = len(data)
        self.communicator.allreduce(lengths)
        if not lengths.any():
            return 0, ""
        root = int(np.flatnonzero(lengths)[0])
        found = data.copy() if root == self.rank else np.empty(int(lengths[root]), np.uint8)
        self.communicator.bcast(found, root)
        return root, found.tobytes().decode()

    def gathered(self, array: np.ndarray) -> np.ndarray:
        """Return the rows of the arrays (m, n) of all ranks, in their order."""
        shapes = self.of_each(*array.shape).astype(int)
        pieces = [
            np.array(array, order="C") if rank == self.rank else np.empty(shape, array.dtype)
            for rank, shape in enumerate(shapes)
        ]
        with self._undisturbed():
            self.agree()
            for rank, piece in enumerate(pieces):
                self.communicator.bcast(piece.reshape(-1), rank)
        return np.concatenate([piece for piece in pieces if len(piece)] or pieces[:1])

    def check_same(self, parameters: np.ndarray) -> None:
        """Raise RuntimeError, on all ranks, unless they hold the same parameters, to the bit."""
        digests = self.of_each(zlib.crc32(parameters.view(np.uint8).data))[:, 0]
        others = np.flatnonzero(digests != digests[0])
        if len(others):
            self.is_over = True
            raise known_to_all(
                RuntimeError(
                    f"The parameters of rank {others[0]} of {self.size} are no longer those of rank 0. Let callbacks "
                    "do the same on all ranks, and have one version of fastnet on all machines."
                )
            )

    def check_text(self, text: str) -> None:
        """Raise ValueError where a text, on which a fit depends, is another than on rank 0."""
        of_first = self.first_text(text if self.rank == 0 else "")
        if text != of_first:
            raise ValueError(
                f"The fit of rank {self.rank} is another than that of rank 0. Let all ranks pass the same settings: "
                f"{text} here, {of_first} there."
            )
        self.agree()

    # ------------------------------------------------------------------------------------------ what a rank works with

    def cores(self) -> int:
        """Return how many threads this rank may have: those of its machine are shared out among the ranks on it.

        Of ranks that a launcher has bound to cores of their own, each has those.
        """
        mask = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        place = zlib.crc32(f"{platform.node()} {mask}".encode())
        here = int((self.of_each(place)[:, 0] == place).sum())
        return max(1, min(get_num_threads(), available_cores() // here))

    def key(self, key: int) -> int:
        """Return from what this rank draws what is random; rank 0 as alone."""
        return key if self.rank == 0 else int(np.random.default_rng((key, self.rank)).integers(2**62))


# ------------------------------------------------------------------------------------------------------------- errors


def described(error: BaseException) -> str:
    """Return the text by which other ranks are told of an error."""
    import json

    try:
        message = str(error)
    except Exception:  # of a class of somebody's; the others wait
        message = ""
    told: dict[str, Any] = {"kind": type(error).__name__, "message": message}
    if isinstance(error, TrainingDivergedError):
        told |= {name: getattr(error, name) for name in FIELDS}
    return json.dumps(told)


def error_of(text: str, rank: int, size: int) -> BaseException:
    """Return what is raised for an error of another rank, of which that text tells."""
    import json

    told = json.loads(text)
    if "epoch" in told:
        fields = {name: told[name] for name in FIELDS}
        return TrainingDivergedError(f"On rank {rank} of {size}: {told['message']}", **fields)
    message = f": {told['message']}" if told["message"] else ""
    return RuntimeError(f"Rank {rank} of {size} has stopped the training of all: {told['kind']}{message}")


KNOWN_TO_ALL = "known_to_all_ranks"


def known_to_all(error: BaseException) -> BaseException:
    """Return an error, with a mark that every rank raises one with it."""
    error.__dict__[KNOWN_TO_ALL] = True
    return error


def is_known_to_all(error: BaseException) -> bool:
    """Return whether an error has that mark."""
    return KNOWN_TO_ALL in error.__dict__


# -------------------------------------------------------------------------------------------------------- who is there

_default: Any = None

_in_use: dict[int, Ranks] = {}
"""The ranks that train now, by the id of what was given as their communicator."""


def use_by_default(communicator: Any) -> None:
    """Let every `fit` that is given no communicator have this one."""
    global _default
    _default = communicator


def ranks_of(communicator: Any) -> Ranks | None:
    """Return the ranks of a communicator, one of mpi4py or a `Communicator`; None if there is none, or one rank alone.

    TypeError if it is something else.
    """
    found = _default if communicator is None else communicator
    if found is None:
        return None
    given = found
    if any(each.__module__.partition(".")[0] == "mpi4py" for each in type(found).__mro__):
        from fastnet.engine.mpi import OverMPI

        found = OverMPI(found)
    names = ("rank", "size", "allreduce", "bcast")
    missing = [name for name in names if not hasattr(found, name)]
    if missing:
        raise TypeError(
            f"communicator must be one of mpi4py, such as MPI.COMM_WORLD, or have {', '.join(names)}, as the guide "
            f"shows, but a {type(found).__name__} has no {missing[0]}."
        )
    return Ranks(found, given) if found.size > 1 else None


Function = TypeVar("Function", bound=Callable[..., Any])


def together(fit: Function) -> Function:
    """Have a method train with all ranks of its `communicator`: it gets the Ranks there, or None if it is alone.

    And say of its arguments what `words.helpful` does.
    """

    @wraps(fit)
    def call(*args: Any, **kwargs: Any) -> Any:
        ranks = ranks_of(kwargs.pop("communicator", None))
        with ranks or nullcontext():
            if kwargs:
                words.refuse_unknown(fit, fit.__name__, kwargs)
            return fit(*args, communicator=ranks, **kwargs)

    return call  # type: ignore[return-value]
