"""Examples that memory does not hold: blocks of a stream, checked, and put together to parts of an epoch.

A part ends where a chunk of its last batch does: so results are to the bit those of all examples in memory. While a run
works on one part, a thread reads the next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.engine.examples import Data, FitData, Gate, read_only, with_class_weights
from fastnet.engine.read_ahead import Ahead
from fastnet.errors import is_of_a_handler
from fastnet.scaling import SLAB

PART_BYTES = 2**25
"""Of a part's X. With 2**23 and 2**27, a pass over a stream took 1.06 times as long (`python benchmarks/streams.py
--gigabytes 0.2 --only stream`, for other values here)."""

FIRST_ROWS = 10_000
"""Kept of the first block, to be looked at."""

NO_STREAM_HAS = ("shape", "__array__", "__array_interface__", "__array_struct__", "__dlpack__", "__next__")
"""Arrays have these, or what NumPy reads as one; and `__next__` what can be gone through only once."""


class Part(NamedTuple):
    """Some examples of an epoch: in which order, how many came before, and whether they are the last."""

    data: Data
    order: np.ndarray
    before: int
    ends_epoch: bool

    @classmethod
    def of_all(cls, data: Data) -> Part:
        """Return all examples, as they come."""
        return cls(data, np.arange(len(data.X)), 0, True)


class Stream:
    """The blocks of a stream, (X, y) or (X, y, sample_weight), as a gate lets them in.

    Opened, it has read its first block, of which it keeps some rows, `first`. `prepared` makes of the examples of a
    part, as the gate lets them in, those that a run takes. ValueError or TypeError if `source` is no stream, or has no
    examples.

    Parameters
    ----------
    source : iterable
        May be gone through again and again; blocks of a sequence are shuffled too.
    gate : Gate
    name : str
        Of the argument.
    class_weight : dict or None
    """

    def __init__(self, source: Any, gate: Gate, name: str, class_weight: Any = None) -> None:
        if hasattr(source, "__next__"):
            raise TypeError(
                f"{name} is a {type(source).__name__}, which can be gone through only once. Pass an object whose "
                "__iter__ begins anew, such as fastnet.streams has."
            )
        if isinstance(class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs all examples at once, which a stream does not give. Pass a dictionary, "
                "such as sklearn.utils.class_weight.compute_class_weight makes it."
            )
        self.source, self.name, self.class_weight = source, name, class_weight
        self.prepared: Callable[[Data], Data] = lambda data: data
        self.gate, self.feature_names = gate._replace(is_part=True), gate.feature_names
        self._first: Data | None = None
        n = getattr(source, "n_examples", None)
        self.n_examples = None if n is None else checks.non_negative_integer(n, f"n_examples of {name}")
        """Of an epoch, if the source says so."""
        with closing(self.blocks()) as blocks:
            first = next(blocks, None)
        if first is None:
            raise ValueError(f"{name} is a stream without any example. Pass one that gives blocks (X, y).")
        # Copied, for the stream may put the next block into the same memory.
        self.first = self._first = first.take(np.arange(min(len(first.X), FIRST_ROWS)))
        self.gate = self.gate._replace(n_features=first.X.shape[1], feature_names=self.feature_names)

    @property
    def total_weight(self) -> float:
        """That of its first block: what it weighs in all nobody knows yet."""
        return self.first.total_weight

    def blocks(self, generator: np.random.Generator | None = None) -> Generator[Data, None, None]:
        """Go through it once; with a generator in an order drawn from that, if there is a choice."""
        if isinstance(self.source, Sequence):
            n = len(self.source)
            numbers = range(n) if generator is None else generator.permutation(n)
            numbered = ((int(number), self.source[int(number)]) for number in numbers)
            yield from filter(None, (self._checked(*each) for each in numbered))
            return
        given = iter(self.source)
        try:
            yield from filter(None, (self._checked(*each) for each in enumerate(given)))
        finally:
            getattr(given, "close", lambda: None)()

    def _checked(self, number: int, block: Any) -> Data | None:
        """Return a block as the gate lets it in; None if it is empty."""
        if not isinstance(block, (tuple, list)) or len(block) not in (2, 3):
            came = f"a {type(block).__name__}" + (f" of {len(block)}" if isinstance(block, (tuple, list)) else "")
            raise TypeError(f"Block {number} of {self.name} must be (X, y) or (X, y, sample_weight), not {came}.")
        try:
            if all(np.shape(each)[:1] == (0,) for each in block[:2]):
                return None
            if self._first is None:
                self.feature_names = self.feature_names or checks.column_names(block[0])
            data = self.gate.data(*block)
            layer = self.gate.output_layer
            data = with_class_weights(data, self.class_weight, layer.activation, layer.units, is_part=True)
        except (TypeError, ValueError) as error:
            if is_of_a_handler(error):
                raise
            place = place_in(self.source, number, block[0])
            raise type(error)(f"Block {number} of {self.name}{place}: {error}") from error
        if self._first is not None and (data.weights is None) != (self._first.weights is None):
            raise ValueError(
                f"Block {number} of {self.name} has {'no ' * (data.weights is None)}weights, unlike the first. Give "
                "weights in all blocks, or in none."
            )
        if self._first is not None and data.y.shape[1] != self._first.y.shape[1]:
            raise ValueError(
                f"Block {number} of {self.name} has y of {data.y.shape[1]} columns, but the first of "
                f"{self._first.y.shape[1]}. Give class indices in all blocks, or rows of a 1 among zeros in all."
            )
        return data

    def arrays(self, names: Sequence[str]) -> Iterator[list[Any]]:
        """Go through it in slabs: "X", "y" or both, by `names`, and the weights."""
        with closing(Parts(self, batch_size=SLAB, chunk=SLAB)) as parts:
            for part in parts.reading_from_first():
                yield [getattr(part.data, name) for name in (*names, "weights")]


class Parts:
    """The parts of so many epochs over a stream, one after the other; to be closed.

    Parameters
    ----------
    stream : Stream
    batch_size : int or None
        None: all examples of an epoch.
    chunk : int
        The length of chunks, from the beginning of each batch on.
    epochs : int
    first_epoch : int
        Epochs before these.
    key : int or None
        From (key, epoch) the order of blocks, and of the examples of each part, is drawn; None: they stay as they come.
    """

    def __init__(
        self, stream: Stream, *, batch_size: int | None, chunk: int, epochs: int = 1, first_epoch: int = 0,
        key: int | None = None,
    ) -> None:  # fmt: skip
        self.stream, self.batch_size, self.chunk = stream, batch_size, chunk
        # A run that goes on where nothing was left to do has examples all the same.
        self.epochs, self.key = range(first_epoch, first_epoch + max(epochs, 1)), key
        X = stream.first.X
        self.rows = -(-max(PART_BYTES // (X.shape[1] * X.dtype.itemsize), chunk) // SLAB) * SLAB
        self.buffers: list[Sequence[Any]] = []
        self.n_examples: int | None = stream.n_examples
        """Of an epoch, once one has ended, if the source does not say so."""
        self.is_closed = False
        self.reading = self._read()
        self.ahead = Ahead(self.reading)
        self.current = next(self.reading)
        """The part handed out last."""

    def reading_from_first(self) -> Iterator[Part]:
        """Go through all parts in this thread."""
        yield self.current
        yield from self.reading

    def next(self) -> Part:
        """Return the next part, and let its arrays be read that come after it, into those of the part before."""
        self.current = self.ahead.next()
        return self.current

    def close(self) -> None:
        """Let no more be read."""
        self.is_closed = True
        self.ahead.close()

    def end_of_part(self, start: int) -> int:
        """Return up to which example of its epoch a part goes that begins at `start`, if there are so many."""
        end = start + self.rows
        start_of_batch = end - end % (self.batch_size or 2**62)
        end_of_chunk: int = start_of_batch + (end - start_of_batch) // self.chunk * self.chunk
        return end_of_chunk

    def _read(self) -> Generator[Part, None, None]:
        for epoch in self.epochs:
            generator = None if self.key is None else np.random.default_rng((self.key, epoch))
            blocks, before, at = self.stream.blocks(generator), 0, 0
            block, weighs = next(blocks, None), False
            if block is None:
                raise ValueError(
                    f"{self.stream.name} gave examples at first, and none when it was gone through again. Its __iter__ "
                    "must begin anew each time: by making a new iterator, not by returning one that was made before."
                )
            while block is not None:
                end, filled = self.end_of_part(before) - before, 0
                buffer = self._next_buffer()
                while filled < end and block is not None and not self.is_closed:
                    n = min(end - filled, len(block.X) - at)
                    given: Sequence[Any] = block
                    for array, values in zip(buffer, given, strict=True):
                        if array is not None:
                            array[filled : filled + n] = values[at : at + n]
                    filled, at = filled + n, at + n
                    if at == len(block.X):
                        block, at = next(blocks, None), 0
                self._count(before + filled, is_all=block is None)
                weighs = weighs or buffer[2] is None or buffer[2][:filled].any()
                if block is None and not weighs:
                    raise ValueError(
                        f"In {self.stream.name}, sample_weight is zero for every example. At least one must be greater "
                        "than 0."
                    )
                data = Data(*(None if array is None else read_only(array[:filled]) for array in buffer))  # type: ignore[arg-type]
                order = np.arange(filled) if generator is None else generator.permutation(filled)
                yield Part(self.stream.prepared(data), order, before, block is None)
                before += filled

    def _count(self, m: int, is_all: bool) -> None:
        """Take the number of examples of an epoch up to now; ValueError if the one before had another."""
        known = self.n_examples
        if known is not None and (m > known or (is_all and m < known)):
            gave = f"gave {known} examples in an epoch, and {m}{'' if is_all else ' or more'} in the next"
            if self.stream.n_examples is not None:
                gave = f"has n_examples={known}, but gave {m}{'' if is_all else ' or more'}"
            raise ValueError(
                f"{self.stream.name} {gave}. A stream must give the same examples whenever it is gone through."
            )
        if is_all:
            self.n_examples = m

    def _next_buffer(self) -> Sequence[Any]:
        """Return arrays to put a part into: those of the part before the last."""
        if len(self.buffers) == 2:
            self.buffers.reverse()
        else:
            gate, first = self.stream.gate, self.stream.first
            dtypes = [np.float64 if exact else gate.dtype for exact in (gate.exact_x, gate.exact_y)]
            X, y = (np.empty((self.rows, a.shape[1]), d) for a, d in zip(first[:2], dtypes, strict=True))
            self.buffers.append((X, y, None if first.weights is None else np.empty(self.rows, gate.dtype)))
        return self.buffers[-1]


def is_stream(X: Any) -> bool:
    """Return whether what stands in the place of an array is a stream, and no list of rows."""
    return (
        hasattr(X, "__iter__")
        and not isinstance(X, (list, tuple, str, bytes, dict, set, frozenset))
        and not any(hasattr(X, name) for name in NO_STREAM_HAS)
    )


def place_in(source: Any, number: int, X: Any) -> str:
    """Return where a block of a stream lies, between brackets, if the stream knows: of X the first bad value there."""
    if not hasattr(source, "place_of"):
        return ""
    row = column = None
    try:
        bad = np.argwhere(~np.isfinite(np.asarray(X, np.float64)))
        row, column = (int(index) for index in bad[0])
    except (TypeError, ValueError, IndexError):  # no numbers, or all finite
        pass
    return f" ({source.place_of(number, row, column)})"


def prepared(
    gate: Gate, X: Any, y: Any, sample_weight: Any, class_weight: Any = None, validation_data: Any = None,
    validation_split: Any = 0.0,
) -> FitData:  # fmt: skip
    """Check all that `Model.fit` takes of examples, arrays or streams, as far as that is possible now."""
    streamed = is_stream(validation_data)
    arrays = None if streamed else validation_data
    if y is not None or not (is_stream(X) or isinstance(X, (list, tuple)) or hasattr(X, "__next__")):
        examples = gate.prepared(X, y, sample_weight, class_weight, arrays, validation_split)
    else:
        for name, value in (("sample_weight", sample_weight), ("validation_split", validation_split or None)):
            if value is not None:
                remedy = "Give blocks (X, y, sample_weight)" if name == "sample_weight" else "Pass validation_data"
                raise ValueError(f"{name} is not for a stream, whose length nobody knows. {remedy}.")
        training = Stream(X, gate, "X", class_weight)
        gate = gate._replace(feature_names=training.feature_names)
        held_out = None if arrays is None else gate.held_out(arrays, training.first.X.shape[1])
        examples = FitData(training, held_out, 0.0)
    if streamed:
        if examples.share:
            raise ValueError("Pass validation_data or validation_split, not both.")
        n_features = first_of(examples.training).X.shape[1]
        names = gate.feature_names or checks.column_names(X)
        validating = Stream(
            validation_data, gate._replace(n_features=n_features, feature_names=names), "validation_data"
        )
        examples = examples._replace(held_out=validating)
    return examples


def n_examples_of(examples: FitData, batch_size: int | None) -> int:
    """Return how many examples there are to train with, for who counts batches before; of one batch it does not matter.

    ValueError for a stream that does not know.
    """
    training = examples.training
    if not isinstance(training, Stream):
        return len(training.X) - examples.n_held_out
    if training.n_examples is None and batch_size is not None:
        raise ValueError(
            f"A learning rate by step (ByStep) needs the number of updates in an epoch, and {training.name} is a "
            "stream that does not say how many examples it has. Give it the attribute n_examples, or pass a schedule "
            "that changes with the epoch."
        )
    return training.n_examples or 0


def first_of(data: Data | Part | Stream) -> Data:
    """Return examples, those that are some rows of, or those of the first block of a stream, as a run takes them."""
    if isinstance(data, Part):
        return data.data
    return data.prepared(data.first) if isinstance(data, Stream) else data
