"""What a call of `fit` leaves behind."""

from dataclasses import dataclass, field


@dataclass
class History:
    """The record of one call of `fit`.

    Attributes
    ----------
    cost : list of float
        Entry e: the mean over the batches of epoch e of J before each update, weighted by batch size. With full
        batches that is J before the update of the epoch.
    seconds : float
        Time spent training, compilation apart.
    compile_seconds : float
        Time spent compiling, or loading compiled code: once in a process for all that networks have in common, and once
        for each activation, loss and optimizer.
    stopped_reason : str
        Why it ended: "epochs" when all were done, "diverged", or "interrupted" by Ctrl-C.
    """

    cost: list[float] = field(default_factory=list)
    seconds: float = 0.0
    compile_seconds: float = 0.0
    stopped_reason: str = ""

    @property
    def epochs(self) -> int:
        """The number of epochs finished."""
        return len(self.cost)
