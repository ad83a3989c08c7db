"""The methods of `Model` that write files, and that take up what a file says; what reads files is imported by them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from fastnet.engine.course import OptimizerState
from fastnet.errors import FileFormatError
from fastnet.parameters import Parameters, network_of
from fastnet.schedules import innermost

if TYPE_CHECKING:
    import numpy as np

    from fastnet.callbacks import Checkpoint
    from fastnet.engine.checkpoints import FitSettings, Resumed
    from fastnet.engine.network import Network
    from fastnet.files.network import Memory, SavedNetwork
    from fastnet.layers import AnyLayer, Dense
    from fastnet.losses import AnyLoss
    from fastnet.optimizers import Optimizer
    from fastnet.scaling import Scales, Standardize


class Stored:
    """A model that a file holds, and a fit that goes on from a checkpoint."""

    if TYPE_CHECKING:  # what `Model` has
        layers: tuple[AnyLayer, ...]
        loss: AnyLoss
        dtype: np.dtype
        l2: float
        l1: float
        seed: int | np.random.Generator | None
        optimizer: Optimizer
        epochs_finished: int
        feature_names: tuple[str, ...] | None
        y_scales: Scales | None
        _dense: tuple[Dense, ...]
        _standardize: Standardize | None
        _parameters: Parameters | None
        _optimizer: Optimizer
        _optimizer_state: OptimizerState | None
        _key: int

        @property
        def parameters(self) -> np.ndarray: ...  # noqa: D102
        def _build(self, n_features: int) -> None: ...
        def _built(self) -> Network: ...

    def save(self, path: Any) -> None:
        """Write the model to one file, from which `fastnet.load` makes an equal one; see there.

        Settings, parameters, the optimizer's memory and how far training has come, so that a `fit` of the one that is
        loaded goes on to the bit; not the history, nor a function as learning rate, which `load` then asks for. The
        format is safetensors: other programs read W1, b1, W2, ... from it. The same model makes the same bytes.

        The file is on the disk when this returns, and whole or not there at all: a crash leaves the one before.

        Parameters
        ----------
        path : str or os.PathLike
            The file, such as "model.fastnet"; one that is there is replaced.

        Raises
        ------
        OSError
            If it cannot be written; a file of that name is as it was then.
        TypeError
            If a setting is of a class that is not fastnet's.

        Examples
        --------
        >>> model = Model([Dense(4, "relu"), Dense(1)], seed=0).build(n_features=2)
        >>> model.save("model.fastnet")
        >>> np.array_equal(fastnet.load("model.fastnet").parameters, model.parameters)
        True
        """
        from fastnet.files import network, tensors

        tensors.write(path, *self._saved(network.MODEL, self.epochs_finished))

    def _saved(self, kind: str, epochs_finished: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return arrays and texts of a file of that kind, of the model after so many epochs."""
        from fastnet.files import network

        built, state = self._parameters, self._optimizer_state
        memory = None
        if built is not None and state is not None:
            moments, factored = state.divided(len(built), built.network.n_factored)
            memory = network.Memory(moments, state.powers, factored)
        pairs = [] if built is None else built.by_layer()
        scales = {"X": self._standardize.scales if self._standardize else None, "y": self.y_scales}
        description = network.described(self) | {"feature_names": self.feature_names}
        n_features = None if built is None else built.network.n_features
        arrays, texts = network.written(description, pairs, memory, scales, n_features, self._key, epochs_finished)
        return arrays, {network.FORMAT: f"{kind} {network.VERSION}", **texts}

    @classmethod
    def _restored(cls, saved: SavedNetwork) -> Self:
        """Return the model that was saved; FileFormatError if a setting is refused."""
        from fastnet.files import network, settings

        model: Self = settings.made(cls, saved.arguments, network.TEXT)
        model._take_scales(saved.scales)
        if saved.parameters is not None and saved.n_features is not None:
            found = network_of(
                model.layers, model.loss, saved.n_features, model.dtype, l2=model.l2, l1=model.l1
            )  # fmt: skip
            model._parameters = Parameters(found, saved.parameters)
            model._parameters.bind(model._dense)
            model._key, model.epochs_finished = saved.key, saved.epochs_finished
            model.feature_names = saved.feature_names
            model._remember(saved.memory)
        return model

    def _take_scales(self, scales: Mapping[str, Scales | None]) -> None:
        if self._standardize:
            self._standardize.scales = scales["X"]
        self.y_scales = scales["y"]

    def _remember(self, memory: Memory | None) -> None:
        """Take an optimizer's memory over from a file; FileFormatError unless the optimizer has such."""
        if memory is None:
            self._optimizer_state = None
            return
        if len(memory.moments) != self.optimizer.n_moments:
            raise FileFormatError(
                f"its optimizer has {self.optimizer.n_moments} moments, but the file {len(memory.moments)}"
            )
        self._optimizer_state = OptimizerState.fresh(self.optimizer, self._built())
        own = self._optimizer_state.divided(len(self.parameters), self._built().n_factored)
        for array, saved in zip(own, (memory.moments, memory.factored), strict=True):
            if saved is not None:
                array[:] = saved
        self._optimizer_state.powers[:] = memory.powers

    def _resumed(
        self, resume: Any, wanted: Sequence[Checkpoint], given: FitSettings, epochs: int
    ) -> Resumed | None:  # fmt: skip
        """Return where a fit goes on; None if it begins, and is the first to write to the folder of a checkpoint."""
        if resume is None:
            return None
        from fastnet.engine import checkpoints

        rate = innermost(self.optimizer.learning_rate)
        try:
            resumed = checkpoints.read(resume, {"learning_rate": rate if callable(rate) else lambda epoch: rate})
        except FileNotFoundError:
            if not any(os.path.realpath(resume) == os.path.realpath(each.folder) for each in wanted):
                raise
            return None
        self._check_same(resumed)
        given.check(resumed.fit, epochs)
        return resumed

    def _check_same(self, resumed: Resumed) -> None:
        """Raise ValueError unless a checkpoint is of a model like this one."""
        from fastnet.files import network

        other = self._restored(resumed.saved)
        before, here = network.described(other), network.described(self)
        for name in ("layers", "loss", "l2", "l1", "dtype", "standardize_y"):
            if before[name] != here[name]:
                raise ValueError(
                    f"resume: the checkpoint is of a model with {name}={before[name]!r}, but this has {here[name]!r}."
                )
        had, has = (each if isinstance(each, int) else None for each in (other.seed, self.seed))
        if had != has:  # rows to validate with are drawn by it
            raise ValueError(f"resume: the checkpoint is of a model with seed={other.seed}, but this has {self.seed}.")

    def _go_back_to(self, resumed: Resumed) -> None:
        """Take parameters, optimizer and how far training had come over from a checkpoint of a model like this one."""
        other = self._restored(resumed.saved)
        if self._parameters is None:
            self._build(other._built().n_features)
        self.parameters[:] = other.parameters
        self._optimizer, self._optimizer_state = other._optimizer, other._optimizer_state
        self._key, self.epochs_finished = other._key, other.epochs_finished
        self.feature_names = other.feature_names
        self._take_scales({"X": other._standardize.scales if other._standardize else None, "y": other.y_scales})
