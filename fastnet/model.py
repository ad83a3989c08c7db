"""Model: the settings of a network, its parameters, and all that can be done with it."""

from __future__ import annotations  # NumPy loads np.random when it is first named: 20 ms of an import

import copy
import functools
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastnet import checks, words
from fastnet.activations import activation_for
from fastnet.callbacks import AnyCallback, Checkpoint, checked_callbacks
from fastnet.engine import diagnostics, gradient_check, overflow
from fastnet.engine.course import Course, OptimizerState, updates_in_epoch
from fastnet.engine.examples import Data, FitData, Gate, exact_dtype, read_only
from fastnet.engine.fit import train_epochs
from fastnet.engine.mapped import MappedRows, mapped_rows
from fastnet.engine.network import Network
from fastnet.engine.parts import Part, Parts, Stream, first_of, is_stream, n_examples_of, prepared
from fastnet.engine.predict import Predictor
from fastnet.engine.progress import Progress
from fastnet.engine.ranks import Ranks, together
from fastnet.engine.run import EPOCHS_AT_ONCE, MOST_EXAMPLES, Run
from fastnet.engine.threads import OneAtATime
from fastnet.engine.watch import Watch, check_callbacks
from fastnet.errors import FileFormatError, NotFittedError
from fastnet.exchange.methods import Exchange
from fastnet.files.model import Stored
from fastnet.history import History
from fastnet.kernels import codes
from fastnet.layers import AnyLayer, Dense, Encode, checked_layers, table_of
from fastnet.losses import AnyLoss, Huber, loss_for, name_of
from fastnet.metrics import CLASS_ACTIVATIONS, compute, metrics_for
from fastnet.optimizers import SGD, Optimizer, optimizer_for
from fastnet.parameters import Parameters, network_of
from fastnet.report import Scores, Text
from fastnet.scaling import Scales, Standardize, in_units, scaled_gradients, scales_of_parts
from fastnet.schedules import innermost

if TYPE_CHECKING:  # what most programs never use is imported where it is used
    from fastnet.engine.checkpoints import Resumed, Saver
    from fastnet.exchange.weights import Array

DEFAULT_METRICS = ("accuracy",)
NOT_OF_VALUES = ("binary_crossentropy", "categorical_crossentropy", "poisson")
"""The losses whose targets are no values that have a scale: classes, probabilities, counts."""


class Model(Exchange, Stored, checks.FixedSettings):
    """A network of L layers, [LINEAR -> ACTIVATION] x L.

    Parameters
    ----------
    layers : sequence of Dense and Dropout, and Standardize or Encode as the first, Scale before the first Dense
        From the first hidden layer to the output; one layer alone is logistic or linear regression.
    loss : str, Huber, Quantile or None
        "binary_crossentropy" (needs a sigmoid output), "categorical_crossentropy" (softmax), "poisson" (linear: Z is
        then the logarithm of the mean, and A = e^Z), "mean_squared_error", "mean_absolute_error", "huber" or
        `Quantile(q)` (any other but softmax; of several quantiles linear, with a unit for each); None: by the last
        activation, sigmoid, softmax or linear.
    optimizer : SGD, RMSprop, Adagrad, Adam, AdamW, str or None
        None: `SGD()`; "adam", or `Adam` the class: `Adam()`.
    l2 : float, default 0.0
        lambda, for all layers that do not set their own: J += lambda/(2m) * sum ||W||^2. m is the number of examples
        in the batch, or the sum of their weights.
    dtype : str, default "float32"
        Or "float64": of parameters, inputs and all arithmetic, in which numbers below the smallest normal one (1.2e-38;
        2.2e-308) count as zero.
    seed : int, numpy.random.Generator or None
        Where initial weights, shuffles and dropout come from. None: different at every run.
    l1 : float, default 0.0
        The same for L1: J += l1/m * sum |W|. Its gradient at zero is taken as zero.
    random_state : int, numpy.random.Generator or None
        The name that `seed` has elsewhere.
    standardize_y : bool, default False
        Train on targets of mean 0 and spread 1, for each output, by the examples of the first `fit` or `step`. Needs a
        linear last layer, and not "poisson". `forward` and `predict` give values on the scale of y, and metrics are of
        those; J, and so `cost` and a `delta` of Huber's, is of the standardized targets.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range, or the loss does not fit the last activation.

    Examples
    --------
    >>> model = Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)
    >>> model
    Model([Dense(8, 'tanh'), Dense(1, 'sigmoid')], loss='binary_crossentropy', dtype='float32')
    >>> history = model.fit(X, y, epochs=20)
    >>> model.predict([[1.0, -1.0], [-1.0, 1.0]])
    array([1, 0])
    """

    fixed = ("layers", "output_layer", "loss", "l2", "dtype", "seed", "l1", "standardize_y")

    def __init__(
        self,
        layers: Sequence[AnyLayer],
        loss: AnyLoss | None = None,
        optimizer: Optimizer | str | type[Optimizer] | None = None,
        l2: float = 0.0,
        dtype: Any = "float32",
        seed: int | np.random.Generator | None = None,
        l1: float = 0.0,
        *,
        random_state: int | np.random.Generator | None = None,
        standardize_y: bool = False,
    ) -> None:
        if seed is not None and random_state is not None:
            raise ValueError("seed and random_state are two names of one setting. Pass one of them.")
        self._training = OneAtATime()
        self.layers = checked_layers(layers)
        self._dense = tuple(layer for layer in self.layers if isinstance(layer, Dense))
        self._standardize = self.layers[0] if isinstance(self.layers[0], Standardize) else None
        self.output_layer = self._dense[-1]
        self.loss = loss_for(loss, self.output_layer.activation, self.output_layer.units)
        self.dtype = checks.float_dtype(dtype)
        self.optimizer = SGD() if optimizer is None else optimizer
        self.l2 = checks.non_negative_number(l2, "l2")
        self.l1 = checks.non_negative_number(l1, "l1")
        numbers = [(getattr(owner, name) or 0.0, name) for owner in (self, *self._dense) for name in ("l2", "l1")]
        numbers += [(activation_for(layer.activation).setting, "slope") for layer in self._dense]
        numbers += [(getattr(layer.initializer, "scale", 0.0), "scale") for layer in self._dense]
        rates = ("learning_rate", "bias_learning_rate")
        numbers += [(getattr(layer, name, 0.0), name) for layer in self.layers for name in rates]
        if isinstance(self.loss, Huber):
            numbers.append((self.loss.delta, "delta"))
        for number, name in numbers:
            checks.in_range_of(self.dtype, number, name)
        if isinstance(self.layers[0], Encode):
            self.layers[0].check_range(self.dtype)
        self.seed = checks.seed(random_state if seed is None else seed)
        self.standardize_y = checks.flag(standardize_y, "standardize_y")
        if self.standardize_y and (self.output_layer.activation != "linear" or self.loss == "poisson"):
            raise ValueError(
                f"standardize_y needs a linear last layer, and another loss than 'poisson', not "
                f"{self.output_layer.activation!r} with {self.loss!r}. Leave it out."
            )
        self.y_scales: Scales | None = None
        """Mean and spread of the targets, for each output, once they are known; with `standardize_y` alone."""
        self.feature_names: tuple[str, ...] | None = None
        """The names of the columns of the data frame that the first fit had, if it was one."""
        self.history: History | None = None
        self._parameters: Parameters | None = None
        self._predictor: Predictor | None = None
        self._optimizer_state: OptimizerState | None = None
        self._key = 0
        self.epochs_finished = 0
        """Epochs of training, in all calls of `fit` and `step`, since the parameters were drawn."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; assign another, such as `SGD(0.01)`, to go on with another learning rate.

        One of the same kind goes on with the running means of the one before.
        """
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer | str | type[Optimizer]) -> None:
        optimizer = optimizer_for(optimizer)
        for name, value in optimizer.numbers.items():
            checks.in_range_of(self.dtype, value, name)
        with self._training.lock:
            before: Optimizer = self.__dict__.get("_optimizer", optimizer)
            if self._training.busy and before.kind != optimizer.kind:
                raise ValueError(
                    f"A callback gave the model the optimizer {optimizer!r}, which is of another kind than "
                    f"{before!r}. Within a fit, only numbers such as its learning rate may change; a ByStep stays one."
                )
            if (type(optimizer), optimizer.n_moments) != (type(before), before.n_moments):
                self._optimizer_state = None
            self._optimizer = optimizer

    def __getattr__(self, name: str) -> Any:
        """Say what may have been meant by an attribute that is not there."""
        if hasattr(type(self), name):  # a property that raised a NotFittedError, which is an AttributeError
            return object.__getattribute__(self, name)
        public = [each for each in dir(type(self)) if not each.startswith("_")]
        close = "" if name.startswith("_") else words.hint(name, words.ATTRIBUTES, public)
        if name in ("__sklearn_tags__", "get_params", "set_params"):
            close = " In a Pipeline or a search, use fastnet.sklearn.MLPRegressor or MLPClassifier."
        raise AttributeError(f"A Model has no attribute {name!r}.{close}", name=name, obj=self)

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        return f"Model([{layers}], loss={self.loss!r}, dtype={self.dtype.name!r})"

    def summary(self) -> Text:
        """Return a table of the layers: activation, shapes of W, b and Z/A (m examples), number of parameters.

        Examples
        --------
        >>> Model([Dense(8, "relu"), Dropout(0.5), Dense(1, "sigmoid")]).build(n_features=2).summary()
        layer  activation   W       b       Z, A    parameters
        -----  -----------  ------  ------  ------  ----------
        1      relu         (8, 2)  (8, 1)  (8, m)  24
               dropout 0.5  -       -       (8, m)  0
        2      sigmoid      (1, 8)  (1, 1)  (1, m)  9
        33 parameters, float32, loss binary_crossentropy
        """
        built = self._parameters
        total = f"{len(built)} parameters" if built else "not built yet"
        table = table_of(self.layers, built.network.n_features if built else None)
        return Text(f"{table}\n{total}, {self.dtype}, loss {self.loss}")

    # ------------------------------------------------------------------------------------------------- parameters

    def build(self, n_features: int) -> Self:
        """Create the parameters for inputs of `n_features` features, and initialise them; anew if they exist.

        Returns the model.

        Examples
        --------
        >>> model = Model([Dense(4, "relu"), Dense(1)], seed=0).build(n_features=3)
        >>> model.parameters.shape, model.layers[0].W.shape
        ((21,), (4, 3))
        """
        n_features = checks.positive_integer(n_features, "n_features")
        with self._training("build"):
            self._build(n_features)
        return self

    def _network(self, n_features: int) -> Network:
        """Return what `_build` builds; ValueError if that cannot be."""
        old = self._parameters
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Dense) and layer.is_bound and not (old and np.shares_memory(layer.W, old.vector)):
                raise ValueError(f"layers[{index}] belongs to another model already. Make a new Dense for each model.")
        network = network_of(self.layers, self.loss, n_features, self.dtype, l2=self.l2, l1=self.l1)
        if network.n_parameters >= 2**60:
            raise ValueError(
                f"n_features and units make {network.n_parameters} parameters, more than an array can hold. Use fewer."
            )
        return network

    def _build(self, n_features: int) -> None:
        layers, old, network = self._dense, self._parameters, self._network(n_features)
        generator = np.random.default_rng(self.seed)
        try:
            parameters = Parameters.drawn(network, layers, generator)
            new = {
                "_parameters": parameters, "_key": int(generator.integers(2**62)), "epochs_finished": 0,
                "_optimizer_state": None, "_predictor": None, "y_scales": None,
                "feature_names": None,
            }  # fmt: skip
            self.__dict__.update(new)  # at once, whenever a signal comes
        except BaseException:  # as of a signal's handler: some layers may be bound to what the model has not
            has = self._parameters.by_layer() if self._parameters else [(None, None)] * len(layers)
            for layer, pair in zip(layers, has, strict=True):
                layer.bind(*pair)
            raise
        if old and self._standardize:
            self._standardize.scales = None

    @property
    def parameters(self) -> np.ndarray:
        """All parameters as one flat, writable vector, W then b of each layer, which the layers view."""
        return self._built_parameters().vector.view()  # a new one each time: its shape and dtype may be set

    def _built_parameters(self) -> Parameters:
        if self._parameters is None:
            raise NotFittedError("This model has no parameters yet: call build(n_features) or fit(X, y) first.")
        return self._parameters

    def _built(self) -> Network:
        return self._built_parameters().network

    def _freeze(self) -> None:
        """Make the parameters read-only; copies of the model can be trained."""
        self._built_parameters().freeze(self._dense)

    def __copy__(self) -> Self:
        """Copy the parameters too: layers can view only one model's."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled function, and memory, that predictions use."""
        return {**self.__dict__, "_predictor": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or unpickled model: the layers' views must point into its own vector."""
        self.__dict__.update(state)
        if self._parameters is not None:
            self._parameters.bind(self._dense)

    def _gate(self) -> Gate:
        n_features = None if self._parameters is None else self._built().n_features
        exactly = bool(self._standardize), self.standardize_y
        return Gate(
            self.dtype, n_features, self.output_layer, name_of(self.loss), *exactly, feature_names=self.feature_names
        )  # fmt: skip

    def _data(self, X: Any, y: Any, sample_weight: Any = None) -> Data | Stream:
        """Return examples as the network takes them."""
        gate = self._gate()
        data = prepared(gate, X, None, sample_weight).training if y is None else gate.data(X, y, sample_weight)
        scaled: Data | Stream = self._scaled(data, self.dtype)
        return scaled

    def _scaled(self, data: Any, dtype: np.dtype) -> Any:
        """Return examples that the gate has let in, on the scale of the network; NotFittedError before it is known."""
        if isinstance(data, Stream):
            data.prepared = functools.partial(self._scaled, dtype=dtype)
            first_of(data)  # whether the scale is known
            return data
        if self._standardize:
            scales = self._standardize.learned()
            rows = isinstance(data.X, MappedRows)
            X = data.X.standardized(scales, dtype) if rows else scales.standardized(data.X, dtype, "X")
            data = data._replace(X=X)
        if self.standardize_y:
            data = data._replace(y=self._learned_y_scales().standardized(data.y, dtype, "y"))
        return data

    def _learned_y_scales(self) -> Scales:
        if self.y_scales is None:
            raise NotFittedError("With standardize_y, the scale of y comes from the first fit(X, y): call that first.")
        return self.y_scales

    def _warn_of_scales(self, data: Data) -> None:
        """Warn if X or y is far from the scale that networks learn on."""
        if not isinstance(self.layers[0], (Standardize, Encode)):
            diagnostics.warn_of_scales(data.X, diagnostics.FOR_X)
        if not self.standardize_y and name_of(self.loss) not in NOT_OF_VALUES:
            linear = self.output_layer.activation == "linear"
            diagnostics.warn_of_scales(data.y, diagnostics.FOR_Y if linear else diagnostics.FOR_OTHER_Y)

    def _learn_scales(self, data: Data | Stream, ranks: Ranks | None = None) -> None:
        """Learn the scales from the examples that train, as the gate has let them in, unless they are known."""
        add_up = list if ranks is None else ranks.sums
        wanted = {
            "X": self._standardize is not None and self._standardize.scales is None,
            "y": self.standardize_y and self.y_scales is None,
        }
        names = [name for name, is_wanted in wanted.items() if is_wanted]
        found = scales_of_parts(lambda: data.arrays(names), names, add_up) if names else []
        for name, scales in zip(names, found, strict=True):
            if name == "X":
                assert self._standardize
                self._standardize.scales = scales
            else:
                self.y_scales = scales

    def _examples(self, X: Any) -> np.ndarray:
        """Check X alone, and return it as the network takes it."""
        n_features = self._built().n_features
        checks.columns(X, self.feature_names)
        if self._standardize is None:
            return checks.examples(X, self.dtype, n_features)
        X = checks.examples(X, exact_dtype(X), n_features)
        return self._standardize.learned().standardized(X, self.dtype, "X")

    def forward(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Return A_L, the activations of the last layer, (m, n_L), for X (m, n_x).

        A row's result depends on no other row, to the bit. With `out` (m, n_L), C-contiguous and of the model's dtype,
        the result is written there; up to 64 rows of that kind of X then take no memory. It may overlap X. Raises
        FloatingPointError, as all predictions do, if an output is infinite or NaN: with the first row, and its first
        layer.

        Examples
        --------
        >>> model = Model([Dense(4, "relu"), Dense(3, "softmax")], seed=0).build(n_features=2)
        >>> A = model.forward(X)
        >>> A.shape, A.dtype
        ((100, 3), dtype('float32'))
        >>> np.array_equal(model.forward(X[5:6]), A[5:6])
        True
        """
        predictor = self._predictor or self._new_predictor(X)
        # A prediction of one row takes 3 us, a third of it these lines: an array that is right is only looked at.
        if not (
            type(X) is np.ndarray
            and X.dtype is predictor.X_dtype
            and X.ndim == 2
            and X.shape[1] == predictor.n_features
            and X.shape[0]
            and (X.flags.carray or (X.flags.c_contiguous and X.flags.aligned))
        ):
            if is_stream(X):
                return self._forward_blocks(X, out)
            dtype = exact_dtype(X) if self._standardize else self.dtype
            mapped = mapped_rows(X, dtype, predictor.n_features, as_rows=self._standardize is not None)
            if mapped is not None and len(slabs := list(checks.slabs(mapped))) > 1:
                if self._standardize:  # what is wrong is said of the whole, before any of `out` is written
                    mapped.standardized(self._standardize.learned(), self.dtype)
                if out is not None:
                    checks.output(out, (len(mapped), predictor.n_outputs), self.dtype)
                return self._forward_blocks((np.array(mapped.array[rows]) for rows in slabs), out)
            X = self._examples(X)
        shape = (X.shape[0], predictor.n_outputs)
        if out is None:
            out = np.empty(shape, predictor.dtype)
        else:
            checks.output(out, shape, predictor.dtype)
        if not predictor(X, out):
            checks.examples(X, predictor.dtype)  # says which values are not finite
            raise overflow.outputs_not_finite(predictor.network, predictor.parameters, X)
        if self.y_scales is not None:
            out[...] = self.y_scales.restored(out)
            if not np.isfinite(out).all():
                raise FloatingPointError(f"Predictions on the scale of y are beyond {self.dtype}. Use dtype='float64'.")
        return out

    def _forward_blocks(self, stream: Any, out: np.ndarray | None) -> np.ndarray:
        """Return A_L of the blocks of a stream, X or (X, y, ...) each, one after the other."""
        found, m = [], 0
        for number, block in enumerate(stream):
            pair = isinstance(block, tuple) or (isinstance(block, list) and len(np.shape(block[0])) == 2)
            X = block[0] if pair else block
            try:
                if np.shape(X)[:1] == (0,):
                    continue
                A = self.forward(X)
            except (TypeError, ValueError) as error:
                raise type(error)(f"Block {number} of X: {error}") from error
            if out is None:
                found.append(A)
            else:
                checks.output(out, (max(len(out), m + len(A)), A.shape[1]), self.dtype)
                out[m : m + len(A)] = A
            m += len(A)
        if out is not None:
            checks.output(out, (m, self.output_layer.units), self.dtype)
            return out
        return np.concatenate(found) if found else np.empty((0, self.output_layer.units), self.dtype)

    def _new_predictor(self, X: Any) -> Predictor:
        parameters = self._built_parameters()
        if not is_stream(X) and not isinstance(X, np.memmap):
            self._examples(X)  # what is wrong with it is said before seconds of compiling
        if self.standardize_y:
            self._learned_y_scales()
        X_dtype = None if self._standardize else self.dtype
        self._predictor = predictor = Predictor(parameters.network, parameters.vector, X_dtype)
        if self._parameters is not parameters:  # another thread has built the model anew
            self._predictor = None
        return predictor

    def predict(self, X: Any) -> np.ndarray:
        """Return the prediction for each row of X, (m,) if the last layer has one unit or is a softmax, else (m, n_L).

        Of a sigmoid output, the integer 0 or 1, by whether A_L exceeds 0.5; of a softmax, the index of the largest A_L,
        an integer too; of others, A_L itself.

        Examples
        --------
        >>> model = Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)
        >>> history = model.fit(X, y, epochs=20)
        >>> model.predict(X).shape
        (100,)
        >>> model.predict([[1.0, -1.0], [-1.0, 1.0]])
        array([1, 0])
        """
        A = self.forward(X)
        if self.output_layer.activation == "softmax":
            classes: np.ndarray = np.argmax(A, axis=1)
            return classes
        if self.output_layer.activation == "sigmoid":
            A = (A > 0.5).astype(np.intp)
        return A[:, 0] if A.shape[1] == 1 else A

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities: (m, 2), of the classes 0 and 1, for one sigmoid unit; else A_L, (m, n_L).

        ValueError if the last activation is neither the sigmoid nor a softmax.

        Examples
        --------
        >>> model = Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)
        >>> history = model.fit(X, y, epochs=5)
        >>> model.predict_proba([[0.2, -0.2], [-0.2, 0.2]]).round(2)
        array([[0.16, 0.84],
               [0.88, 0.12]], dtype=float32)
        """
        if self.output_layer.activation not in CLASS_ACTIVATIONS:
            raise ValueError(
                f"predict_proba needs a last activation of 'sigmoid' or 'softmax', but the last layer has "
                f"{self.output_layer.activation!r}. Use predict(X) for its values."
            )
        A = self.forward(X)
        return np.hstack([1 - A, A]) if A.shape[1] == 1 else A

    def input_gradients(self, X: Any, output: int | None = None, *, logits: bool = False) -> np.ndarray:
        """Return how the outputs change with the features: dA_L / dX for X (m, n_x), as `forward` gives A_L.

        For explanations and sensitivities, and where a network stands in for another function. Nothing is dropped out.
        A row's result depends on no other row, to the bit. At the kink of a ReLU, the derivative on its left.

        Parameters
        ----------
        X : array_like, (m, n_x)
        output : int, optional
            Of which output, from 0. None: of each.
        logits : bool, default False
            Of Z_L instead, before the last activation: of a sigmoid or softmax that is certain of its answer, A_L
            hardly changes any more.

        Returns
        -------
        numpy.ndarray
            (m, n_x) for one output, of a last layer that has one or by `output`; else (m, n_L, n_x). In the model's
            dtype.

        Raises
        ------
        ValueError, TypeError
            If X, `output` or `logits` is not as described.
        FloatingPointError
            If some are infinite or NaN; the error names the first row.

        Examples
        --------
        >>> model = Model([Dense(1)], seed=0).build(n_features=2)
        >>> model.layers[0].W = [[2.0, -1.0]]
        >>> model.input_gradients([[5.0, 7.0]])
        array([[ 2., -1.]], dtype=float32)
        >>> Model([Dense(4, "tanh"), Dense(3)], seed=0).build(2).input_gradients(X).shape
        (100, 3, 2)
        """
        n_outputs, logits = self.output_layer.units, checks.flag(logits, "logits")
        if isinstance(self.layers[0], Encode):
            raise ValueError("Encoded columns have no gradients, as categories are no numbers. Leave Encode out.")
        first = 0 if output is None else checks.output_number(output, n_outputs)
        predictor = self._predictor or self._new_predictor(X)
        X = self._examples(X)
        many = output is None and n_outputs > 1
        gradients = predictor.input_gradients(X, first, n_outputs if many else 1, logits=logits)
        x_scales = self._standardize.scales if self._standardize else None
        gradients = scaled_gradients(gradients, x_scales, self.y_scales, first)
        if not np.isfinite(gradients).all():
            raise overflow.input_gradients_not_finite(predictor.network, predictor.parameters, X, gradients)
        return gradients if many else gradients[:, 0]

    # ------------------------------------------------------------------------------------------ cost and gradient

    def cost(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return J of the model on X (m, n_x) and y, (m,) or (m, n_L), penalties included; a weighted mean if asked.

        FloatingPointError if it is infinite or NaN, as from `evaluate` and, of a gradient, from `gradients`.

        Examples
        --------
        >>> model = Model([Dense(1, initializer="zeros")]).build(n_features=2)
        >>> model.cost([[0.0, 0.0], [0.0, 0.0]], [1.0, 3.0])
        2.5
        >>> model.cost([[0.0, 0.0], [0.0, 0.0]], [1.0, 3.0], sample_weight=[3.0, 1.0])
        1.5
        """
        return self.evaluate(X, y, (), sample_weight=sample_weight)["cost"]

    def gradients(self, X: Any, y: Any, sample_weight: Any = None) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return (dW, db) of each layer, shaped as its W and b: the gradient of `cost`; db is None without bias.

        Examples
        --------
        >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], seed=0).build(n_features=2)
        >>> [(dW.shape, db.shape) for dW, db in model.gradients(X, y)]
        [((4, 2), (4, 1)), ((1, 4), (1, 1))]
        """
        parameters = self._built_parameters()
        with self._run(self._data(X, y, sample_weight), mode=codes.GRADIENT) as run:
            overflow.finite_cost(run)
        return parameters.by_layer(run.gradient)

    def _run(self, data: Data | Part | Stream, *, begun: int = 0, **settings: Any) -> Run:
        """Return a run over examples; of a stream from the epoch after those begun."""
        parameters = self._built_parameters()
        network = parameters.network
        checks.width(first_of(data).X.shape, network.n_features)  # another thread may have built the model since
        course = Course(**{name: settings.pop(name) for name in Course._fields if name in settings})
        examples: Data | Part | Parts
        if isinstance(data, Stream):
            examples = Parts(
                data, batch_size=course.batch_size, chunk=network.chunk, epochs=course.epochs - begun,
                first_epoch=course.first_epoch + begun, key=course.key if course.shuffle else None,
            )  # fmt: skip
            course = course._replace(shuffle=False)
        else:
            examples = data
        return Run(network, parameters.vector, examples, course=course, **settings)

    def check_gradients(self, X: Any, y: Any, sample_weight: Any = None) -> gradient_check.GradientReport:
        """Compare back propagation with central differences in float64, parameter by parameter; builds if needed.

        Returns a report that prints, with `max_relative_error` and `ok`. Nothing is dropped out. Takes four costs or
        more per parameter: meant for small networks and some tens of examples.

        Examples
        --------
        >>> report = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], seed=0).check_gradients(X, y)
        >>> report.ok, report.max_relative_error < 1e-6
        (True, True)
        """
        checked = self._gate().data(X, y, sample_weight)
        if self._parameters is None:
            self.build(checked.X.shape[1])
        parameters = self._built_parameters()
        network = parameters.network.replaced(dtype=np.dtype(np.float64))
        data = self._gate()._replace(dtype=network.dtype, n_features=network.n_features).data(X, y, sample_weight)
        data = self._scaled(data, network.dtype)
        errors = gradient_check.check_gradients(network, parameters.vector.astype(network.dtype), data)
        return gradient_check.GradientReport(parameters.by_layer(errors))

    # --------------------------------------------------------------------------------------------------- training

    def step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Update the parameters once, with all of X and y as one batch; return the cost before. Builds if needed.

        TrainingDivergedError as from `fit`.

        Examples
        --------
        >>> model = Model([Dense(1, "sigmoid")], optimizer=SGD(1.0), seed=0)
        >>> [round(model.step(X, y), 3) for _ in range(3)]
        [0.641, 0.54, 0.473]
        """
        history = History()
        with self._training("step"):
            data = self._gate().data(X, y, sample_weight)
            self.optimizer.learning_rates(self.epochs_finished, 1, self.dtype)
            self._prepare_parameters(data, checks.column_names(X))
            self._learn_scales(data)
            self._train(self._scaled(data, self.dtype), Progress(False, 1), history, epochs=1)
        return history.cost[0]

    @together
    def fit(
        self,
        X: Any,
        y: Any = None,
        epochs: int = 100,
        *,
        batch_size: int | None = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        validation_data: Any = None,
        validation_split: float | str = 0.0,
        metrics: Sequence[str] | str = (),
        callbacks: Sequence[AnyCallback] | AnyCallback = (),
        verbose: Any = "auto",
        threads: int | None = None,
        resume: Any = None,
        communicator: Any = None,
    ) -> History:
        """Train on X (m, n_x) and y, (m,) or (m, n_L). Calling again goes on from where it stopped.

        Parameters
        ----------
        X, y : array_like
            Examples in rows, and their targets: 0/1 or probabilities for a sigmoid output with cross-entropy.
        epochs : int, default 100
            Passes over the data.
        batch_size : int or None, default 32
            Examples per update; None: all of them, in the order of X.
        shuffle : bool, default True
            Draw a new order of the examples for each epoch.
        sample_weight : array_like, (m,), optional
            How much each example counts: the cost is a weighted mean. Not negative.
        class_weight : dict, "balanced" or None
            How much the examples of each class count, 1 for a class left out; "balanced": so that all classes count
            alike. Multiplies `sample_weight`; examples held out are not weighted by it.
        label_smoothing : float, default 0.0
            For a cross-entropy, the share of each target that is spread evenly over the classes, so that the network is
            never certain: y (1 - s) + s / K of K classes, y (1 - s) + s / 2 of a sigmoid unit. The cost in `History`,
            which is what training lowers, is of those; `val_cost` and metrics, like `cost` and `evaluate`, are of y as
            it is. Source: Szegedy et al., Rethinking the Inception architecture for computer vision, 2016.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Examples to validate with after each epoch.
        validation_split : float or "last", default 0.0
            Or hold out this share of the examples, of each class alike if y holds classes: drawn at random, not taken
            from the end, and the same ones each time, for a seed and as many examples, whatever the network. "last":
            the last fifth of the rows, as for what comes in the order of time. `shuffle` changes nothing in that.
        metrics : sequence of str
            Of `fastnet.metrics`: "accuracy", "auc", "log_loss", "f1", "r2", "mae", "mse". Those of training are of what
            each example's batch gave before its update, as `History.cost` is; those of validation, after the epoch.
            Examples count alike in them.
        callbacks : sequence of callables
            Called after each epoch as f(model, epoch, logs), `epoch` counted from 0 and `logs` a dict of the costs and
            metrics; `EarlyStopping`, `ReduceOnPlateau` or any function. Returning True ends the fit.
        verbose : "auto", bool or int
            Show the progress; "auto": on a terminal, and in a notebook. 0 is False, and any other number True.
        threads : int or None
            None: as many as the work is worth, up to `get_num_threads()`. Never more than cores that are free. The
            result does not depend on it.
        resume : str or os.PathLike, optional
            Go on where an earlier call, of the same model in the same way, stood when it was killed: the folder of its
            `Checkpoint`, whose newest whole file counts, or one file. The result is to the bit that of a fit that was
            never killed, `History` included. Where that folder is empty yet, and a `Checkpoint` of this fit writes to
            it, the fit begins. `epochs` may have grown; a model that has parameters already loses them. One that early
            stopping or a callback has ended stays ended; one that a `TimeLimit` has goes on.
        communicator : mpi4py.MPI.Comm or Communicator, optional
            Train with other processes, *ranks*: X and y are then this one's shard of the examples, perhaps an empty
            one, and so are those held out; a batch is one of each rank, `batch_size` that of this one. All call `fit`
            alike, and get the same model and the same `History`. Rank 0 alone shows progress and writes checkpoints,
            which all read to resume; callbacks are called on all. What one rank raises ends all of them. See the guide,
            "Many machines".

        Returns
        -------
        History
            Also kept as `model.history`, which is there when training was interrupted or diverged, too.

        Raises
        ------
        ValueError, TypeError
            If the data or a setting is not as described, or is another than that of the fit to resume; nothing has
            changed then.
        FileFormatError, OSError
            If no checkpoint can be read, or none can be written.
        TrainingDivergedError
            If the cost or a parameter becomes infinite or NaN; the model keeps the last finite parameters.
        RuntimeError
            If another rank has failed, and how.

        Examples
        --------
        >>> model = Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)
        >>> history = model.fit(X, y, epochs=20, batch_size=16, validation_split=0.2, metrics=["accuracy"])
        >>> round(history.cost[0], 2), round(history.cost[-1], 2), round(history.val_accuracy[-1], 2)
        (0.65, 0.01, 1.0)
        """
        epochs = checks.positive_integer(epochs, "epochs")
        batch_size = None if batch_size is None else checks.positive_integer(batch_size, "batch_size")
        threads = None if threads is None else checks.positive_integer(threads, "threads")
        shuffle = checks.flag(shuffle, "shuffle")
        smoothing = checks.label_smoothing(label_smoothing, name_of(self.loss))
        progress = Progress(verbose, epochs)
        activation = self.output_layer.activation
        names = metrics_for(metrics, activation)
        callbacks = checked_callbacks(callbacks)
        wanted = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
        callbacks = tuple(callback for callback in callbacks if not isinstance(callback, Checkpoint))
        ranks: Ranks | None = communicator  # which `together` makes of it
        speaks = ranks is None or ranks.rank == 0
        progress.wanted = progress.wanted and speaks
        with self._training("fit"):
            gate = self._gate()._replace(is_part=ranks is not None)
            balanced = ranks is not None and isinstance(class_weight, str) and not is_stream(X)
            weights = None if balanced else class_weight
            examples = prepared(gate, X, y, sample_weight, weights, validation_data, validation_split)
            first = first_of(examples.training)
            streamed = isinstance(examples.training, Stream)
            columns = examples.training.feature_names if streamed else checks.column_names(X)
            check_callbacks(callbacks, names, validated=examples.held_out is not None)
            shuffle = shuffle and batch_size is not None
            if ranks is not None:
                alike = {"epochs": epochs, "metrics": names, "shuffle": shuffle, "balanced": balanced}
                alike |= {"label_smoothing": smoothing, "checkpoints": len(wanted), "resumes": resume is not None}
                alike |= {"columns": columns}
                self._check_alike(ranks, examples, callbacks, alike)
                if balanced:
                    examples = examples.balanced(class_weight, self.output_layer, ranks.sums)
            batches = 1
            if self.optimizer.is_by_step:
                batches = updates_in_epoch(n_examples_of(examples, batch_size), batch_size, ranks)
            savers, resumed = [], None
            if wanted or resume is not None:
                from fastnet.engine import checkpoints
                from fastnet.files.network import CHECKPOINT

                m = len(first.X)
                if streamed:
                    m = MOST_EXAMPLES
                    if any(each.batches is not None for each in wanted):
                        raise ValueError(
                            "batches= of a Checkpoint is not for a stream: leave it out, and every= counts its epochs."
                        )
                given = checkpoints.FitSettings(
                    checkpoints.text_of(self.optimizer), min(batch_size or m, m), shuffle, names,
                    checkpoints.names_of(callbacks), smoothing, checkpoints.fingerprint(examples),
                )  # fmt: skip
                given = given if ranks is None else given.of_all(ranks, wanted)
                resumed = self._resumed(resume, wanted, given, epochs)
                if ranks is not None:  # all have read before anything is written
                    ranks.check_text(f"after epoch {resumed.fit['epoch'] if resumed else 0} of what resume names")
                came_from = None if resumed is None else resume
                saved = functools.partial(self._saved, CHECKPOINT)
                savers = [checkpoints.Saver(each, given, saved, came_from) for each in wanted if speaks]
            if resumed is None:
                n = min(epochs * batches, EPOCHS_AT_ONCE)
                self.optimizer.learning_rates(self.epochs_finished * batches, n, self.dtype, batches)
            if self.epochs_finished == 0 and len(first.X) and speaks:
                self._warn_of_scales(first)
            if ranks is not None:
                ranks.agree()
            # From here on, things change.
            if resumed is not None:
                self._go_back_to(resumed)
                progress.go_on(resumed.fit["epoch"], resume)
            self._prepare_parameters(first, columns)
            cores = None
            if ranks is not None:
                self._take_from_first(ranks)
                cores = ranks.cores()
            # By the seed alone, so that networks of other sizes are validated with the same rows; not as a program
            # draws that has the same seed.
            key = (self.seed, 1) if isinstance(self.seed, int) else self._key
            data, held_out = examples.divided(activation, key)
            self._learn_scales(data, ranks)
            data = self._scaled(data, self.dtype)
            held_out = None if held_out is None else self._scaled(held_out, self.dtype)
            history = self._fitted(
                data, progress, names, held_out, callbacks, savers, resumed, epochs=epochs,
                batch_size=batch_size, threads=threads, shuffle=shuffle, label_smoothing=smoothing, ranks=ranks,
                cores=None if threads else cores, batches=batches,
            )  # fmt: skip
            if history.stopped_reason == "not_fallen" and speaks:
                some = first_of(data)
                if len(some.X):
                    some = some.take(np.arange(min(len(some.X), diagnostics.ROWS_LOOKED_AT)))
                    diagnostics.warn_of_cost(history.cost, self._diagnosis(some.X, None))
        return history

    def _fitted(self, data: Data | Part | Stream, progress: Progress, *what: Any, **settings: Any) -> History:
        """Train as `_train` does, on examples on the scale of the network; return the history, which the model has."""
        self.history = history = History(stopped_reason="interrupted")  # unless more is known, as while it compiles
        is_first = self.epochs_finished == 0
        self._train(data, progress, history, *what, **settings)
        if is_first and history.stopped_reason == "epochs" and diagnostics.has_not_fallen(history.cost):
            history.stopped_reason = "not_fallen"
        return history

    def _check_alike(
        self, ranks: Ranks, examples: FitData, callbacks: tuple[AnyCallback, ...], settings: dict[str, Any]
    ) -> None:
        """Raise ValueError unless all ranks train the same network in the same way, and have some examples in all."""
        from fastnet.engine.checkpoints import names_of, text_of

        first, held_out = first_of(examples.training), examples.held_out
        targets = [(data.y.dtype.kind, data.y.shape[1]) for data in (first, first_of(held_out or first))]
        scales = [self._standardize and self._standardize.scales, self.y_scales]
        known = [each and zlib.crc32(np.concatenate(each).tobytes()) for each in scales]
        network = network_of(self.layers, self.loss, first.X.shape[1], self.dtype, l2=self.l2, l1=self.l1)
        settings |= {
            "optimizer": text_of(self.optimizer), "callbacks": names_of(callbacks), "scales": known,
            "validated": held_out is not None, "standardize_y": self.standardize_y, "y": targets,
        }  # fmt: skip
        ranks.check_text(f"{self!r}, {network}, {settings}")
        weights = [1.0 if data is None else data.total_weight for data in (examples.training, held_out)]
        if examples.share:
            weights[1] = float(examples.training.n_counted > 1)
        for total, name in zip(ranks.sums([weights])[0], ("to train", "to validate"), strict=True):
            if total == 0:
                raise ValueError(f"No rank has examples {name} with, of a weight greater than 0. Give some.")

    def _take_from_first(self, ranks: Ranks) -> None:
        """Take what rank 0 has: parameters, what its optimizer remembers, and what random numbers are drawn from."""
        state = self._optimizer_state or OptimizerState.fresh(self.optimizer, self._built())
        numbers = np.array([self._key, self.epochs_finished])
        ranks.take_from_first(self.parameters, *state, numbers)
        self._optimizer_state = state
        self._key, self.epochs_finished = map(int, numbers)

    def _prepare_parameters(self, data: Data, feature_names: tuple[str, ...] | None) -> None:
        """Build the model, unless it is built; ValueError if its parameters cannot be trained."""
        if self._parameters is None:
            self._build(data.X.shape[1])
            self.feature_names = feature_names
        self._check_parameters()

    def _check_parameters(self) -> None:
        """Raise ValueError if the parameters are read-only, or one is not finite."""
        if not self.parameters.flags.writeable:
            raise ValueError("The parameters of this model are read-only. Train a copy: copy.deepcopy(model).")
        checks.parameters(self.parameters)

    def _train(
        self, data: Data | Part | Stream, progress: Progress, history: History, metrics: tuple[str, ...] = (),
        held_out: Any = None, callbacks: tuple[AnyCallback, ...] = (), savers: Sequence[Saver] = (),
        resumed: Resumed | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        if self._optimizer_state is None:
            self._optimizer_state = OptimizerState.fresh(self.optimizer, self._built())
        ranks = settings.get("ranks")
        key = self._key if ranks is None else ranks.key(self._key)
        settings |= {"mode": self.optimizer, "state": self._optimizer_state, "key": key}
        first_epoch = self.epochs_finished if resumed is None else resumed.fit["first_epoch"]
        settings |= {"first_epoch": first_epoch, "with_outputs": bool(metrics)}
        begun = 0 if resumed is None else resumed.fit["epoch"]
        with self._run(data, begun=begun, compiling=progress.compiling, **settings) as run:
            history.compile_seconds = run.compile_seconds
            if isinstance(held_out, Stream):
                held_out = Parts(held_out, batch_size=None, chunk=run.chunk, epochs=settings["epochs"] - begun)
            beside = nullcontext() if held_out is None else run.beside(held_out, progress.compiling)
            with beside as validation:
                if validation:
                    history.compile_seconds += validation.compile_seconds
                watched = metrics or validation or callbacks
                watch = Watch(self, run, history, metrics, validation, callbacks) if watched else None
                reason = "" if resumed is None else resumed.restore(run, history, watch)
                try:
                    train_epochs(run, progress, history, watch, savers, reason)
                finally:
                    self.epochs_finished = run.first_epoch + run.finished_epochs

    @words.helpful
    def evaluate(
        self, X: Any, y: Any = None, metrics: Sequence[str] | str = DEFAULT_METRICS, *, sample_weight: Any = None
    ) -> Scores:
        """Return a dict of "cost" and the metrics, on X (m, n_x) and y; see `fit` for both.

        By default the metric is "accuracy", for a sigmoid or softmax output; the cost alone for any other. Weights go
        into the cost alone: examples count alike in the metrics. ValueError if a metric is unknown, or is asked of an
        output that it does not suit.

        Examples
        --------
        >>> model = Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)
        >>> history = model.fit(X, y, epochs=2)
        >>> model.evaluate(X, y, ["accuracy", "auc"])
        cost      0.4166
        accuracy  0.89
        auc       0.962
        >>> model.evaluate(X, y)["accuracy"]
        0.89
        """
        activation = self.output_layer.activation
        if metrics is DEFAULT_METRICS and activation not in CLASS_ACTIVATIONS:
            metrics = ()
        names = metrics_for(metrics, activation)
        self._built()
        with self._run(self._data(X, y, sample_weight), mode=codes.COST, with_outputs=bool(names)) as run:
            cost = overflow.finite_cost(run)
            return Scores(cost=cost, **compute(names, *in_units(self.y_scales, *run.results), activation))

    def diagnose(self, X: Any, y: Any = None) -> diagnostics.Diagnosis:
        """Return what each layer does with X (m, n_x): a report that prints, of dead and of saturated units.

        And of mean and spread of its activations; with y, of the gradients of `cost` too. Nothing is dropped out. A
        ReLU unit that is dead for all of a large X no longer learns; many saturated units learn slowly.

        Examples
        --------
        >>> model = Model([Dense(4, "relu"), Dense(1, "sigmoid")], seed=0).build(n_features=2)
        >>> model.layers[0].b = [[-100.0], [0.0], [0.0], [0.0]]
        >>> model.diagnose(X)
        layer  activation  dead units  saturated   A: mean    spread  dW: mean    spread
            1  relu               25%          -  2.95e-01  5.96e-01         -         -
            2  sigmoid              -         0%  4.31e-01  5.63e-02         -         -
        """
        dW = None if y is None else [pair[0] for pair in self.gradients(X, y)]
        return self._diagnosis(self._examples(X), dW)

    def _diagnosis(self, X: Any, dW: list[np.ndarray] | None) -> diagnostics.Diagnosis:
        targets = np.zeros((len(X), self.output_layer.units), self.dtype)
        with self._run(Data(X, read_only(targets), None), mode=codes.COST, threads=1) as run:
            return diagnostics.diagnose(run, tuple(layer.activation for layer in self._dense), dW)

    def _with_arrays(self, method: str, arrays: list[Array]) -> Self:
        """Take parameters that come as arrays, all or none; build if needed."""
        from fastnet.exchange.weights import parameter_vector

        with self._training(method):
            encode = self.layers[0] if isinstance(self.layers[0], Encode) else None
            n_inputs = encode.n_inputs if encode else None if self._parameters is None else self._built().units[0]
            values, n_inputs = parameter_vector(arrays, self._dense, self.dtype, n_inputs)
            if self._parameters is None:
                self._build(len(encode.columns) if encode else n_inputs)
            self.parameters[:] = values
        return self


def load(path: Any, *, learning_rate: Any = None, check_finite: bool = True) -> Model:
    """Return the model that `Model.save` wrote to a file, or that a checkpoint holds.

    It predicts, and goes on with training, as the one that was saved does, to the bit. Nothing in a file is ever run or
    imported: it holds numbers, texts and names, which must be among fastnet's. A file of which a byte was changed is
    refused. (Its digest says nothing of who wrote it.)

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    learning_rate : function or float, optional
        What the optimizer is to have in the place of a function of the epoch, which no file holds; a function, where
        that was within `ByStep`, or slowed down; not for other files.
        Schedules such as `CosineDecay` are in the file.
    check_finite : bool, default True
        Refuse parameters, and an optimizer's memory, that are infinite or NaN.

    Raises
    ------
    FileFormatError
        If the file is not such a file, whatever is wrong with it.
    OSError
        If it cannot be read.
    ValueError
        If the learning rate was a function and is not given, or is given and was none.

    Examples
    --------
    >>> model = Model([Dense(4, "relu"), Dense(1, "sigmoid")], seed=0)
    >>> history = model.fit(X, y, epochs=5)
    >>> model.save("model.fastnet")
    >>> loaded = fastnet.load("model.fastnet")
    >>> loaded.fit(X, y, epochs=5).cost == model.fit(X, y, epochs=5).cost
    True
    """
    from fastnet.files import network, tensors

    if learning_rate is not None and not callable(learning_rate):
        learning_rate = checks.positive_number(learning_rate, "learning_rate")
    contents = tensors.read(path)
    functions = {} if learning_rate is None else {"learning_rate": learning_rate}
    try:
        kind = network.check_kind(contents, network.MODEL, network.CHECKPOINT)
        saved = network.read(contents, functions, check_finite=check_finite)
        if kind == network.MODEL:
            network.refuse_others(contents)
        model = Model._restored(saved)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} cannot be read: {error}.") from None
    rate = model.optimizer.learning_rate
    taken = learning_rate in (rate, innermost(rate))
    if learning_rate is not None and not taken:
        raise ValueError(
            f"learning_rate is for files that were saved with a function; {str(path)!r} has {model.optimizer!r}. Leave "
            "it out, and give the model that is loaded another optimizer."
        )
    return model
