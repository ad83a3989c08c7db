"""Data frames that come one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np


class FrameStream:
    """A stream of data frames, of pandas or polars, a frame a block; rows are shuffled among frames that come together.

    Parameters
    ----------
    frames : iterable of data frames, or a function without arguments that returns one
        A function for what can be gone through only once, as the chunks of `pandas.read_csv`.
    target : str or list of str
        The column, or columns, of y.
    features : list of str, optional
        The columns of X; None: all others of the first frame, but `sample_weight`.
    sample_weight : str, optional
        The column of the weights.

    Examples
    --------
    >>> from fastnet.streams import FrameStream
    >>> import pandas
    >>> pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "sign": y}).to_csv("table.csv", index=False)
    >>> stream = FrameStream(lambda: pandas.read_csv("table.csv", chunksize=30), target="sign")
    >>> Model([Dense(1, "sigmoid")], seed=0).fit(stream, epochs=3).epochs
    3
    """

    def __init__(
        self, frames: Iterable[Any] | Callable[[], Iterable[Any]], target: str | Sequence[str], *,
        features: Sequence[str] | None = None, sample_weight: str | None = None,
    ) -> None:  # fmt: skip
        if hasattr(frames, "__next__"):
            raise TypeError(
                f"frames is a {type(frames).__name__}, which can be gone through only once. Pass a function that makes "
                "it: FrameStream(lambda: ..., target)."
            )
        if not callable(frames) and not hasattr(frames, "__iter__"):
            raise TypeError(f"frames must be an iterable of data frames, or a function, not {frames!r}.")
        self.frames = frames
        self.target, self.sample_weight = [target] if isinstance(target, str) else list(target), sample_weight
        self.features = None if features is None else list(features)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Give the blocks (X, y) or (X, y, sample_weight), from the first frame on."""
        frames = self.frames() if callable(self.frames) else self.frames
        try:
            yield from (self._block(number, frame) for number, frame in enumerate(frames))
        finally:
            if callable(self.frames):  # the file that chunks come from is open
                getattr(frames, "close", lambda: None)()

    def _block(self, number: int, frame: Any) -> tuple[Any, ...]:
        """Return the block of a frame; TypeError or ValueError if it is none, or lacks a column."""
        if not hasattr(frame, "columns"):
            raise TypeError(f"frames must give data frames, but number {number} is a {type(frame).__name__}.")
        names = list(frame.columns)
        weight = [] if self.sample_weight is None else [self.sample_weight]
        if self.features is None:
            self.features = [name for name in names if name not in (*self.target, *weight)]
        for name in (*self.features, *self.target, *weight):
            if name not in names:
                raise ValueError(f"Frame number {number} has no column {name!r}; it has {', '.join(map(repr, names))}.")
        return (frame[self.features], frame[self.target], *(np.asarray(frame[name]) for name in weight))

    def place_of(self, number: int, row: int | None, column: int | None) -> str:
        """Return which frame a block is, a row of it, and a column."""
        where = f"frame {number}, row {row or 0}"
        return where if column is None or self.features is None else f"{where}, column {self.features[column]!r}"
