"""The exceptions that have no better name among Python's own."""


class NotFittedError(ValueError, AttributeError):
    """The model has no parameters yet: neither `build` nor `fit` was called."""


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
    """

    def __init__(self, message: str, *, epoch: int, batch: int, layer: int) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.layer = epoch, batch, layer

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the numbers when the error travels between processes."""
        numbers = {"epoch": self.epoch, "batch": self.batch, "layer": self.layer}
        return _rebuild_diverged, (str(self), numbers)


def _rebuild_diverged(message: str, numbers: dict[str, int]) -> TrainingDivergedError:
    return TrainingDivergedError(message, **numbers)
