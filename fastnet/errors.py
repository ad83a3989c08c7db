"""The exceptions that have no better name among Python's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial


class NotFittedError(ValueError, AttributeError):
    """The model has no parameters yet: neither `build` nor `fit` was called."""


class FileFormatError(ValueError):
    """A file is not what it should be: damaged, changed, of another format, or made to do harm."""


class TrainingDivergedError(ArithmeticError):
    """The cost or a parameter became infinite or NaN; the model keeps the last finite parameters.

    Attributes
    ----------
    epoch : int
        The epoch it happened in, counted from 1 within this call of `fit`.
    batch : int
        The batch of that epoch, counted from 1.
    layer : int
        The first layer with a non-finite value, counted from 1.
    kind : str
        What that value is: "activation", "gradient" or "parameter".
    """

    def __init__(self, message: str, *, epoch: int, batch: int, layer: int, kind: str) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.layer, self.kind = epoch, batch, layer, kind

    def __reduce__(self) -> tuple[object, ...]:
        """Keep what it knows when the error travels between processes."""
        return partial(TrainingDivergedError, str(self), **vars(self)), ()


@contextmanager
def may_get_lost() -> Iterator[None]:
    """Let go what cannot be shown: a standard stream may be closed, replaced or gone, which must end no fit.

    A warning that a filter makes an error is one.
    """
    try:
        yield
    except Warning:
        raise
    except Exception:
        pass
