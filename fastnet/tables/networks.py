"""The networks for an encoded table, and what they are trained with.

Initial weights, rates by layer and the schedule are those of the neural tangent parametrisation under Adam. Source:
Holzmüller, Grinsztajn and Steinwart, Better by default: strong pre-tuned MLPs and boosted trees on tabular data, 2024,
whose RealMLP-TD-S most constants are of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import Any, Self

import numpy as np

from fastnet import checks
from fastnet.activations import canonical
from fastnet.callbacks import EarlyStopping, TimeLimit
from fastnet.initializers import Normal
from fastnet.layers import AnyLayer, Dense, Dropout, Encode, Scale
from fastnet.model import Model
from fastnet.optimizers import AdamW
from fastnet.schedules import ByStep, CosLog

FEWEST_IN_BATCH, BATCHES_WANTED = 32, 20
"""A batch is a power of two, near a BATCHES_WANTEDth of the rows."""

COOLDOWN_RATE, EARLY = 0.5, 6
"""The learning rate with which the cooldown begins, over the largest of training; and the best epoch, from 0, up to
which there is none: networks that are best so early overfit with more training."""


@dataclass(frozen=True)
class NetworkSettings:
    """What all networks of an estimator are made and trained with; the arguments of `TableClassifier`, checked."""

    hidden_layer_sizes: tuple[int, ...]
    activation: Any
    learning_rate: float
    bias_learning_rate: float
    scale_learning_rate: float
    beta2: float
    weight_decay: float
    dropout: float
    epochs: int
    patience: int
    cycles: int
    cooldown: float
    batch_size: int | str
    largest_batch: int
    dtype: Any

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """Return the arguments of an estimator, checked; ValueError or TypeError if one is not as described."""
        sizes = estimator.hidden_layer_sizes
        if not isinstance(sizes, (int, np.integer, tuple, list, np.ndarray)):
            raise TypeError(f"hidden_layer_sizes must be integers, such as (128, 128), not {sizes!r}.")
        sizes = (sizes,) if isinstance(sizes, (int, np.integer)) else tuple(sizes)
        batch_size = estimator.batch_size
        if not isinstance(batch_size, str):
            batch_size = checks.positive_integer(batch_size, "batch_size")
        elif batch_size != "auto":
            raise ValueError(f"batch_size must be 'auto' or an integer of at least 1, not {batch_size!r}.")
        return cls(
            hidden_layer_sizes=tuple(checks.positive_integer(size, "hidden_layer_sizes") for size in sizes),
            activation=canonical(estimator.activation),
            learning_rate=checks.positive_number(estimator.learning_rate, "learning_rate"),
            bias_learning_rate=checks.non_negative_number(estimator.bias_learning_rate, "bias_learning_rate"),
            scale_learning_rate=checks.non_negative_number(estimator.scale_learning_rate, "scale_learning_rate"),
            beta2=checks.number_below_one(estimator.beta2, "beta2"),
            weight_decay=checks.non_negative_number(estimator.weight_decay, "weight_decay"),
            dropout=checks.number_below_one(estimator.dropout, "dropout"),
            epochs=checks.positive_integer(estimator.epochs, "epochs"),
            patience=checks.positive_integer(estimator.patience, "patience"),
            cycles=checks.positive_integer(estimator.cycles, "cycles"),
            cooldown=checks.real_number(
                estimator.cooldown, "cooldown", "a number of at least 0 and below 10000", 0, 10_000
            ),
            batch_size=batch_size,
            largest_batch=checks.positive_integer(estimator.largest_batch, "largest_batch"),
            dtype=checks.float_dtype(estimator.dtype),
        )

    def model(self, encode: Encode, n_outputs: int, seed: int, *, softmax: bool) -> Model:
        """Return a network whose parameters are drawn.

        Weights N(0, 1 / inputs), hidden biases N(0, 1), a last layer of zeros; the rate of the weights of a layer is
        that of the recipe over the root of its inputs.
        """
        units = (encode.n_inputs, *self.hidden_layer_sizes, n_outputs)
        rates = [1 / sqrt(n) for n in units[:-1]]
        layers: list[AnyLayer] = [encode, *([Scale(self.scale_learning_rate)] if self.scale_learning_rate else [])]
        for n, rate in zip(self.hidden_layer_sizes, rates, strict=False):
            layers.append(
                Dense(
                    n, self.activation, initializer=Normal(rate), learning_rate=rate,
                    bias_learning_rate=self.bias_learning_rate,
                )
            )  # fmt: skip
            if self.dropout:
                layers.append(Dropout(self.dropout))
        last = Dense(
            n_outputs, "softmax" if softmax else "linear", initializer="zeros", learning_rate=rates[-1],
            bias_learning_rate=self.bias_learning_rate,
        )  # fmt: skip
        schedule = ByStep(CosLog(self.learning_rate, epochs=self.epochs, cycles=self.cycles))
        optimizer = AdamW(schedule, beta2=self.beta2, weight_decay=self.weight_decay)
        model = Model([*layers, last], optimizer=optimizer, dtype=self.dtype, seed=seed).build(len(encode.columns))
        generator = np.random.default_rng([seed, 1])
        for layer in model.layers[:-1]:
            if isinstance(layer, Dense):
                layer.b = generator.standard_normal((layer.units, 1))
        return model

    def batch_size_for(self, m: int) -> int:
        """Return how many of m rows make a batch."""
        if isinstance(self.batch_size, int):
            return self.batch_size
        size = FEWEST_IN_BATCH
        while size < self.largest_batch and m >= BATCHES_WANTED * size * sqrt(2):
            size *= 2
        return size

    def callbacks(self, monitor: str, seconds: float | None) -> list[Any]:
        """Return what restores the best epoch, the last of those that are alike, and ends a fit in time."""
        best = EarlyStopping(monitor, patience=self.patience, ties="last")
        return [best] if seconds is None else [best, TimeLimit(seconds)]

    def cooldown_epochs(self, best: list[int]) -> int:
        """Return for how many epochs networks train on, whose best epochs, from 0, are these."""
        return max(0, round(self.cooldown * (sum(best) / len(best) - EARLY)))

    @contextmanager
    def cooling_down(self, models: list[Model], epochs: int) -> Iterator[None]:
        """Let the rates of the next so many epochs fall to 0, step by step; afterwards, give the optimizers back."""
        before = [model.optimizer for model in models]
        for model in models:
            rate = falling(COOLDOWN_RATE * self.learning_rate, model.epochs_finished, epochs)
            model.optimizer = AdamW(ByStep(rate), beta2=self.beta2, weight_decay=self.weight_decay)
        try:
            yield
        finally:
            for model, optimizer in zip(models, before, strict=True):
                model.optimizer = optimizer


def falling(rate: float, first: int, epochs: int) -> Callable[[float], float]:
    """Return a learning rate that falls in a straight line to 0, in so many epochs from the first of them."""
    return lambda epoch: rate * (1 - (epoch - first) / epochs)


def seeds(seed: int, n: int) -> list[int]:
    """Return n seeds of networks."""
    return [int(each) for each in np.random.SeedSequence(seed).generate_state(n)]
