"""A built network as the kernels see it, and how many threads a run of it is worth."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnet.engine.examples import Data
from fastnet.engine.threads import get_num_threads
from fastnet.kernels import codes
from fastnet.kernels.build import forks
from fastnet.kernels.plan import Plan, chunk_size, make_plan, parameter_offsets
from fastnet.optimizers import Optimizer

if TYPE_CHECKING:
    from fastnet.kernels.link import Recipe


@dataclass(frozen=True)
class Network:
    """The sizes of the layers (the input's first), codes, settings, dtype; a setting of the loss for each output.

    `encoded`: of inputs that are encoded, how many columns X has, and the constants of the encoding. `rates`,
    `bias_rates` and, where the inputs have factors, `factor_rate`: times the learning rate.
    """

    units: tuple[int, ...]
    activations: tuple[int, ...]
    activation_settings: tuple[float, ...]
    dropout: tuple[float, ...]
    use_bias: tuple[bool, ...]
    loss: int
    loss_settings: tuple[float, ...]
    l2: tuple[float, ...]
    l1: tuple[float, ...]
    rates: tuple[float, ...]
    bias_rates: tuple[float, ...]
    factor_rate: float | None
    dtype: np.dtype
    encoded: tuple[int, tuple[float, ...]] | None = None

    def replaced(self, **settings: Any) -> Network:
        """Return the network with other settings."""
        return replace(self, **settings)

    def first_layers(self, layers: int) -> Network:
        """Return the network of the first layers alone; its parameters are the first of this one's."""
        settings = ("activations", "activation_settings", "dropout", "use_bias", "l2", "l1", "rates", "bias_rates")
        return replace(
            self, units=self.units[: layers + 1], **{name: getattr(self, name)[:layers] for name in settings}
        )

    @cached_property
    def stores_slopes(self) -> tuple[bool, ...]:
        """Whether the forward pass stores the slopes of each layer, or the backward pass finds them from A."""
        pairs = zip(self.activations, self.dropout, strict=True)
        return tuple(code in (*codes.SLOPE_FROM_Z, codes.INCREASING) or rate > 0 for code, rate in pairs)

    @cached_property
    def without_dropout(self) -> Network:
        """The network as it is outside training."""
        return replace(self, dropout=(0.0,) * len(self.dropout))

    @cached_property
    def n_parameters(self) -> int:
        """The length of the parameter vector."""
        return parameter_offsets(self.units, self.use_bias)[1]

    @property
    def n_features(self) -> int:
        """How many columns X has."""
        return self.encoded[0] if self.encoded else self.units[0]

    @cached_property
    def constants(self) -> np.ndarray:
        """The constants of the encoding, if there is one, in the dtype: 1 / width of a bin may be infinite, a step."""
        with np.errstate(over="ignore"):
            return np.array(self.encoded[1] if self.encoded else (), self.dtype)

    @property
    def n_factored(self) -> int:
        """The length of U and s, where W_1 = U diag(s); 0 where the inputs have no factors."""
        return 0 if self.factor_rate is None else (self.units[1] + 1) * self.units[0]

    @cached_property
    def chunk(self) -> int:
        """How many examples make a chunk."""
        return chunk_size(self.units)

    @cached_property
    def operations(self) -> int:
        """Floating-point operations to propagate an example forward and back, roughly."""
        products = sum(6 * n * n_prev for n_prev, n in pairwise(self.units))
        return products + 100 * sum(self.units)

    def plan(
        self, examples: int, *, backward: bool, threads: int = 1, few_rows: bool = False, for_inputs: bool = False
    ) -> Plan:
        """Lay the network out for batches of up to that many examples; see `kernels.plan.make_plan`."""
        plan = make_plan(
            self.units, self.use_bias, examples=examples, backward=backward, threads=threads,
            stores_slopes=self.stores_slopes, few_rows=few_rows, for_inputs=for_inputs,
            encoded=(self.n_features, len(self.constants)) if self.encoded else None,
        )  # fmt: skip
        of_layers = {
            "setting": self.activation_settings, "dropout": self.dropout, "l2": self.l2, "l1": self.l1,
            "rate": self.rates, "bias_rate": self.bias_rates,
        }  # fmt: skip
        for field, values in of_layers.items():
            plan.layers[field][1:] = values
        plan.network["factor_rate"] = self.factor_rate or 0.0
        return plan

    def recipe(
        self, mode: int | Optimizer, data: Data, batch_size: int, with_outputs: bool, smoothed: bool = False,
        reduces: bool = False,
    ) -> Recipe:  # fmt: skip
        """Return what decides which parts a run consists of: to train, or for codes.COST or codes.GRADIENT."""
        import_kernels()
        from fastnet.kernels.link import Recipe

        has_fewer = data.y.shape[1] != self.units[-1]
        return Recipe(
            units=self.units,
            use_bias=self.use_bias,
            activations=self.activations,
            stores_slopes=self.stores_slopes,
            drops=tuple(rate > 0 for rate in self.dropout),
            loss=self.loss,
            penalised=any(self.l2) or any(self.l1),
            with_l1=any(self.l1),
            dtype=self.dtype,
            mode=mode.code if isinstance(mode, Optimizer) else mode,
            batch_size=batch_size,
            clipped=isinstance(mode, Optimizer) and mode.clip_norm is not None,
            weighted=data.weights is not None,
            with_classes=has_fewer and self.loss == codes.CATEGORICAL_CROSSENTROPY,
            one_target=has_fewer and self.loss == codes.QUANTILE,
            smoothed=smoothed,
            with_outputs=with_outputs,
            factored=self.factor_rate is not None,
            encoded=self.encoded is not None,
            reduces=reduces,
        )


def import_kernels() -> None:
    """Import the kernels, unless they are, with no fork in between."""
    if "fastnet.kernels.link" not in sys.modules:
        with forks.lock:
            import fastnet.kernels.link  # noqa: F401


OPERATIONS_PER_THREAD = 2.5e6
"""Operations between two barriers, for each thread, that make a team worth its while: some 25 us of work, against
about 1 us for three barriers."""

OPERATIONS_PER_TEAM = 1e8
"""Operations of a whole run that make it worth starting threads: a millisecond, against 0.1 ms a thread."""


class Division(NamedTuple):
    """How threads divide the work: their number, and whether each takes chunks of its own."""

    threads: int
    by_chunks: bool = False


def division_for(network: Network, examples: int, batch_size: int, epochs: int, threads: int | None) -> Division:
    """Return how a run is divided: `threads` if that is given, or else as many as the work is worth.

    In a long batch of a small network, each takes chunks of its own: then two barriers in a chunk would be many.
    """
    most = get_num_threads() if threads is None else threads
    chunks = -(-batch_size // network.chunk)
    by_chunks = chunks >= 4 * most and network.n_parameters <= 2**17
    if threads is None:
        operations = network.operations * (batch_size if by_chunks else min(batch_size, network.chunk))
        if network.operations * examples * epochs < OPERATIONS_PER_TEAM:
            operations = 0
        most = max(1, min(most, int(operations / OPERATIONS_PER_THREAD)))
    return Division(most, by_chunks and most > 1)
