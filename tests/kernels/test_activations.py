"""Activations and their derivatives against the reference."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, TEN_BATCHES, Guarded, assert_within
from compiled import Chunk, make_model, part, random_data

from fastnet import Dense, LeakyReLU
from fastnet.activations import ACTIVATIONS, activation_for
from fastnet.kernels import codes
from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.plan import MOST_EXAMPLES, make_plan

ELEMENTWISE = [*(name for name in ACTIVATIONS if name != "softmax"), LeakyReLU(0.2), LeakyReLU(0.0), LeakyReLU(3.0)]
FROM_VALUE = [name for name in ELEMENTWISE if activation_for(name).code not in codes.SLOPE_FROM_Z]
FROM_Z = [name for name in ELEMENTWISE if activation_for(name).code in codes.SLOPE_FROM_Z]
ULP = 2
"""What an activation may be off by, in units of C eps: see test_elementary.py for what it is."""


REACHES = [
    ("activate", 1, "A"), ("activate_storing_slopes", 1, "A"), ("activate_storing_slopes", 1, "slopes"),
    ("differentiate", 1, "slopes"), ("differentiate", 1, "dZ"), ("differentiate", 2, "dZ"),
]  # fmt: skip
"""Parts, and the fields that say where they read and write."""


def points(n, dtype):
    return (np.random.default_rng(n).standard_normal(n) * 4).astype(dtype)


def layer_of(name, n, m, dtype, *, following=(), stores_slopes=False, **settings):
    """Return a chunk whose layer 1 has n units of that activation (None: a stored slope), and the code of that."""
    code, _, setting = activation_for(name) if name is not None else (codes.STORED_SLOPE, None, 0.0)
    chunk = Chunk((1, n, *following), m, dtype, stores_slopes=[stores_slopes] * (1 + len(following)), **settings)
    chunk.layers["setting"][1] = setting
    return chunk, code


def activate(name, Z):
    """A <- g(Z), in place, of one unit and any number of examples."""
    for start in range(0, Z.size, MOST_EXAMPLES):
        some = Z[start : start + MOST_EXAMPLES]
        chunk, code = layer_of(name, 1, some.size, Z.dtype)
        chunk.put(1, "A", some[None])
        part("activate", code)(chunk.layers, 1, 0, some.size, chunk.S.inside)
        some[:] = chunk.get(1, "A")[0]
        chunk.assert_untouched(chunk.place(1, "A"))


def activate_storing_slopes(name, Z):
    """A <- g(Z), in place, likewise; return the slopes."""
    slopes = np.full_like(Z, np.nan)
    for start in range(0, Z.size, MOST_EXAMPLES):
        some = Z[start : start + MOST_EXAMPLES]
        chunk, code = layer_of(name, 1, some.size, Z.dtype, stores_slopes=True)
        chunk.put(1, "A", some[None])
        part("activate_storing_slopes", code)(chunk.layers, 1, 0, some.size, chunk.S.inside)
        some[:], slopes[start : start + MOST_EXAMPLES] = chunk.get(1, "A")[0], chunk.get(1, "slopes")[0]
        chunk.assert_untouched(chunk.place(1, "A"), chunk.place(1, "slopes"))
    return slopes


NO_PARAMETERS = {dtype: np.empty(0, dtype) for dtype in DTYPES}


def multiply_by_derivative(name, A, dZ):
    """DZ <- dZ * g'(Z), in place, likewise."""
    for start in range(0, A.size, MOST_EXAMPLES):
        some = slice(start, start + MOST_EXAMPLES)
        chunk, code = layer_of(name, 1, A[some].size, A.dtype)
        chunk.put(1, "A", A[None, some])
        chunk.put(1, "dZ", dZ[None, some])
        differentiate = part("differentiate", code)
        differentiate(chunk.layers, 1, 0, A[some].size, NO_PARAMETERS[A.dtype.name], chunk.S.inside)
        dZ[some] = chunk.get(1, "dZ")[0]
        chunk.assert_untouched(chunk.place(1, "dZ"))


def magnitude(name, Z):
    """Return |g(Z)|, or more, where the reference is off itself: a rounded square in an exponent costs tails digits."""
    exact = np.abs(reference.activation(Z, name))
    return exact * np.maximum(Z**2, 1.0) if name == "gelu" else exact


def exact_slope(name, Z):
    return reference.activation_derivative(Z, reference.activation(Z, name), name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_activate(name, dtype):
    for n in TEN_BATCHES:
        Z = points(n, dtype)
        A = Guarded(n, dtype)
        A.inside[:] = Z
        activate(name, A.inside)
        exact = reference.activation(Z.astype(float), name)
        assert_within(A.inside, exact, magnitude(name, Z.astype(float)), ULP)
        A.assert_guards()


SOME = [(9, 0, 9), (9, 0, 16), (70, 16, 70), (130, 64, 128)]
"""Of so many examples, the first and the last: part of a block, parts of two, a whole one."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax"], ids=str)
@pytest.mark.parametrize(("m", "first", "stop"), SOME)
def test_some_examples(m, first, stop, name, dtype):
    """Those and no others; with each activation, and with its derivative."""
    n = 5
    chunk, code = layer_of(name, n, m, dtype)
    S, last = chunk.S.inside, min(stop, m)
    Z, dA = points(n * m, dtype).reshape(n, m), points(n * m + 1, dtype)[1:].reshape(n, m)
    chunk.put(1, "A", Z)
    part("activate", code)(chunk.layers, 1, first, stop, S)
    z, da = Z[:, first:last].astype(float), dA[:, first:last].astype(float)
    size = magnitude(name, z) + (name == "softmax")
    assert_within(chunk.get(1, "A", first=first, m=last), reference.activation(z, name), size, n)
    touched = [chunk.place(1, "A", first=first, m=stop)]
    if name in FROM_VALUE:
        chunk.put(1, "dZ", dA)
        part("differentiate", code)(chunk.layers, 1, first, stop, NO_PARAMETERS[dtype], S)
        assert_within(chunk.get(1, "dZ", first=first, m=last), da * exact_slope(name, z), np.abs(da), ULP)
        touched.append(chunk.place(1, "dZ", first=first, m=stop))
    chunk.assert_untouched(*touched)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "first", "stop"), SOME)
def test_derivative_of_a_softmax(m, first, stop, dtype):
    """Of some examples and no others."""
    for n in (2, 5, 17):
        chunk, code = layer_of("softmax", n, m, dtype)
        A = reference.softmax(points(n * m, float).reshape(n, m)).astype(dtype)
        dA, last = points(n * m + 1, dtype)[1:].reshape(n, m), min(stop, m)
        chunk.put(1, "A", A)
        chunk.put(1, "dZ", dA)
        part("differentiate", code)(chunk.layers, 1, first, stop, NO_PARAMETERS[dtype], chunk.S.inside)
        a, da = A[:, first:last].astype(float), dA[:, first:last].astype(float)
        size = a * (np.abs(da) + n * (a * np.abs(da)).sum(axis=0))
        assert_within(chunk.get(1, "dZ", first=first, m=last), a * (da - (a * da).sum(axis=0)), size, 1)
        chunk.assert_untouched(chunk.place(1, "dZ", first=first, m=stop))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax"], ids=str)
def test_few_rows(name, dtype):
    """One example a block, in the bits that it has beside others."""
    n, m = 5, 3
    Z, found = points(n * m, dtype).reshape(n, m), []
    for few_rows in (True, False):
        chunk, code = layer_of(name, n, m, dtype, backward=False, few_rows=few_rows)
        chunk.put(1, "A", Z)
        part("activate", code)(chunk.layers, 1, 0, m, chunk.S.inside)
        chunk.assert_untouched(chunk.place(1, "A"))
        found.append(chunk.get(1, "A"))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
@pytest.mark.parametrize(("m", "first", "stop"), SOME)
def test_slopes_are_stored_of_some_examples(m, first, stop, name, dtype):
    """Of any activation; A has the bits that it has where no slope is stored, and dZ is dA times the slope."""
    n = 5
    chunk, code = layer_of(name, n, m, dtype, stores_slopes=True)
    S, last = chunk.S.inside, min(stop, m)
    Z, dA = points(n * m, dtype).reshape(n, m), points(n * m + 1, dtype)[1:].reshape(n, m)
    chunk.put(1, "A", Z)
    chunk.put(1, "dZ", dA)
    part("activate_storing_slopes", code)(chunk.layers, 1, first, stop, S)
    alone = Z[:, first:last].copy()
    activate(name, alone.reshape(-1))
    np.testing.assert_array_equal(chunk.get(1, "A", first=first, m=last), alone)
    exact, slopes = exact_slope(name, Z[:, first:last].astype(float)), chunk.get(1, "slopes", first=first, m=last)
    assert_within(slopes, exact, np.abs(exact) + 1, 1)
    part("differentiate", codes.STORED_SLOPE)(chunk.layers, 1, first, stop, NO_PARAMETERS[dtype], S)
    np.testing.assert_array_equal(chunk.get(1, "dZ", first=first, m=last), dA[:, first:last] * slopes)
    touched = [chunk.place(1, field, first=first, m=stop) for field in ("A", "slopes", "dZ")]
    chunk.assert_untouched(*touched)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*FROM_VALUE, None], ids=lambda name: str(name or "stored slope"))
@pytest.mark.parametrize(("m", "first", "stop"), SOME)
def test_derivative_before_a_layer_of_one_unit(m, first, stop, name, dtype):
    """Forms dA = W^T dZ of the next layer itself: the same as from a dA that holds it."""
    n, last = 5, min(stop, m)
    A, W, dZ_next = points(n * m, dtype).reshape(n, m), points(n, dtype), points(m, dtype)
    chunk, code = layer_of(name, n, m, dtype, following=(1,))
    chunk.put(1, "A", A)
    chunk.put(2, "dZ", dZ_next[None])
    parameters = np.full(chunk.n_parameters, np.nan, dtype)
    parameters[chunk.layers[2]["W"] :][:n] = W
    part("differentiate", code)(chunk.layers, 1, first, stop, parameters, chunk.S.inside)
    given, code = layer_of(name, n, m, dtype, following=(2,))
    given.put(1, "A", A)
    given.put(1, "dZ", np.outer(W, dZ_next))
    part("differentiate", code)(given.layers, 1, first, stop, NO_PARAMETERS[dtype], given.S.inside)
    found, expected = (filled.get(1, "dZ", first=first, m=last) for filled in (chunk, given))
    np.testing.assert_array_equal(found, expected)
    chunk.assert_untouched(chunk.place(1, "dZ", first=first, m=stop))


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize("name", ["tanh", "softmax", None])
@pytest.mark.parametrize(("part_name", "layer", "field"), REACHES)
@pytest.mark.parametrize("bad", [-1, "end", 2**40])
def test_what_lies_outside_is_refused(bad, part_name, layer, field, name):
    """A slice of an array that ends before is silently shorter, and one from before its start is elsewhere."""
    if (name == "softmax" and part_name != "activate") or (name is None and part_name != "differentiate"):
        pytest.skip("there is no such part")
    chunk, code = layer_of(name, 5, 17, "float32", following=(1,), stores_slopes=True)
    S, parameters = chunk.S.inside, np.zeros(chunk.n_parameters, np.float32)
    before = (parameters,) if part_name == "differentiate" else ()
    part(part_name, code)(chunk.layers, 1, 0, 17, *before, S)
    if part_name == "differentiate":
        with pytest.raises(IndexError):
            part(part_name, code)(chunk.layers, 1, 0, 17, NO_PARAMETERS["float32"], S)
    chunk.layers[field][layer] = S.size - 4 if bad == "end" else bad
    with pytest.raises(IndexError):
        part(part_name, code)(chunk.layers, 1, 0, 17, *before, S)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_values_do_not_depend_on_whether_slopes_are_stored(name, dtype):
    """Nor on how many there are, which decides what is computed by vectors."""
    for n in TEN_BATCHES:
        Z = np.concatenate([points(n, dtype), points(n, dtype) * 10])
        alone, beside_slopes, one_by_one = Z.copy(), Z.copy(), Z.copy()
        activate(name, alone)
        slopes = activate_storing_slopes(name, beside_slopes)
        for i in range(0, len(Z), 31):
            activate(name, one_by_one[i : i + 1])
            assert one_by_one[i] == alone[i]
        assert alone.tobytes() == beside_slopes.tobytes()
        exact = exact_slope(name, Z.astype(float))
        assert_within(slopes, exact, np.abs(exact) + 1, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FROM_VALUE, ids=str)
def test_multiply_by_derivative(name, dtype):
    for n in TEN_BATCHES:
        Z, dA = points(n, dtype), points(n + 1, dtype)[1:]
        A = reference.activation(Z.astype(float), name).astype(dtype)
        dZ = Guarded(n, dtype)
        dZ.inside[:] = dA
        multiply_by_derivative(name, A, dZ.inside)
        # The derivative is taken from the rounded value a: 1 - a and 1 - a^2 are off by the rounding of a.
        slope = exact_slope(name, Z.astype(float))
        assert_within(dZ.inside, dA * slope, np.abs(dA * np.maximum(slope, 1.0)), 1)
        dZ.assert_guards()


LIMITS = {
    "sigmoid": (1, 0), "tanh": (1, -1), "relu": (np.inf, 0), "elu": (np.inf, -1), "selu": (np.inf, -1.7580993408473766),
    "gelu": (np.inf, 0), "silu": (np.inf, 0), "mish": (np.inf, 0), "softplus": (np.inf, 0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != LeakyReLU(0.0)], ids=str)
def test_nan_and_infinity_pass_through(name, dtype):
    for times in (1, 16):
        alone = np.array([np.nan, np.inf, -np.inf] * times, dtype)
        kept = alone.copy()
        activate(name, alone)
        slopes = activate_storing_slopes(name, kept)
        for values in (alone, kept):
            limits = np.array([np.nan, *LIMITS.get(name, (np.inf, -np.inf))], dtype)
            np.testing.assert_array_equal(values.reshape(-1, 3), np.tile(limits, (times, 1)))
        assert not np.isnan(slopes[1::3]).any()
        assert not np.isnan(slopes[2::3]).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FROM_Z)
def test_nan_has_a_slope_that_is_none(name, dtype):
    assert np.isnan(activate_storing_slopes(name, np.full(17, np.nan, dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_huge_values_and_their_slopes_are_finite(name, dtype):
    sizes = np.array([10.0, 43.0, 44.0, 86.0, 100.0, 1e4, 1e10, 1e30])
    Z = np.concatenate([sizes, -sizes]).astype(dtype)
    A = Z.copy()
    slopes = activate_storing_slopes(name, A)
    exact = reference.activation(Z.astype(float), name)
    assert_within(A, exact, magnitude(name, Z.astype(float)), ULP)
    assert_within(slopes, exact_slope(name, Z.astype(float)), 3, 1)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_far_out_on_the_left_nothing_is_subnormal(name):
    """Those numbers are slow: what would be one is zero."""
    Z = np.linspace(-120, -5, 20_001).astype(np.float32)
    A = Z.copy()
    for values in (activate_storing_slopes(name, A), A):
        assert ((values == 0) | (np.abs(values) >= np.finfo(np.float32).tiny)).all()


def test_derivative_at_the_kink_is_the_one_on_its_left():
    kinks = {"relu": 0.0, "leaky_relu": 0.01, LeakyReLU(0.2): 0.2, "selu": 1.7580993408473766}
    for name, slope in kinks.items():
        dZ = np.ones(1)
        multiply_by_derivative(name, np.zeros(1), dZ)
        kept = activate_storing_slopes(name, np.zeros(1))
        assert dZ[0] == kept[0] == slope == exact_slope(name, np.zeros(1))[0]


def test_slopes_have_a_place_of_their_own_only_where_they_are_stored():
    n, examples = 7, 65
    stores_slopes = (True, False, True)
    for backward in (True, False):
        settings = {"examples": examples, "backward": backward}
        with_slopes = make_plan((n,) * 4, (True,) * 3, stores_slopes=stores_slopes, **settings)
        without = make_plan((n,) * 4, (True,) * 3, **settings)
        assert (without.layers["slopes"] == without.layers["A"]).all()
        own_place = with_slopes.layers["slopes"][1:] != with_slopes.layers["A"][1:]
        np.testing.assert_array_equal(own_place, np.array(stores_slopes) & backward)
        blocks = 2 * 16 * 64
        assert with_slopes.n_scratch - without.n_scratch == own_place.sum() * blocks


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [name for name in ACTIVATIONS if name != "softmax"])
def test_slopes_of_any_hidden_activation_may_be_stored(hidden, dtype, monkeypatch):
    """As dropout does: the network is the same."""
    X, y = random_data(70, 5)
    results = []
    for kept in (codes.SLOPE_FROM_Z, tuple(a.code for a in ACTIVATIONS.values() if a.code != codes.SOFTMAX)):
        monkeypatch.setattr(codes, "SLOPE_FROM_Z", kept)
        model = make_model((5, 7, 3, 1), (hidden, hidden, "sigmoid"), dtype=dtype)
        gradients = np.concatenate([dW.ravel() for dW, _ in model.gradients(X, y)])
        results.append((model.cost(X, y), gradients))
    assert results[0][0] == results[1][0]
    rounding = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=rounding, atol=rounding * abs(results[0][1]).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_training_and_prediction_see_the_same_values(name, dtype):
    """The cost of a squared error at targets that are the predictions is exactly zero."""
    X, _ = random_data(70, 5)
    model = make_model((5, 7, 3), (name, name), loss="mean_squared_error", dtype=dtype, scale=1)
    A = model.forward(X)
    assert A.any()
    assert model.cost(X, A) == 0
    gradients = model.gradients(X, A)
    assert not any(dW.any() for dW, _ in gradients)


def test_a_leaky_relu_of_another_slope():
    default, same, steeper = (
        make_model((5, 7, 1), (name, "linear")) for name in ("leaky_relu", LeakyReLU(), LeakyReLU(0.5))
    )
    X, _ = random_data(70, 5)
    np.testing.assert_array_equal(default.forward(X), same.forward(X))
    assert (default.forward(X) != steeper.forward(X)).any()
    assert steeper.layers[0].activation == LeakyReLU(0.5)
    assert repr(Dense(3, LeakyReLU(0.5))) == "Dense(3, LeakyReLU(slope=0.5))"
    assert "LeakyReLU(slope=0.5)" in steeper.summary()
