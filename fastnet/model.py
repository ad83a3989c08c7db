"""Model: a list of layers over one flat parameter vector."""

from __future__ import annotations  # NumPy loads np.random when it is first named: 20 ms of an import

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.architecture import Architecture
from fastnet.callbacks import AnyCallback, checked_callbacks
from fastnet.engine import gradient_check
from fastnet.engine.diagnostics import Diagnosis, diagnose, warn_of_scales
from fastnet.engine.examples import Data, check_split, read_only, sample_weights, split, with_class_weights
from fastnet.engine.fit import train
from fastnet.engine.gradient_check import GradientReport
from fastnet.engine.predict import Predictor
from fastnet.engine.progress import Progress
from fastnet.engine.recipe import compiled_train, is_compiled
from fastnet.engine.run import EPOCHS_AT_ONCE, Course, OptimizerState, Run
from fastnet.engine.watch import Watch, check_callbacks
from fastnet.history import History
from fastnet.kernels import codes
from fastnet.losses import name_of
from fastnet.metrics import compute, metrics_for

DEFAULT_METRICS = ("accuracy",)


class Model(Architecture):
    """A network of L layers, [LINEAR -> ACTIVATION] x L.

    Parameters
    ----------
    layers : sequence of Dense and Dropout
        From the first hidden layer to the output; one layer alone is logistic or linear regression.
    loss : str, Huber or None
        "binary_crossentropy" (needs a sigmoid output), "categorical_crossentropy" (softmax), "poisson" (linear: Z is
        then the logarithm of the mean, and A = e^Z), "mean_squared_error", "mean_absolute_error" or "huber" (any other
        but softmax); None: by the last activation, sigmoid, softmax or linear.
    optimizer : SGD, RMSprop, Adagrad, Adam, AdamW or None
        None: `SGD()`.
    l2 : float, default 0.0
        lambda, for all layers that do not set their own: J += lambda/(2m) * sum ||W||^2. m is the number of examples
        in the batch, or the sum of their weights.
    dtype : str, default "float32"
        Or "float64": of parameters, inputs and all arithmetic.
    seed : int, numpy.random.Generator or None
        Where initial weights, shuffles and dropout come from. None: different at every run.
    l1 : float, default 0.0
        The same for L1: J += l1/m * sum |W|. Its gradient at zero is taken as zero.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range, or the loss does not fit the last activation.
    """

    def _examples(self, X: Any) -> np.ndarray:
        return checks.examples(X, self.dtype, self._built().units[0])

    def _data(self, X: Any, y: Any, sample_weight: Any = None, *, n_features: int | None = None) -> Data:
        """Check X, y and weights together and return them as the kernels take them.

        X must have `n_features`; None: as many as the model was built for, if it is built.
        """
        if n_features is None and self._network is not None:
            n_features = self._network.units[0]
        X = checks.examples(X, self.dtype, n_features)
        y = checks.targets(y, self.dtype, X.shape, self.output_layer.units, name_of(self.loss))
        return Data(X, y, sample_weights(sample_weight, len(X), self.dtype))

    def _build_for(self, data: Data) -> None:
        """Build the model, unless it is built."""
        if self._network is None:
            self.build(data.X.shape[1])

    # ------------------------------------------------------------------------------------------------- prediction

    def forward(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Return A_L, the activations of the last layer, (m, n_L), for X (m, n_x).

        A row's result depends on no other row, to the bit. With `out` (m, n_L), C-contiguous and of the model's dtype,
        the result is written there; up to 64 rows of that kind of X then take no memory.
        """
        predictor = self._predictor
        if predictor is None:
            X = self._examples(X)  # what is wrong with it is said before seconds of compiling
            predictor = self._make_predictor()
        # A prediction of one row takes 3 us, a third of it these lines: an array that is right is only looked at.
        if not (
            type(X) is np.ndarray
            and X.dtype is predictor.dtype
            and X.ndim == 2
            and X.shape[1] == predictor.n_features
            and X.shape[0]
            and (X.flags.carray or (X.flags.c_contiguous and X.flags.aligned))
        ):
            X = self._examples(X)
        shape = (X.shape[0], predictor.n_outputs)
        if out is None:
            out = np.empty(shape, predictor.dtype)
        else:
            checks.output(out, shape, predictor.dtype)
        if not predictor(X, out):
            self._examples(X)  # says which values are not finite
        return out

    def _make_predictor(self) -> Predictor:
        self._predictor = made = Predictor(self._built(), self._parameters)
        return made

    def predict(self, X: Any) -> np.ndarray:
        """Return the prediction for each row of X, (m,) if the last layer has one unit or is a softmax, else (m, n_L).

        Of a sigmoid output, 0 or 1, by whether A_L exceeds 0.5; of a softmax, the index of the largest A_L, an
        integer; of others, A_L itself.
        """
        A = self.forward(X)
        if self.output_layer.activation == "softmax":
            classes: np.ndarray = np.argmax(A, axis=1)
            return classes
        if self.output_layer.activation == "sigmoid":
            A = (A > 0.5).astype(self.dtype)
        return A[:, 0] if A.shape[1] == 1 else A

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities: (m, 2), of the classes 0 and 1, for one sigmoid unit; else A_L, (m, n_L).

        Raises
        ------
        ValueError
            If the last activation is neither the sigmoid nor a softmax.
        """
        if not self._is_classifier:
            raise ValueError(
                f"predict_proba needs a last activation of 'sigmoid' or 'softmax', but the last layer has "
                f"{self.output_layer.activation!r}. Use predict(X) for its values."
            )
        A = self.forward(X)
        return np.hstack([1 - A, A]) if A.shape[1] == 1 else A

    @property
    def _is_classifier(self) -> bool:
        return self.output_layer.activation in ("sigmoid", "softmax")

    # ------------------------------------------------------------------------------------------ cost and gradient

    def cost(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return J of the model on X (m, n_x) and y, (m,) or (m, n_L), penalties included; a weighted mean if asked."""
        self._built()
        with self._run(self._data(X, y, sample_weight), mode=codes.COST) as run:
            return run.cost()

    def gradients(self, X: Any, y: Any, sample_weight: Any = None) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return (dW, db) of each layer, shaped as its W and b: the gradient of `cost`; db is None without bias."""
        self._built()
        with self._run(self._data(X, y, sample_weight), mode=codes.GRADIENT) as run:
            run.cost()
        return self._by_layer(run.gradient)

    def _run(self, data: Data, **settings: Any) -> Run:
        course = Course(**{name: settings.pop(name) for name in Course._fields if name in settings})
        return Run(self._built(), self._parameters, data, course=course, **settings)

    def check_gradients(self, X: Any, y: Any, sample_weight: Any = None) -> GradientReport:
        """Compare back propagation with central differences in float64, parameter by parameter; builds if needed.

        Returns a report that prints, with `max_relative_error` and `ok`. Nothing is dropped out. Takes four costs or
        more per parameter: meant for small networks and some tens of examples.
        """
        self._build_for(self._data(X, y, sample_weight))
        double = np.dtype(np.float64)
        X = checks.examples(X, double)
        y = checks.targets(y, double, X.shape, self.output_layer.units, name_of(self.loss))
        data = Data(X, y, sample_weights(sample_weight, len(X), double))
        network = self._built().replaced(dtype=double)
        errors = gradient_check.check_gradients(network, self._parameters.astype(double), data)
        return GradientReport(self._by_layer(errors))

    # --------------------------------------------------------------------------------------------------- training

    def step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Update the parameters once, with all of X and y as one batch; return the cost before. Builds if needed.

        Raises
        ------
        TrainingDivergedError
            As `fit` does.
        """
        data = self._data(X, y, sample_weight)
        self._build_for(data)
        history = History()
        self._train(data, Progress(False, 1), history, epochs=1)
        return history.cost[0]

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 100,
        batch_size: int | None = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        class_weight: Any = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        metrics: Sequence[str] | str = (),
        callbacks: Sequence[AnyCallback] | AnyCallback = (),
        verbose: Any = "auto",
        threads: int | None = None,
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
        validation_data : (X, y) or (X, y, sample_weight), optional
            Examples to validate with after each epoch.
        validation_split : float, default 0.0
            Or hold out this share of the examples, of each class alike if y holds classes. The same ones each time,
            for a model and as many examples.
        metrics : sequence of str
            Of `fastnet.metrics`: "accuracy", "auc", "log_loss", "f1", "r2", "mae", "mse". Those of training are of what
            each example's batch gave before its update, as `History.cost` is; those of validation, after the epoch.
            Examples count alike in them.
        callbacks : sequence of callables
            Called after each epoch as f(model, epoch, logs), `epoch` counted from 0 and `logs` a dict of the costs and
            metrics; `EarlyStopping`, `ReduceOnPlateau` or any function. Returning True ends the fit.
        verbose : "auto" or bool
            Show the progress; "auto": on a terminal, and in a notebook.
        threads : int or None
            None: as many as the work is worth, up to `get_num_threads()`. Never more than cores that are free. The
            result does not depend on it.

        Returns
        -------
        History
            Also kept as `model.history`, which is there when training was interrupted or diverged, too.

        Raises
        ------
        ValueError, TypeError
            If the data or a setting is not as described; nothing has changed then.
        TrainingDivergedError
            If the cost or a parameter becomes infinite or NaN; the model keeps the last finite parameters.
        """
        epochs = checks.positive_integer(epochs, "epochs")
        batch_size = None if batch_size is None else checks.positive_integer(batch_size, "batch_size")
        threads = None if threads is None else checks.positive_integer(threads, "threads")
        progress = Progress(verbose, epochs)
        activation = self.output_layer.activation
        names = metrics_for(metrics, activation)
        callbacks = checked_callbacks(callbacks)
        data = self._data(X, y, sample_weight)
        held_out = self._held_out(validation_data, data.X.shape[1])
        share = checks.number_below_one(validation_split, "validation_split")
        if share and held_out:
            raise ValueError("Pass validation_data or validation_split, not both.")
        check_callbacks(callbacks, names, validated=bool(share or held_out))
        weighted = with_class_weights(data, class_weight, activation, self.output_layer.units)
        if share:
            check_split(weighted)
        self.optimizer.learning_rates(self._epochs_finished, min(epochs, EPOCHS_AT_ONCE))
        self._refuse_while_training("fit")
        if self._epochs_finished == 0:
            assert isinstance(data.X, np.ndarray)
            warn_of_scales(data.X)
        # From here on, things change.
        self._build_for(data)
        if share:
            kept, taken = split(weighted, share, activation, self._key)
            weighted, held_out = weighted.take(kept), data.take(taken)
        self.history = history = History()
        shuffle = bool(shuffle) and batch_size is not None
        history.compile_seconds = self._compile(weighted, held_out, batch_size, bool(names), progress)
        self._train(
            weighted, progress, history, epochs=epochs, batch_size=batch_size, threads=threads,
            shuffle=shuffle, metrics=names, held_out=held_out, callbacks=callbacks,
        )  # fmt: skip
        return history

    def _compile(
        self, data: Data, held_out: Data | None, batch_size: int | None, with_outputs: bool, progress: Progress
    ) -> float:  # fmt: skip
        """Compile, or load, what training needs and is not there yet; return the seconds."""
        network, size = self._built(), min(batch_size or len(data.X), len(data.X))
        needed = [network.recipe(self.optimizer, data, size, with_outputs)]
        if held_out:
            needed.append(network.without_dropout.recipe(codes.COST, held_out, len(held_out.X), with_outputs))
        if all(map(is_compiled, needed)):
            return 0.0
        start = time.perf_counter()
        with progress.compiling():
            for recipe in needed:
                compiled_train(recipe)
        return time.perf_counter() - start

    def _held_out(self, validation_data: Any, n_features: int) -> Data | None:
        """Return the examples to validate with as the kernels take them."""
        if validation_data is None:
            return None
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            came = f"a {type(validation_data).__name__}"
            if isinstance(validation_data, (tuple, list)):
                came += f" of {len(validation_data)}"
            raise TypeError(f"validation_data must be (X, y) or (X, y, sample_weight), not {came}.")
        width = np.shape(validation_data[0])[1:]
        if self._network is None and len(width) == 1 and width[0] != n_features:
            raise ValueError(f"In validation_data: X has {width[0]} features, but the X to train with {n_features}.")
        try:
            return self._data(*validation_data, n_features=n_features)
        except (TypeError, ValueError) as error:
            raise type(error)(f"In validation_data: {error}") from None

    def _train(
        self,
        data: Data,
        progress: Progress,
        history: History,
        *,
        epochs: int,
        batch_size: int | None = None,
        shuffle: bool = False,
        threads: int | None = None,
        metrics: tuple[str, ...] = (),
        held_out: Data | None = None,
        callbacks: tuple[AnyCallback, ...] = (),
    ) -> None:
        self._refuse_while_training("step or fit")
        checks.refuse_not_finite(
            self._parameters, "parameters", "non-finite {}", "Set W and b anew, or call build(n_features)."
        )
        if self._optimizer_state is None:
            self._optimizer_state = OptimizerState.fresh(self.optimizer, len(self._parameters), self.dtype)
        with ExitStack() as ends:
            run = ends.enter_context(
                self._run(
                    data,
                    mode=self.optimizer,
                    state=self._optimizer_state,
                    batch_size=batch_size,
                    epochs=epochs,
                    key=self._key,
                    shuffle=shuffle,
                    first_epoch=self._epochs_finished,
                    threads=threads,
                    with_outputs=bool(metrics),
                )
            )
            watch = None
            if metrics or held_out or callbacks:
                watch = ends.enter_context(Watch(self, run, history, metrics, held_out, callbacks))
            self._is_training = True
            try:
                train(run, progress, history, watch)
            finally:
                self._is_training = False
                self._epochs_finished += run.finished_epochs

    def evaluate(
        self, X: Any, y: Any, metrics: Sequence[str] | str = DEFAULT_METRICS, *, sample_weight: Any = None
    ) -> dict[str, float]:
        """Return a dict of "cost" and the metrics, on X (m, n_x) and y; see `fit` for both.

        By default the metric is "accuracy", for a sigmoid or softmax output; the cost alone for any other. Weights go
        into the cost alone: examples count alike in the metrics.

        Raises
        ------
        ValueError
            If a metric is unknown, or is asked of an output that it does not suit.
        """
        if metrics is DEFAULT_METRICS and not self._is_classifier:
            metrics = ()
        activation = self.output_layer.activation
        names = metrics_for(metrics, activation)
        self._built()
        data = self._data(X, y, sample_weight)
        with self._run(data, mode=codes.COST, with_outputs=bool(names)) as run:
            return {"cost": run.cost(), **compute(names, *run.results, activation)}

    def diagnose(self, X: Any, y: Any = None) -> Diagnosis:
        """Return what each layer does with X (m, n_x): a report that prints, of dead and of saturated units.

        And of mean and spread of its activations; with y, of the gradients of `cost` too. Nothing is dropped out. A
        ReLU unit that is dead for all of a large X no longer learns; many saturated units learn slowly.
        """
        network = self._built()
        X = self._examples(X)
        dW = None if y is None else [pair[0] for pair in self.gradients(X, y)]
        targets = np.zeros((len(X), network.units[-1]), self.dtype)
        with self._run(Data(X, read_only(targets), None), mode=codes.COST, threads=1) as run:
            return diagnose(run, tuple(layer.activation for layer in self._dense), dW)
