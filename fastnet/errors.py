"""The exceptions that have no better name among Python's own, and what becomes of some of those."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial


class NotFittedError(ValueError, AttributeError):
    """The model has no parameters yet, before `build` or `fit`; or no scales of X or y yet, where `fit` learns them.

    Examples
    --------
    >>> try:
    ...     Model([Dense(1)]).predict(X)
    ... except NotFittedError as error:
    ...     print(error)
    This model has no parameters yet: call build(n_features) or fit(X, y) first.
    """


class FileFormatError(ValueError):
    """A file is not what it should be: damaged, changed, of another format, or made to do harm.

    Examples
    --------
    >>> with open("notes.txt", "w") as file:
    ...     print("Not a model.", end="", file=file)
    >>> try:
    ...     fastnet.load("notes.txt")
    ... except FileFormatError as error:
    ...     print(error)
    'notes.txt' cannot be read: of its 12 bytes, the first 8 are not the length of a header.
    """

    def __init__(self, message: str) -> None:
        """Take a message, which may have texts of a file: nothing in it may command a terminal."""
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


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

    Examples
    --------
    >>> model = Model([Dense(3), Dense(1)], optimizer=SGD(1e20), seed=0)
    >>> try:
    ...     model.fit(X, y)
    ... except TrainingDivergedError as error:
    ...     print(error.epoch, error.batch, error.layer, error.kind)
    1 2 2 activation
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
    except Exception as error:
        if isinstance(error, Warning) or is_of_a_handler(error):
            raise


@contextmanager
def refusals_ignored() -> Iterator[None]:
    """Leave off, and go on, where the system refuses something by an OSError."""
    try:
        yield
    except OSError as error:
        if is_of_a_handler(error):
            raise


def is_of_a_handler(error: BaseException) -> bool:
    """Return whether a signal's handler raised it, such as the TimeoutError of one for SIGALRM: so the caller wants it.

    It may do so wherever Python looks for signals, as if what is called there had raised it.
    """
    handlers = [handler for handler in map(signal.getsignal, signal.valid_signals()) if callable(handler)]
    codes = {getattr(getattr(handler, "func", handler), "__code__", None) for handler in handlers}
    codes |= {getattr(type(handler).__call__, "__code__", None) for handler in handlers}
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code not in codes:
        place = place.tb_next
    return place is not None
