"""`train_many`: what `Model.fit` does for one network, for several at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks, words
from fastnet.callbacks import AnyCallback, Checkpoint, Pruning, checked_callbacks
from fastnet.engine import diagnostics
from fastnet.engine.course import updates_in_epoch
from fastnet.engine.examples import Data, sample_weights
from fastnet.engine.parts import Part, is_stream
from fastnet.engine.run import EPOCHS_AT_ONCE
from fastnet.engine.threads import get_num_threads, reserved_cores
from fastnet.engine.watch import check_callbacks
from fastnet.history import History
from fastnet.losses import name_of
from fastnet.many.examples import Chosen, chosen, held_out_of, one_each, row_numbers, tables_for
from fastnet.many.team import Fits, ManyProgress
from fastnet.metrics import metrics_for
from fastnet.model import Model


class Settings(NamedTuple):
    """How one of the models is trained, checked."""

    metrics: tuple[str, ...]
    callbacks: tuple[AnyCallback, ...]
    batch_size: int | None
    label_smoothing: float


class Examples(NamedTuple):
    """What one of the models is trained and validated with."""

    training: Chosen
    held_out: Chosen | None


@words.helpful
def train_many(
    models: Sequence[Model],
    X: Any,
    y: Any,
    rows: Any = None,
    epochs: int = 100,
    *,
    validation_rows: Any = None,
    batch_size: int | Sequence[int | None] | None = 32,
    shuffle: bool = True,
    sample_weight: Any = None,
    validation_sample_weight: Any = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    metrics: Sequence[str] | str = (),
    callbacks: Sequence[AnyCallback] | AnyCallback = (),
    verbose: Any = "auto",
    threads: int | None = None,
) -> list[History]:
    """Train several models at once, each on one core and on rows of its own of one table X (m, n_x) and y.

    For cross-validation, bagging, ensembles and searches. The result of each is to the bit that of
    `model.fit(X[rows], y[rows], ...)` in a loop, on any number of threads. X is checked and converted once, and no
    model copies it, unless it begins with `Standardize`. Small networks, which `fit` trains on one core, gain most; a
    large one alone is faster by `fit`, which lets all cores work on it.

    Parameters
    ----------
    models : sequence of Model
        Different ones, which share no layer. Calling again goes on from where they stopped.
    X, y : array_like
        The whole table, as `Model.fit` takes it; no stream.
    rows : sequence, optional
        For each model the rows that it trains on: their numbers, in the order in which it is to see them, of which some
        may be there twice, as in a bootstrap; or a mask (m,) of booleans; or None. None in place of the sequence: all
        rows for all.
    epochs : int, default 100
        Passes over the rows of a model.
    validation_rows : sequence, optional
        Likewise the rows to validate with after each epoch.
    batch_size : int or None, default 32
        As in `fit`; or a sequence of them, one for each model.
    shuffle, label_smoothing, metrics
        As in `fit`, for all models.
    sample_weight : array_like, (m,), optional
        How much each example of the table counts in training.
    validation_sample_weight : array_like, (m,), optional
        How much each counts in the cost of validation; None: alike, whatever `sample_weight` is. In the metrics they
        count alike, as in `fit`.
    class_weight : dict, "balanced" or None
        As in `fit`; "balanced": by the rows of each model.
    callbacks : sequence of callables
        As in `fit`. Every model gets a deep copy of its own, so that none stops by what another does. Of functions
        and methods there is no copy: they are called with each model, perhaps by several threads at once. No
        `Checkpoint` and no `Pruning`, which are of a single fit.
    verbose : "auto", bool or int
        Show how many networks are trained, as `fit` shows its epochs.
    threads : int or None
        How many models are trained at a time. None: `get_num_threads()`. Never more than cores that are free.

    Returns
    -------
    list of History
        Of each model, also kept as `model.history`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; nothing has changed then.
    RuntimeError
        If a model is being trained already.
    TrainingDivergedError
        As from `fit`. Whatever the fit of a model raises ends those of the others, as Ctrl-C does: models that have
        begun keep what they have learned and its `history`, with `stopped_reason` "interrupted". The first error in the
        order of the models is raised, with a note that says of which one it is.

    Examples
    --------
    >>> models = [Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=i) for i in range(4)]
    >>> held_out = [np.arange(100) % 4 == i for i in range(4)]  # cross-validation
    >>> histories = fastnet.train_many(
    ...     models, X, y, rows=[~mask for mask in held_out], epochs=20, validation_rows=held_out, metrics=["accuracy"]
    ... )
    >>> bool(np.mean([history.val_accuracy[-1] for history in histories]) > 0.9)
    True
    """
    models = checked_models(models)
    k = len(models)
    epochs = checks.positive_integer(epochs, "epochs")
    shuffle = checks.flag(shuffle, "shuffle")
    most = get_num_threads() if threads is None else checks.positive_integer(threads, "threads")
    progress = ManyProgress(verbose, k)
    callbacks = checked_callbacks(callbacks)
    if is_stream(X):
        raise TypeError(f"X must be an array, not a stream ({type(X).__name__}). Call fit of each model with it.")
    for callback in callbacks:
        if isinstance(callback, (Checkpoint, Pruning)):
            raise ValueError(f"callbacks has {callback!r}, which is of a single fit. Call fit of each model with it.")
    several = isinstance(batch_size, (list, tuple)) or np.ndim(batch_size) > 0  # type: ignore[arg-type]
    sizes = one_each(batch_size, k, "batch_size", "one") if several else [batch_size] * k
    settings = []
    for number, (model, size) in enumerate(zip(models, sizes, strict=True)):
        name = f"batch_size[{number}]" if several else "batch_size"
        settings.append(
            Settings(
                metrics_for(metrics, model.output_layer.activation),
                copies_of(callbacks),
                None if size is None else checks.positive_integer(size, name),
                checks.label_smoothing(label_smoothing, name_of(model.loss)),
            )
        )
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(model._training("train_many"))
        tables = tables_for([model._gate() for model in models], X, y, sample_weight)
        examples = chosen_for(models, tables, rows, validation_rows, validation_sample_weight, class_weight)
        for model, each, data in zip(models, settings, examples, strict=True):
            try:
                check_callbacks(each.callbacks, each.metrics, validated=data.held_out is not None)
            except ValueError as error:
                remedy = "Pass validation_data or validation_split to fit"  # of a Model
                raise ValueError(str(error).replace(remedy, "Pass validation_rows")) from None
            batches = batches_of(model, data, each)
            n_rates = min(epochs * batches, EPOCHS_AT_ONCE)
            model.optimizer.learning_rates(model.epochs_finished * batches, n_rates, model.dtype, batches)
            if model._parameters is None:
                model._network(data.training.table.X.shape[1])
            else:
                model._check_parameters()
        looked_at = set()
        for model, table in zip(models, tables, strict=True):
            kind = id(table), model._standardize is None, model.standardize_y, name_of(model.loss)
            if model.epochs_finished == 0 and kind not in looked_at:
                looked_at.add(kind)
                model._warn_of_scales(table)
        # From here on, things change.
        columns = checks.column_names(X)

        def prepare(number: int) -> None:  # in order: seeds may be drawn from one generator
            models[number]._prepare_parameters(tables[number], columns)

        fits = [
            partial(fit, model, data, each, progress, epochs, shuffle)
            for model, data, each in zip(models, examples, settings, strict=True)
        ]
        with reserved_cores(min(most, k)) as granted:
            Fits(fits, prepare, progress).all(granted)
        histories: list[Any] = [model.history for model in models]
        for model, data, history in zip(models, examples, histories, strict=True):
            if history.stopped_reason == "not_fallen":
                some = data.training.first(diagnostics.ROWS_LOOKED_AT)
                X_of_some = model._scaled(some.copied(), model.dtype).X
                diagnostics.warn_of_cost(history.cost, model._diagnosis(X_of_some, None))
    return histories


def copies_of(callbacks: tuple[AnyCallback, ...]) -> tuple[AnyCallback, ...]:
    """Return deep copies of callbacks, but functions, and methods, as they are.

    TypeError, which says how to do without, if one cannot be copied.
    """
    memo = {id(each): each for each in callbacks if isinstance(each, (MethodType, partial))}
    try:
        return copy.deepcopy(callbacks, memo)
    except (TypeError, RecursionError) as error:
        raise TypeError(
            f"callbacks must be copied for each model, but one cannot: {error}. Give its class a __deepcopy__, or pass "
            "a function that calls it."
        ) from error


def checked_models(models: Any) -> list[Model]:
    """Return the models as a list; TypeError or ValueError unless they are some, all different, with their own layers.

    A `Dropout`, which remembers nothing, may be shared.
    """
    found = None if isinstance(models, (Model, str, bytes, dict)) else models
    try:
        found = list(found)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"models must be a sequence of Models, not {models!r}.") from None
    if not found:
        raise ValueError("models is empty. Give at least one Model.")
    owners: dict[int, int] = {}
    for number, model in enumerate(found):
        if not isinstance(model, Model):
            raise TypeError(f"models[{number}] must be a Model, not {model!r}.")
        if owners.setdefault(id(model), number) != number:
            raise ValueError(
                f"models[{number}] is models[{owners[id(model)]}] again. Make a new Model for each, or a copy.copy."
            )
        for layer in filter(None, (*model._dense, model._standardize)):
            if owners.setdefault(id(layer), number) != number:
                raise ValueError(
                    f"models[{number}] has a layer, {layer!r}, that models[{owners[id(layer)]}] has too. Make new "
                    "layers for each model."
                )
    return found


def chosen_for(
    models: list[Model], tables: list[Data], rows: Any, validation_rows: Any, validation_sample_weight: Any,
    class_weight: Any,
) -> list[Examples]:  # fmt: skip
    """Return what each model is trained and validated with; TypeError or ValueError if that cannot be."""
    k, m, found = len(models), len(tables[0].X), []
    what = "row numbers, or a mask,"
    of_training = one_each(rows, k, "rows", what)
    of_held_out = one_each(validation_rows, k, "validation_rows", what)
    if validation_sample_weight is not None and validation_rows is None:
        raise ValueError("validation_sample_weight belongs to validation_rows. Pass both, or none.")
    name = "validation_sample_weight"
    of_dtype = {dtype: sample_weights(validation_sample_weight, m, dtype, name) for dtype in {m.dtype for m in models}}
    for number, (model, table) in enumerate(zip(models, tables, strict=True)):
        numbers = row_numbers(of_training[number], m, f"rows[{number}]")
        held_out_numbers = row_numbers(of_held_out[number], m, f"validation_rows[{number}]")
        held_out = None
        try:
            training = chosen(table, numbers, class_weight, model._gate())
            if validation_rows is not None:
                held_out = held_out_of(table, held_out_numbers, of_dtype[model.dtype])
        except (TypeError, ValueError) as error:
            raise type(error)(f"For models[{number}]: {error}") from None
        found.append(Examples(training, held_out))
    return found


def batches_of(model: Model, examples: Examples, settings: Settings) -> int:
    """Return how many learning rates an epoch has: 1, or one for each update."""
    if not model.optimizer.is_by_step:
        return 1
    rows, table = examples.training.rows, examples.training.table
    return updates_in_epoch(len(table.X) if rows is None else len(rows), settings.batch_size, None)


def fit(
    model: Model, examples: Examples, settings: Settings, progress: ManyProgress, epochs: int, shuffle: bool
) -> None:
    """Train a model, which is built, in this thread alone."""
    data = scaled(model, examples.training, learns=True)
    try:
        held_out = None if examples.held_out is None else scaled(model, examples.held_out)
    except ValueError as error:
        raise ValueError(f"Of X[rows], the rows to validate with: {error}") from None
    model._fitted(
        data, progress, settings.metrics, held_out, settings.callbacks, epochs=epochs, batch_size=settings.batch_size,
        shuffle=shuffle and settings.batch_size is not None, label_smoothing=settings.label_smoothing, threads=1,
        cores=1, batches=batches_of(model, examples, settings),
    )  # fmt: skip


def scaled(model: Model, chosen: Chosen, *, learns: bool = False) -> Data | Part:
    """Return examples on the scale of a network, which first learns it from them if it `learns`.

    X is copied only where it comes on another scale.
    """
    if model._standardize is None and not model.standardize_y:
        return chosen.in_place()
    y = chosen.y
    data = Data(y, y, chosen.weights) if model._standardize is None else chosen.copied()
    if learns:
        model._learn_scales(data)
    found: Data = model._scaled(data, model.dtype)
    return found if model._standardize else chosen.in_place(found.y)
