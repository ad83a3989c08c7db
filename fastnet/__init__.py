"""fastnet: fully connected neural networks on CPUs, through compiled kernels.

`import fastnet` is cheap: numba is loaded, and kernels are compiled, when a model first needs them.
"""

from fastnet import plot as plot
from fastnet.activations import LeakyReLU
from fastnet.callbacks import Checkpoint, EarlyStopping, Pruning, ReduceOnPlateau, TimeLimit
from fastnet.engine.recipe import warmup
from fastnet.engine.threads import get_num_threads, set_num_threads
from fastnet.errors import FileFormatError, NotFittedError, TrainingDivergedError
from fastnet.history import History
from fastnet.initializers import Normal
from fastnet.layers import Dense, Dropout, Scale
from fastnet.losses import Huber, Quantile
from fastnet.many import train_many
from fastnet.model import Model, load
from fastnet.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from fastnet.scaling import Standardize
from fastnet.schedules import ByStep, CosineDecay, CosLog, ExponentialDecay, OneCycle, StepDecay

__version__ = "0.1.0"
__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "ByStep",
    "Checkpoint",
    "CosLog",
    "CosineDecay",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "ExponentialDecay",
    "FileFormatError",
    "History",
    "Huber",
    "LeakyReLU",
    "Model",
    "Normal",
    "NotFittedError",
    "OneCycle",
    "Pruning",
    "Quantile",
    "RMSprop",
    "ReduceOnPlateau",
    "Scale",
    "Standardize",
    "StepDecay",
    "TimeLimit",
    "TrainingDivergedError",
    "__version__",
    "get_num_threads",
    "load",
    "set_num_threads",
    "show_versions",
    "train_many",
    "warmup",
]


def show_versions() -> None:
    """Print versions, the machine, and where the machine code comes from: what a report of a fault should say.

    Examples
    --------
    >>> fastnet.show_versions()
    fastnet ..., in ...
    Python ..., numpy ..., llvmlite ..., numba ...
    threads: ...
    """
    from fastnet.versions import show_info, show_machine

    show_info(__version__)
    show_machine()


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> object:
    from fastnet import words

    close = "" if name.startswith("_") else words.hint(name, words.PACKAGE, __all__)
    raise AttributeError(f"fastnet has no {name!r}.{close}", name=name)
