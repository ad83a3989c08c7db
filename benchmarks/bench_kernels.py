"""Each kernel by itself, float32 and float64, against the core's FMA peak where it multiplies."""

from functools import lru_cache

import numpy as np
from numba import njit

from benchmarks.peak import peak
from benchmarks.timing import median_seconds
from fastnet import Dense as DenseLayer
from fastnet import Model
from fastnet.activations import ACTIVATIONS
from fastnet.engine.memory import aligned_zeros
from fastnet.kernels import activations, codes, dropout, gather, losses, passes, penalties, products, steps, updates
from fastnet.kernels.build.jit import OPTIONS
from fastnet.kernels.build.parts import address_of
from fastnet.kernels.ir import tiles
from fastnet.kernels.plan import NARROW_LAYER, PANEL, TEMPORARY, make_plan

DTYPES = ["float32", "float64"]
REPEATS = 200
SETTINGS = np.array([1e-6, 0.9, 0.999, 1e-8, 0.0, 0.0, 1.0])
M, N, K = 168, 192, 256


@lru_cache
def repeated(kernel):
    """Return a compiled loop that calls the kernel `n` times: a unit of work without Python in it."""
    compiled = njit(**OPTIONS)(kernel.py_func)

    def loop(n, *arguments):
        for _ in range(n):
            compiled(*arguments)

    return njit(**OPTIONS)(loop)


@lru_cache
def repeated_part(factory, *code):
    """Return such a loop for a part, as `fastnet.kernels.build.parts` makes it."""
    part = njit(**OPTIONS)(factory("", *code))
    return repeated(part)


@lru_cache
def operands(dtype):
    """Return A (M, K), B (K, N) and C (M, N), flat and aligned as the engine's memory is, for NumPy as for the tile."""
    return tuple(aligned_normal(n, dtype) for n in (M * K, K * N, M * N))


def aligned_normal(n, dtype):
    """Return n normal numbers that begin at a multiple of 64 bytes."""
    array = aligned_zeros(n, np.dtype(dtype))
    array[:] = np.random.default_rng(n).standard_normal(n)
    return array


def multiply(A, B, C, n):
    repeated(products.multiply)(n, M, N, C, 0, N, A, 0, K, 1, 1, B, 0, N, 0, K, tiles.START_ZERO, C, 0)


def tile_rates(dtype="float32", rounds=31):
    """Return medians over alternating rounds, in operations per second: tiles, NumPy's dot, the peak; one thread."""
    A, B, C = operands(dtype)
    A_matrix, B_matrix, C_matrix = A.reshape(M, K), B.reshape(K, N), C.reshape(M, N)

    def numpy_dot():
        for _ in range(20):
            np.dot(A_matrix, B_matrix, out=C_matrix)

    operations = {"tile": 2 * M * N * K * 20, "numpy": 2 * M * N * K * 20, "peak": peak(dtype, 200_000)}
    seconds = median_seconds(
        {"tile": lambda: multiply(A, B, C, 20), "numpy": numpy_dot, "peak": lambda: peak(dtype, 200_000)}, rounds
    )
    return {name: operations[name] / time for name, time in seconds.items()}


class LastColumns:
    """A product of the last 24 or 40 columns of a block, 300 x 300 times 300 x that, 20 times."""

    params = ([24, 40], DTYPES)
    param_names = ("columns", "dtype")

    def time_multiply(self, columns, dtype):
        W, A, Z = matrices_of_300(dtype)
        repeated(products.multiply)(
            20, 300, columns, Z, 0, 64, W, 0, 300, 1, 1, A, 0, 64, 0, 300, tiles.START_ZERO, Z, 0
        )


@lru_cache
def matrices_of_300(dtype):
    """Return W (300, 300), A_prev and Z (300, 64)."""
    return tuple(aligned_normal(300 * n, dtype) for n in (300, 64, 64))


class Tile:
    """The register tile, 168 x 256 times 256 x 192."""

    params = (DTYPES,)
    param_names = ("dtype",)

    def time_multiply(self, dtype):
        multiply(*products(dtype), 20)

    def track_peak_over_tile(self, dtype):
        rates = tile_rates(dtype)
        return rates["peak"] / rates["tile"]

    track_peak_over_tile.unit = "tile time / time at the FMA peak"

    def track_time_over_numpy(self, dtype):
        rates = tile_rates(dtype)
        return rates["numpy"] / rates["tile"]

    track_time_over_numpy.unit = "tile time / numpy.dot time"


@lru_cache
def layer(n, n_prev, dtype):
    """Return parameters, a scratch vector and its offsets for a layer over one block of 64 examples."""
    rng = np.random.default_rng(0)
    parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
    offsets = np.cumsum([0, TEMPORARY, 64 * (n_prev + 16), 64 * (n + 16), 64 * (n_prev + PANEL)])
    return parameters, aligned_normal(offsets[-1] + 4096, dtype), offsets.tolist()


class Dense:
    """The three products of a layer, for one block of 64 examples, and what goes with them; 200 times each."""

    params = ([(1, 32), (20, 33), (64, 30), (256, 256), (1024, 1024)], DTYPES)
    param_names = ("(units, inputs)", "dtype")

    def time_matmul_plus_bias(self, shape, dtype):
        n, n_prev = shape
        parameters, S, (_, a_prev, z, *_) = layer(n, n_prev, dtype)
        repeated(products.matmul_plus_bias)(
            REPEATS, n, n_prev, 0, 64, parameters, 0, n * n_prev, S, a_prev, 0, z, 0, 64
        )

    def time_input_gradient(self, shape, dtype):
        n, n_prev = shape
        parameters, S, (head, a_prev, z, *_) = layer(n, n_prev, dtype)
        repeated(products.input_gradient)(REPEATS, n, n_prev, 0, 64, parameters, 0, S, z, 0, a_prev, 0, 64, head)

    def time_weight_gradient(self, shape, dtype):
        n, n_prev = shape
        gradient, S, (head, _, dz, at, _) = layer(n, n_prev, dtype)
        repeated(products.weight_gradient)(
            REPEATS, 0, n, 0, n_prev, n_prev, 64, S, dz, 64 * n, 64, at, 64 * PANEL, head, gradient.copy(), 0, False
        )

    def time_bias_gradient(self, shape, dtype):
        n, n_prev = shape
        gradient, S, (_, _, dz, *_) = layer(n, n_prev, dtype)
        repeated(products.bias_gradient)(REPEATS, 0, n, 64, S, dz, 64 * n, 64, gradient.copy(), n * n_prev, False)

    def time_transpose(self, shape, dtype):
        n, n_prev = shape
        _, S, (_, a_prev, _, at, _) = layer(n, n_prev, dtype)
        repeated(products.transpose)(REPEATS, S, a_prev, 64, at, PANEL, PANEL, 64)


class Narrow:
    """The weight gradient of a layer of few units, for one block of 64 examples, 200 times."""

    params = ([(1, 32), (1, 784), (4, 33)], DTYPES)
    param_names = ("(units, inputs)", "dtype")

    def time_narrow_weight_gradient(self, shape, dtype):
        n, n_prev = shape
        gradient, S, (_, a_prev, dz, *_) = layer(n, n_prev, dtype)
        repeated(products.narrow_weight_gradient)(
            REPEATS, 0, n, 0, n_prev, n_prev, 64, S, dz, 64 * n, 64, a_prev, 0, gradient.copy(), 0, False
        )


class FewInputs:
    """The weight gradient of a layer of few inputs, for one block of 64 examples, 200 times."""

    params = ([(4, 2), (32, 4), (300, 4)], DTYPES)
    param_names = ("(units, inputs)", "dtype")

    def time_gradient_of_few(self, shape, dtype):
        n, n_prev = shape
        gradient, S, (head, a_prev, dz, *_) = layer(n, n_prev, dtype)
        repeated_part(products.make_gradient_of_few)(
            REPEATS, 0, n, n_prev, 64, S, dz, 64 * n, 64, a_prev, 0, head, gradient.copy(), 0, False
        )


@lru_cache
def numbers(dtype):
    """Return four vectors of 4096 numbers, one after the other."""
    return aligned_normal(4 * 4096, dtype).reshape(4, 4096)


CODES = {name: activation.code for name, activation in ACTIVATIONS.items() if name != "linear"}
KEEPING_SLOPE = [name for name, code in CODES.items() if code in codes.SLOPE_FROM_Z]


class Activation:
    """Activations over blocks of 64 units and 64 examples, 200 times each."""

    params = (list(CODES), DTYPES)
    param_names = ("activation", "dtype")

    def time_activate(self, activation, dtype):
        S = numbers(dtype).ravel() + np.array(20, dtype)  # near 0 they would halve it, down to what is subnormal
        repeated_part(activations.make_activation, CODES[activation])(REPEATS, 64, 64, S, 0, 0, 64, 0.01)


class ActivationKeepingSlope:
    """Those that find the derivative on the way forward, and keep it, likewise."""

    params = (KEEPING_SLOPE, DTYPES)
    param_names = ("activation", "dtype")

    def time_activate(self, activation, dtype):
        S = numbers(dtype).ravel() + np.array(20, dtype)  # near 0 they would halve it, down to what is subnormal
        keeping_slope = repeated_part(activations.make_activation_keeping_slope, CODES[activation])
        keeping_slope(REPEATS, 64, 64, S, 0, 4096, 64, 0.01)


class Derivative:
    """Their derivatives from the value, likewise; that of the softmax comes with the loss."""

    params = ([name for name in CODES if name != "softmax" and name not in KEEPING_SLOPE], DTYPES)
    param_names = ("activation", "dtype")

    def time_multiply_by_derivative(self, activation, dtype):
        S = numbers(dtype).ravel().copy()
        S[4096:8192] = np.inf  # a finite number, scaled 200 times, would become a slow, subnormal one
        repeated_part(activations.make_derivative, CODES[activation])(REPEATS, 64, 64, S, 0, 4096, 64, 0.01, S, -1, 0)


class Elementwise:
    """Losses, slopes and sums over 4096 numbers (losses: 64 units by 64 examples), 200 times each."""

    params = (DTYPES,)
    param_names = ("dtype",)

    def time_binary_crossentropy(self, dtype):
        loss(codes.BINARY_CROSSENTROPY, dtype)

    def time_mean_squared_error(self, dtype):
        loss(codes.MEAN_SQUARED_ERROR, dtype)

    def time_categorical_crossentropy(self, dtype):
        loss(codes.CATEGORICAL_CROSSENTROPY, dtype)

    def time_huber(self, dtype):
        loss(codes.HUBER, dtype)

    def time_poisson(self, dtype):
        loss(codes.POISSON, dtype)

    def time_multiply_by_slope(self, dtype):
        S = numbers(dtype).ravel().copy()
        S[4096:8192] = np.inf
        repeated_part(activations.make_derivative, codes.KEPT_SLOPE)(REPEATS, 64, 64, S, 0, 4096, 64, 0.0, S, -1, 0)

    def time_dropout(self, dtype):
        S = np.full(8192, np.inf, dtype)
        repeated_part(dropout.make_dropout)(REPEATS, 64, 64, S, 0, 4096, 64, 0.0, 17, 1, 0)

    def time_weighting(self, dtype):
        S = numbers(dtype).ravel().copy()
        S[8192:] = 1
        repeated_part(losses.make_weighting)(REPEATS, 64, 64, 64, S, 0, 4096, 8192, 64)

    def time_penalty_cost(self, dtype):
        repeated_part(penalties.make_penalty_cost)(REPEATS, plan_of_4096(), np.ones((2, 2)), numbers(dtype)[0])


def loss(code, dtype):
    """Compute a loss and its gradient."""
    S = numbers(dtype).ravel().copy()
    repeated_part(losses.make_loss, code)(REPEATS, 64, 64, S, 0, 4096, 2 * 4096, 3 * 4096, 64, SETTINGS)


def update(mode, dtype):
    """Finish 4096 gradients, or take steps with them."""
    p, dp, *moments = numbers(dtype).copy()
    take_steps = repeated_part(updates.make_update, mode)
    take_steps(REPEATS, 1 / 32, 1 / 32, SETTINGS, 0.9, 0.999, 0, 4096, 0, p, dp, np.abs(np.concatenate(moments)))


UPDATES = {
    "gradient": codes.GRADIENT,
    "SGD": codes.SGD,
    "momentum": codes.MOMENTUM,
    "Nesterov": codes.NESTEROV,
    "RMSprop": codes.RMSPROP,
    "Adagrad": codes.ADAGRAD,
    "Adam": codes.ADAM,
}


class Update:
    """Finishing 4096 gradients, or taking steps with them, 200 times each."""

    params = (list(UPDATES), DTYPES)
    param_names = ("update", "dtype")

    def time_update(self, name, dtype):
        update(UPDATES[name], dtype)


class Step:
    """Gradients and a step of SGD along with them, for a layer of so many units, as many inputs and 64 examples."""

    params = ([256, 1024], DTYPES)
    param_names = ("units", "dtype")

    def time_step(self, n, dtype):
        plan = make_plan((n, n), (True,), examples=64, backward=True)
        S, p, dp = (aligned_normal(size, dtype) for size in (plan.n_scratch, plan.n_parameters, plan.n_parameters))
        update = address_of(updates.make_update, np.dtype(dtype), codes.SGD)
        repeated_part(steps.make_steps)(
            REPEATS, plan.rows, 64, 0, 1, S, 0, passes.EVERYTHING, update, 1 / 64, 1 / 64, np.zeros((2, 2)), SETTINGS,
            0.9, 0.999, p, dp, dp[:0],
        )  # fmt: skip


def plan_of_4096():
    """Return the plan of a layer of 4096 parameters."""
    return make_plan((63, 64), (True,), examples=1, backward=False).rows


class Loading:
    """Gathering a batch of 128 examples, targets, and drawing an order of 10,000; 200 times each."""

    params = ([2, 30, 784], DTYPES)
    param_names = ("features", "dtype")

    def time_load_examples(self, features, dtype):
        plan, X, order, S = batch(features, NARROW_LAYER + 1, dtype)
        repeated(gather.load_examples)(REPEATS, plan, X, order, 0, 0, 128, S)

    def time_load_targets(self, features, dtype):
        plan, X, order, S = batch(features, 1, dtype)
        repeated(gather.load_targets)(REPEATS, plan, X[:, :1].copy(), order, 0, 0, 128, S)

    def time_shuffle(self, features, dtype):
        repeated(gather.shuffle)(REPEATS, np.empty(10_000, np.int64), 1, 2)


@lru_cache
def batch(features, units, dtype):
    """Return the plan of a layer, 1,000 examples, an order of them and a scratch vector."""
    plan = make_plan((features, units), (True,), examples=128, backward=True)
    rng = np.random.default_rng(0)
    return (
        plan.rows,
        rng.standard_normal((1000, features)).astype(dtype),
        rng.permutation(1000),
        np.zeros(plan.n_scratch, dtype),
    )


class Forward:
    """Prediction by 30-64-32-1: of 10,000 rows, and of one row 1,000 times."""

    params = (DTYPES,)
    param_names = ("dtype",)

    def time_many_rows(self, dtype):
        model, X = fitted(dtype)
        model.forward(X)

    def time_one_row(self, dtype):
        model, X = fitted(dtype)
        row = X[:1]
        for _ in range(1000):
            model.forward(row)


@lru_cache
def fitted(dtype):
    """Return a built model, its kernels compiled, and data."""
    model = Model([DenseLayer(64, "relu"), DenseLayer(32, "relu"), DenseLayer(1, "sigmoid")], dtype=dtype, seed=0)
    model.build(30)
    X = np.random.default_rng(0).standard_normal((10_000, 30)).astype(dtype)
    model.forward(X)
    return model, X
