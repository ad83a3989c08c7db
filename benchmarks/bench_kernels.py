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
from fastnet.kernels import codes, gather, products
from fastnet.kernels.build.jit import OPTIONS
from fastnet.kernels.build.load import address_of
from fastnet.kernels.build.parts import function_of
from fastnet.kernels.ir import tiles
from fastnet.kernels.plan import JOB, LANES, NARROW_UP_TO, PANEL, make_plan

DTYPES = ["float32", "float64"]
REPEATS = 200
M, N, K = 168, 192, 256


@lru_cache
def repeated(kernel):
    """Return a compiled loop that calls the kernel `n` times: a unit of work without Python in it."""
    compiled = njit(**OPTIONS)(getattr(kernel, "py_func", kernel))

    def loop(n, *arguments):
        for _ in range(n):
            compiled(*arguments)

    return njit(**OPTIONS)(loop)


@lru_cache
def repeated_part(name, *code):
    """Return such a loop for a part, by its name in the table and its code."""
    return repeated(function_of(name, *code))


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
    repeated(products.multiply)(n, M, N, (C, 0, N), (A, 0, K, 1, 1), (B, 0, N, 0), K, tiles.START_ZERO, (C, 0))


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
            20, 300, columns, (Z, 0, 64), (W, 0, 300, 1, 1), (A, 0, 64, 0), 300, tiles.START_ZERO, (Z, 0)
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
        multiply(*operands(dtype), 20)

    def track_peak_over_tile(self, dtype):
        rates = tile_rates(dtype)
        return rates["peak"] / rates["tile"]

    track_peak_over_tile.unit = "tile time / time at the FMA peak"

    def track_time_over_numpy(self, dtype):
        rates = tile_rates(dtype)
        return rates["numpy"] / rates["tile"]

    track_time_over_numpy.unit = "tile time / numpy.dot time"


@lru_cache
def network(units, dtype, examples=LANES):
    """Return the plan of a network for one block, its parameters, and a scratch vector full of normal numbers.

    Each input of a layer has an AT; slopes have a place of their own.
    """
    depth = len(units) - 1
    plan = make_plan(units, (True,) * depth, examples=examples, backward=True, stores_slopes=(True,) * depth)
    size = plan.n_scratch
    for layer in plan.layers[:-1]:
        if layer["AT"] < 0:
            layer["AT"], layer["panel"] = size, examples * PANEL
            size += examples * PANEL * -(-int(layer["units"]) // PANEL)
    return plan, aligned_normal(plan.n_parameters, dtype), aligned_normal(size, dtype)


class Dense:
    """The three products of a layer, for one block of 64 examples, and what goes with them; 200 times each."""

    params = ([(1, 32), (20, 33), (64, 30), (256, 256), (1024, 1024)], DTYPES)
    param_names = ("(units, inputs)", "dtype")

    def time_matmul_plus_bias(self, shape, dtype):
        n, n_prev = shape
        plan, parameters, S = network((n_prev, n), dtype)
        repeated_part("matmul_plus_bias")(REPEATS, plan.layers, 1, 0, LANES, LANES, parameters, S)

    def time_input_gradient(self, shape, dtype):
        n, n_prev = shape
        plan, parameters, S = network((1, n_prev, n), dtype)
        repeated_part("input_gradient")(REPEATS, plan.layers, 2, 0, LANES, parameters, S, 0)

    def time_weight_gradient(self, shape, dtype):
        weight_gradient("weight_gradient", shape, dtype)

    def time_bias_gradient(self, shape, dtype):
        n, n_prev = shape
        plan, parameters, S = network((n_prev, n), dtype)
        share, db = (0, n, 0, n_prev), parameters[:n].copy()
        repeated_part("bias_gradient")(REPEATS, plan.layers, 1, share, LANES, S, db, 0, False)

    def time_transpose(self, shape, dtype):
        n, n_prev = shape
        plan, _, S = network((n_prev, n), dtype)
        A, AT = int(plan.layers["A"][0]), int(plan.layers["AT"][0])
        repeated(gather.transpose)(REPEATS, S, A, LANES, AT, PANEL, PANEL, LANES)


def weight_gradient(name, shape, dtype):
    """Compute the weight gradient of a layer by that part."""
    n, n_prev = shape
    plan, parameters, S = network((n_prev, n), dtype)
    dW = parameters[: n * n_prev].copy()
    repeated_part(name)(REPEATS, plan.layers, 1, (0, n, 0, n_prev), LANES, S, 0, dW, 0, False)


class Narrow:
    """The weight gradient of a layer of few units, or few inputs, for one block of 64 examples, 200 times."""

    params = ([(1, 32), (1, 784), (4, 33), (4, 2), (32, 4), (300, 4)], DTYPES)
    param_names = ("(units, inputs)", "dtype")

    def time_narrow_weight_gradient(self, shape, dtype):
        weight_gradient("narrow_weight_gradient", shape, dtype)


class Wide:
    """The products of an input of 12,288 features before so many units, for one block of 64 examples, 20 times."""

    params = ([1, 4], DTYPES)
    param_names = ("units", "dtype")

    def time_wide_matmul_plus_bias(self, n, dtype):
        plan, parameters, S = network((12_288, n), dtype)
        repeated_part("wide_matmul_plus_bias")(20, plan.layers, 1, 0, LANES, LANES, parameters, S)

    def time_wide_weight_gradient(self, n, dtype):
        plan, parameters, S = network((12_288, n), dtype)
        dW, share = parameters.copy(), (0, n, 0, 12_288)
        repeated_part("wide_weight_gradient")(20, plan.layers, 1, share, LANES, S, 0, dW, 0, False)


SQUARE = (1, 64)
"""A layer of 64 units, whose 64 examples make 4096 numbers."""


def square(dtype, **fields):
    """Return the plan of such a layer, and a scratch vector that holds the numbers given where those fields say."""
    plan, parameters, S = network(SQUARE, dtype)
    S = S.copy()
    for field, value in fields.items():
        start = plan.network[0][field] if field in plan.network.dtype.names else plan.layers[1][field]
        S[start : start + 4096] = value
    return plan, parameters, S


CODES = {name: activation.code for name, activation in ACTIVATIONS.items() if name != "linear"}
STORING_SLOPES = [name for name, code in CODES.items() if code in codes.SLOPE_FROM_Z]


def near_20(dtype):
    """Return 4096 numbers; near 0 an activation would halve them, down to what is subnormal."""
    return aligned_normal(4096, dtype) + np.array(20, dtype)


class Activation:
    """Activations over blocks of 64 units and 64 examples, 200 times each."""

    params = (list(CODES), DTYPES)
    param_names = ("activation", "dtype")

    def time_activate(self, activation, dtype):
        plan, _, S = square(dtype, A=near_20(dtype))
        plan.layers["setting"] = 0.01
        repeated_part("activate", CODES[activation])(REPEATS, plan.layers, 1, 0, LANES, S)


class ActivationStoringSlopes:
    """Those that find the derivative on the way forward, and store it, likewise."""

    params = (STORING_SLOPES, DTYPES)
    param_names = ("activation", "dtype")

    def time_activate(self, activation, dtype):
        plan, _, S = square(dtype, A=near_20(dtype))
        repeated_part("activate_storing_slopes", CODES[activation])(REPEATS, plan.layers, 1, 0, LANES, S)


class Derivative:
    """Their derivatives from the value, likewise; that of the softmax comes with the loss."""

    params = ([name for name in CODES if name != "softmax" and name not in STORING_SLOPES], DTYPES)
    param_names = ("activation", "dtype")

    def time_multiply_by_derivative(self, activation, dtype):
        multiply_by_derivative(CODES[activation], dtype)


def multiply_by_derivative(code, dtype):
    """Multiply a dA that stays as it is: a finite number, scaled 200 times, would become a slow, subnormal one."""
    plan, parameters, S = square(dtype, dZ=np.inf)
    plan.layers["setting"] = 0.01
    repeated_part("differentiate", code)(REPEATS, plan.layers, 1, 0, LANES, parameters, S)


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

    def time_quantile(self, dtype):
        loss(codes.QUANTILE, dtype)

    def time_increasing(self, dtype):
        plan, _, S = square(dtype, A=-100.0)  # to which nothing is added
        repeated_part("activate", codes.INCREASING)(REPEATS, plan.layers, 1, 0, LANES, S)

    def time_multiply_by_slope(self, dtype):
        multiply_by_derivative(codes.STORED_SLOPE, dtype)

    def time_dropout(self, dtype):
        plan, _, S = square(dtype, A=np.inf, slopes=np.inf)
        repeated_part("drop")(REPEATS, plan.layers, 1, 0, LANES, S, 17, 0)

    def time_weighting(self, dtype):
        plan, _, S = square(dtype)
        weights = int(plan.network["weights"][0])
        S[weights : weights + LANES] = 1
        plan.network["term_rows"] = 64
        repeated_part("weigh")(REPEATS, plan.network, plan.layers, 0, LANES, S)

    def time_smoothing(self, dtype):
        plan, _, S = square(dtype)
        plan.network["kept"] = 1.0  # what was scaled 200 times would become slow, subnormal
        repeated_part("smooth")(REPEATS, plan.network, plan.layers, 0, LANES, S)

    def time_penalty_cost(self, dtype):
        plan, parameters, _ = network((63, 64), dtype)
        plan.layers["l2"], plan.layers["l1"] = 1.0, 1.0
        repeated_part("penalty_cost")(REPEATS, plan.layers, parameters)


def loss(code, dtype):
    """Compute a loss and its gradient."""
    plan, _, S = square(dtype)
    settings = int(plan.network["settings"][0])
    S[settings : settings + 64] = 0.7
    repeated_part("loss", code)(REPEATS, plan.network, plan.layers, 0, LANES, S)


def job():
    """Return the record of what an optimizer is set to."""
    made = np.zeros(1, JOB)
    settings = {"learning_rate": 1e-6, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "power1": 0.9, "power2": 0.999}
    for field, value in {"threads": 1, **settings}.items():
        made[field] = value
    return made


UPDATES = {
    "gradient": ("finish",),
    "SGD": ("update", codes.SGD),
    "momentum": ("update", codes.MOMENTUM),
    "Nesterov": ("update", codes.NESTEROV),
    "RMSprop": ("update", codes.RMSPROP),
    "Adagrad": ("update", codes.ADAGRAD),
    "Adam": ("update", codes.ADAM),
}


class Update:
    """Finishing 4096 gradients, or taking steps with them, 200 times each."""

    params = (list(UPDATES), DTYPES)
    param_names = ("update", "dtype")

    def time_update(self, name, dtype):
        p, dp, *moments = aligned_normal(4 * 4096, dtype).reshape(4, 4096).copy()
        take_steps = repeated_part(*UPDATES[name])
        take_steps(REPEATS, job(), 1.0, 1 / 32, 0.0, 0, 4096, 0, p, dp, np.abs(np.concatenate(moments)))


class Step:
    """Gradients and a step of SGD along with them, for a layer of so many units, as many inputs and 64 examples."""

    params = ([256, 1024], DTYPES)
    param_names = ("units", "dtype")

    def time_step(self, n, dtype):
        plan, p, S = network((n, n), dtype)
        p, dp, found = p.copy(), p.copy(), np.dtype(dtype)
        plan.network["update"] = address_of("update", found, codes.SGD)
        for name in ("weight_gradient", "bias_gradient"):
            plan.layers[name][1] = address_of(name, found)
        repeated_part("steps")(
            REPEATS, plan.network, plan.layers, job(), LANES, 0, S, 0, 1 / LANES, p, dp, dp[:0]
        )  # fmt: skip


class Loading:
    """Gathering a batch of 128 examples, targets, and drawing an order of 10,000; 200 times each."""

    params = ([2, 30, 784], DTYPES)
    param_names = ("features", "dtype")

    def time_load_examples(self, features, dtype):
        layer, X, order, S = batch(features, NARROW_UP_TO + 1, dtype)
        place = tuple(int(layer[field]) for field in ("A", "block", "ld", "AT", "panel"))
        repeated_part("gather")(REPEATS, X, order, 0, 0, 128, S, *place)

    def time_load_targets(self, features, dtype):
        layer, X, order, S = batch(features, 1, dtype)
        place = int(layer["A"]), int(layer["block"]), int(layer["ld"]), -1, 0
        repeated_part("gather")(REPEATS, X[:, :1].copy(), order, 0, 0, 128, S, *place)

    def time_shuffle(self, features, dtype):
        repeated(gather.shuffle)(REPEATS, np.empty(10_000, np.int64), np.empty(0, np.int64), 1, 2)


@lru_cache
def batch(features, units, dtype):
    """Return the record of the input of a layer, 1,000 examples, an order of them and a scratch vector."""
    plan = make_plan((features, units), (True,), examples=128, backward=True)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, features)).astype(dtype)
    return plan.layers[0], X, rng.permutation(1000), np.zeros(plan.n_scratch, dtype)


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
