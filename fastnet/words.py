"""The words of other libraries: what names scikit-learn, Keras and PyTorch have for what fastnet names otherwise.

A name is taken whatever its case, with hyphens or spaces for underscores; reports have fastnet's own. Where no name is
meant, the error says which may have been; so it does of an argument or an attribute that is not there.
"""

from __future__ import annotations

import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def by_word(table: Mapping[str, str]) -> dict[str, str]:
    """Return what each word means, of a table of meanings and the words for them."""
    return {word: meaning for meaning, words in table.items() for word in words.split()}


def meanings_by_word(table: Mapping[str, str]) -> dict[str, list[str]]:
    """Return all that each word may mean, in the order of such a table."""
    found: dict[str, list[str]] = {}
    for meaning, words in table.items():
        for word in words.split():
            found.setdefault(word, []).append(meaning)
    return found


# ---------------------------------------------------------------------------------------------------------- tables

ACTIVATIONS = by_word(
    {
        "linear": "identity none",
        "sigmoid": "logistic",
        "silu": "swish",
        "leaky_relu": "leakyrelu",
        "relu": "rectified_linear rectifier",
    }
)

CROSSENTROPY = "crossentropy"
"""The loss that is one of two, by the last activation."""

LOSSES = by_word(
    {
        "mean_squared_error": "mse squared_error mseloss l2 meansquarederror",
        "mean_absolute_error": "mae absolute_error l1loss l1 meanabsoluteerror",
        "huber": "huber_loss huberloss smooth_l1 smoothl1loss",
        "poisson": "poisson_loss poissonnllloss",
        "quantile": "pinball pinball_loss quantile_loss",
        "binary_crossentropy": "bce bceloss bcewithlogitsloss binary_cross_entropy binarycrossentropy",
        "categorical_crossentropy": "cce sparse_categorical_crossentropy "
        "nllloss categorical_cross_entropy categoricalcrossentropy",
        "crossentropy": "crossentropyloss cross_entropy log_loss logloss",
    }
)

METRICS = by_word(
    {
        "accuracy": "acc accuracy_score binary_accuracy categorical_accuracy sparse_categorical_accuracy",
        "auc": "roc_auc auroc roc_auc_score",
        "log_loss": "logloss crossentropy",
        "f1": "f1_score f1score f1_macro",
        "r2": "r2_score r2score",
        "mae": "mean_absolute_error",
        "mse": "mean_squared_error",
    }
)

LOGGED = METRICS | {"loss": "cost"}
"""The names of what is logged after an epoch; each may follow "val_"."""

ARGUMENTS = meanings_by_word(
    {
        # of scikit-learn's classes, whose own words are others' here
        "learning_rate_init": "lr eta eta0 initial_learning_rate",
        "max_iter": "epochs n_epochs num_epochs nb_epoch n_iter",
        "alpha": "l2 kernel_regularizer regularization reg lambda_ weight_decay",
        "solver": "optimizer",
        "n_threads": "threads n_jobs num_threads",
        "hidden_layer_sizes": "hidden_sizes layers units hidden_units n_units",
        "random_state": "seed",
        "n_iter_no_change": "patience",
        "validation_fraction": "validation_split val_split",
        "beta_1": "beta1",
        "beta_2": "beta2",
        "scoring": "metrics metric",
        "eval_set": "validation_data validation_set val_data",
        "dropout": "dropout_rate",
        # of fastnet's own
        "q": "alpha quantile quantiles tau",
        "learning_rate": "lr learning_rate_init eta eta0 initial_learning_rate max_lr schedule",
        "epochs": "n_epochs num_epochs nb_epoch epoch max_iter n_iter T_max total_steps",
        "batch_size": "batch batchsize bs minibatch_size",
        "validation_split": "validation_fraction val_split test_size",
        "validation_data=(X, y)": "eval_set validation_set val_data X_val",
        "class_weight": "class_weights",
        "sample_weight": "sample_weights weights",
        "threads": "n_jobs n_threads num_threads workers",
        "initializer": "kernel_initializer init",
        "use_bias": "bias",
        "nothing: the first fit sees the width of X": "input_dim input_shape in_features n_inputs",
        "units": "out_features n_units size neurons n_neurons n_outputs",
        "layers=[Dense(64, 'relu'), Dense(1)]": "hidden_layer_sizes hidden_sizes",
        "l2, or l1": "kernel_regularizer regularization reg alpha lambda_ lambd",
        "loss": "loss_fn criterion objective loss_function",
        "beta1": "beta_1",
        "beta2": "beta_2",
        "beta1 and beta2": "betas",
        "epsilon": "eps",
        "clip_norm": "clipnorm max_norm max_grad_norm",
        "a schedule as learning_rate, such as ExponentialDecay(0.1)": "decay",
        "AdamW, or l2 of the Model": "weight_decay",
        "rate, of Dropout(rate) after a layer": "p prob dropout dropout_rate",
        "verbose": "verbosity",
        "restore_best": "restore_best_weights",
        "nothing: metrics know which way is up": "mode",
        "path": "filepath filename",
        "every": "save_freq period",
        "min_learning_rate": "min_lr",
        "step": "step_size",
        "gamma": "decay_rate",
        "EarlyStopping(patience=)": "n_iter_no_change",
        "callbacks=EarlyStopping()": "early_stopping",
        "callbacks": "callback",
        "metrics": "metric",
        "activation": "activation_fn act",
        "nothing: layers have numbers": "name",
        "nothing: fastnet computes on CPUs": "device",
        # of something else
        "optimizer=Adam(learning_rate=0.01), of Model": "lr learning_rate learning_rate_init eta",
        "Model(optimizer=), which holds it": "optimizer",
        "Model(seed=)": "random_state seed",
        "fit(metrics=)": "metrics",
        "fit(epochs=)": "epochs n_epochs max_iter",
        "fit(batch_size=)": "batch_size",
        "fit(class_weight=)": "class_weight class_weights",
        "fit(callbacks=)": "callbacks callback",
        "fit(validation_split=)": "validation_split validation_fraction",
        "fit(verbose=)": "verbose",
        "fit(shuffle=)": "shuffle",
        "the constructor's max_iter": "epochs n_epochs max_iter",
        "the constructor's argument of that name": "batch_size class_weight callbacks verbose shuffle early_stopping",
        "the constructor's validation_fraction, with early_stopping=True": "validation_split validation_fraction",
    }
)
"""Arguments by the names that others give them, and what to pass instead: the first that there is, or a sentence."""

ATTRIBUTES = meanings_by_word(
    {
        "Model(layers, loss=, optimizer=)": "compile",
        "Model([Dense(64, 'relu'), Dense(1)])": "add",
        "fit": "train",
        "predict, in which nothing is dropped out": "eval",
        "evaluate": "score",
        "forward": "__call__ call decision_function",
        "layers[i].W and .b, or parameters": "get_weights weights",
        "from_keras(weights), or layers[i].W = ...": "set_weights",
        "layers[i].W": "coef_ coefs_",
        "layers[i].b": "intercepts_ intercept_",
        "parameters, or save(path)": "state_dict",
        "load_torch(state_dict)": "load_state_dict",
        "save": "save_weights",
        "fastnet.load(path)": "load_weights load",
        "predict": "predict_classes",
        "step": "partial_fit train_on_batch",
        "step, which does it all": "zero_grad",
        "gradients": "backward grad",
        "len(model.parameters)": "count_params n_params",
        "its attributes: layers, loss, l2": "get_params",
        "history.cost": "loss_curve_",
        "Model(dtype=), on CPUs": "to",
        "set_num_threads: fastnet computes on CPUs": "cuda",
        "history.plot()": "plot",
        "layers[0].W.shape": "input_shape",
        "fastnet.sklearn.MLPClassifier": "classes_",
    }
)

PACKAGE = meanings_by_word(
    {
        "Model([...])": "Sequential",
        "Model": "Network NeuralNetwork",
        "Dense(units)": "Linear",
        "nothing: see fit": "Input",
        "Dense(units, 'relu')": "Activation ReLU",
        "fastnet.sklearn.MLPClassifier": "MLPClassifier",
        "fastnet.sklearn.MLPRegressor": "MLPRegressor",
        "load": "load_model",
        "Model.save": "save save_model",
        "Checkpoint": "ModelCheckpoint",
        "ReduceOnPlateau": "ReduceLROnPlateau",
        "Adam(learning_rate=f)": "LearningRateScheduler",
        "CosineDecay": "CosineAnnealingLR",
        "StepDecay": "StepLR",
        "ExponentialDecay": "ExponentialLR",
        "OneCycle": "OneCycleLR",
        "Model.fit": "train",
        "Dense": "Layer",
        "Standardize": "Normalization StandardScaler",
        "nothing: there is none": "BatchNormalization",
        "Model(seed=)": "set_seed",
    }
)


# ------------------------------------------------------------------------------------------------------- what is said


def canonical(name: str, aliases: Mapping[str, str]) -> str:
    """Return fastnet's name for a name: lower case, underscores, and that of a table if it has one."""
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    return aliases.get(key, key)


def logged(name: str) -> str:
    """Return fastnet's name of what is logged after an epoch."""
    of = "val_" if name.startswith("val_") else ""
    value = name.removeprefix("val_")
    return of + LOGGED.get(value, value)


def meant(name: Any, choices: Iterable[str]) -> str:
    """Return a sentence with the choice that a name may have meant, after a space; or nothing."""
    if not isinstance(name, str):
        return ""
    from difflib import get_close_matches

    close = get_close_matches(canonical(name, {}), list(choices), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def hint(name: str, table: Mapping[str, list[str]], choices: Iterable[str], of: str = "") -> str:
    """Return what to use in place of an argument or attribute that is not there, after a space; or nothing.

    `of` is the function that has no such argument: nobody is sent there.
    """
    choices = list(choices)
    for meaning in table.get(name, ()):
        if meaning in choices or not (meaning.isidentifier() or meaning.startswith(f"{of}(")):
            return f" Use {meaning}."
    return meant(name, choices)


@cache
def arguments_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's arguments; empty if it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return ()
    return tuple(parameter.name for parameter in parameters if parameter.name != "self")


def refuse_unknown(function: Callable[..., Any], name: str, given: Iterable[str]) -> None:
    """Raise TypeError for an argument that a function has not, which says what may have been meant."""
    known = arguments_of(function)
    for argument in given:
        if known and argument not in known:
            raise TypeError(f"{name} has no argument {argument!r}.{hint(argument, ARGUMENTS, known, name)}")


class Helpful(ABCMeta):
    """The class of classes whose constructors say, of an argument that they have not, what may have been meant."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """That of the constructor, which `__call__` hides."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an object."""
        if kwargs:
            refuse_unknown(cls.__init__, cls.__name__, kwargs)  # type: ignore[misc]
        return super().__call__(*args, **kwargs)


def helpful(method: Function) -> Function:
    """Have a method say the same of its arguments."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            refuse_unknown(method, method.__name__, kwargs)
        return method(*args, **kwargs)

    return call  # type: ignore[return-value]
