"""The loss kernels against the reference and, for extreme logits, against mpmath."""

import re
from itertools import permutations

import mpmath
import numpy as np
import pytest
import reference
from bounds import DTYPES, TEN_BATCHES, Guarded, assert_within
from compiled import Chunk, from_python, part

from fastnet import Dense, Huber, Model, Quantile
from fastnet.kernels import codes
from fastnet.kernels.activations import softmax
from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.losses import (
    OF_ROW,
    binary_crossentropy,
    categorical_crossentropy,
    huber,
    mean_absolute_error,
    mean_squared_error,
    poisson,
    quantile,
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_crossentropy(dtype):
    for n in TEN_BATCHES:
        rng = np.random.default_rng(n)
        Z, Y = (rng.standard_normal(n) * 5).astype(dtype), rng.random(n).astype(dtype)
        A, dZ, terms = Guarded(n, dtype), Guarded(n, dtype), Guarded(n, dtype)
        A.inside[:] = Z
        from_python(binary_crossentropy)(A.inside, Y, dZ.inside, terms.inside, 0.0)
        z, y = Z.astype(float), Y.astype(float)
        a = reference.sigmoid(z)
        assert_within(A.inside, a, a, 1)
        assert_within(dZ.inside, a - y, a + y, 1)
        assert_within(terms.inside, reference.cross_entropy(z, y), np.abs(z) + 1, 1)
        for buffer in (A, dZ, terms):
            buffer.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("z", [0.0, 1e-30, -1e-30, 30.0, -30.0, 80.0, -80.0, 500.0, -500.0, 1e30, -1e30])
def test_binary_crossentropy_is_exact_for_any_logit(z, dtype):
    for y in (0.0, 0.25, 1.0):
        Z, dZ, terms = np.array([z], dtype), np.full(1, np.nan, dtype), np.full(1, np.nan, dtype)
        logit = mpmath.mpf(float(Z[0]))
        from_python(binary_crossentropy)(Z, np.array([y], dtype), dZ, terms, 0.0)
        with mpmath.workprec(200):
            exact = max(logit, 0) - logit * y + mpmath.log1p(mpmath.exp(-abs(logit)))
            a = 1 / (1 + mpmath.exp(-logit))
            assert_within(terms, np.array([float(exact)]), float(exact), 1)
            assert_within(dZ, np.array([float(a - y)]), float(a) + y, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_squared_error(dtype):
    for n in TEN_BATCHES:
        rng = np.random.default_rng(n)
        A, Y = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
        dA, terms = Guarded(n, dtype), Guarded(n, dtype)
        from_python(mean_squared_error)(A, Y, dA.inside, terms.inside, 0.0)
        difference = A.astype(float) - Y
        assert_within(dA.inside, difference, np.abs(difference), 1)
        assert_within(terms.inside, difference**2 / 2, difference**2 / 2, 1)
        dA.assert_guards()
        terms.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("delta", [1e-3, 0.7, 1e3])
def test_mean_absolute_error_and_huber(delta, dtype):
    for n in TEN_BATCHES:
        rng = np.random.default_rng(n)
        A, Y = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
        A[n // 2] = Y[n // 2]
        for kernel in (mean_absolute_error, huber):
            dA, terms = Guarded(n, dtype), Guarded(n, dtype)
            from_python(kernel)(A, Y, dA.inside, terms.inside, delta)
            d = A.astype(float) - Y
            size = np.abs(d)
            if kernel is huber:
                gradient = np.clip(d, -delta, delta)
                exact = np.where(size <= delta, d**2 / 2, delta * (size - delta / 2))
            else:
                gradient, exact = np.sign(d), size
            assert_within(dA.inside, gradient, np.abs(gradient), 1)
            assert_within(terms.inside, exact, 2 * exact, 1)
            dA.assert_guards()
            terms.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("q", [1e-7, 0.1, 0.5, 0.999, 1 - 2e-7])
def test_quantile(q, dtype):
    for n in TEN_BATCHES:
        rng = np.random.default_rng(n)
        A, Y = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
        A[n // 2] = Y[n // 2]
        dA, terms = Guarded(n, dtype), Guarded(n, dtype)
        from_python(quantile)(A, Y, dA.inside, terms.inside, q)
        d, kept = A.astype(float) - Y, float(np.dtype(dtype).type(q))  # the loss is that of q as the dtype has it
        assert 0 < kept < 1
        gradient = np.where(d > 0, 1 - kept, np.where(d < 0, -kept, 0))
        assert_within(dA.inside, gradient, np.abs(gradient), 1)
        assert_within(terms.inside, reference.pinball(A.astype(float), Y, kept), gradient * d, 1)
        dA.assert_guards()
        terms.assert_guards()
    for bad in (np.nan, np.inf, -np.inf):
        from_python(quantile)(np.full(1, bad, dtype), np.zeros(1, dtype), dA.inside[:1], terms.inside[:1], q)
        assert not np.isfinite(terms.inside[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("z", [0.0, 1e-30, 1.0, -1.0, 30.0, -30.0, 80.0, -80.0, -1e30])
def test_poisson_is_exact_for_any_logarithm(z, dtype):
    smallest = float(np.finfo(dtype).tiny) / np.finfo(dtype).eps
    for y in (0.0, 1.0, 17.0):
        Z, dZ, terms = np.array([z], dtype), np.full(1, np.nan, dtype), np.full(1, np.nan, dtype)
        log_mean = mpmath.mpf(float(Z[0]))
        from_python(poisson)(Z, np.array([y], dtype), dZ, terms, 0.0)
        with mpmath.workprec(200):
            a = mpmath.exp(log_mean)
            assert_within(Z, np.array([float(a)]), float(a) + smallest, 1)
            assert_within(terms, np.array([float(a - y * log_mean)]), float(a + y * abs(log_mean)) + smallest, 1)
            assert_within(dZ, np.array([float(a - y)]), float(a) + y + smallest, 1)


LOSSES_OF_REGRESSION = [
    ("mean_absolute_error", lambda A, Y: np.abs(A - Y)),
    ("huber", reference.huber),
    (Huber(0.3), lambda A, Y: reference.huber(A, Y, 0.3)),
    ("poisson", lambda A, Y: A - Y * np.log(A)),
    (Quantile(0.8), lambda A, Y: reference.pinball(A, Y, 0.8)),
]


@pytest.mark.parametrize(("loss", "by_example"), LOSSES_OF_REGRESSION)
def test_the_losses_of_regression_through_the_model(loss, by_example):
    """Their costs and gradients, the mean that a Poisson model predicts, and that they learn."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    counts = rng.poisson(np.exp(0.5 * X[:, 0] + 0.3)).astype(float)
    model = Model([Dense(5, "tanh"), Dense(1)], loss=loss, dtype="float64", seed=0)
    model.build(3)
    before = by_example(model.forward(X)[:, 0], counts).mean()
    np.testing.assert_allclose(model.cost(X, counts), before, rtol=1e-12)
    assert model.check_gradients(X[:20], counts[:20]).ok
    model.fit(X, counts, epochs=50, verbose=False)
    assert model.cost(X, counts) < before - 0.02
    np.testing.assert_array_equal(model.predict(X), model.forward(X)[:, 0])
    if loss == "poisson":
        assert (model.predict(X) > 0).all()
        assert abs(model.predict(X).mean() / counts.mean() - 1) < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Huber(0), "delta must be a finite number greater than 0, not 0."),
        (
            lambda: Quantile(1),
            "q must be a number between 0 and 1, at least 1e-7 from both, or a sequence of such, not 1.",
        ),
        (lambda: Quantile([0.1, 0]), "q[1] must be a number between 0 and 1, at least 1e-7 from both, not 0."),
        (lambda: Quantile([0.5, 0.5]), "q must hold increasing numbers, and at least one, not [0.5, 0.5]."),
        (lambda: Quantile(()), "q must hold increasing numbers, and at least one, not ()."),
        (
            lambda: Model([Dense(1)], loss="quantile"),
            "loss='quantile' does not say which. Pass loss=Quantile(0.9), or ",
        ),
        (
            lambda: Model([Dense(1)], loss=Quantile([0.1, 0.9])),
            "loss Quantile(q=(0.1, 0.9)) needs a last layer of 2 units, one for each quantile, but it has 1. ",
        ),
        (
            lambda: Model([Dense(2, "tanh")], loss=Quantile([0.1, 0.9])),
            "loss Quantile(q=(0.1, 0.9)) needs a last activation of 'linear', but the last layer has 'tanh'. ",
        ),
        (lambda: Model([Dense(2, "softmax")], loss=Quantile(0.5)), "'categorical_crossentropy', not Quantile(q=0.5). "),
        (
            lambda: Model([Dense(3)], loss=Quantile([0.1, 0.5, 0.9])).fit([[1.0]], [[1.0, 2.0, 3.0]]),
            "y must have shape (m,) or (m, 1), a single target, of which the outputs are quantiles, but has (1, 3).",
        ),
        (lambda: Model([Dense(1, "relu")], loss="poisson"), "loss 'poisson' needs a last activation of 'linear'"),
        (lambda: Model([Dense(1)], loss="hubber"), "loss must be one of 'binary_crossentropy', "),
        (
            lambda: Model([Dense(1)], loss="poisson").fit([[1.0]], [-1.0]),
            "y has 1 negative value; the first is y[0] = -1.0. ",
        ),
    ],
)
def test_bad_losses(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


CLASSES = (2, 3, 7, 17, 65)


def call_categorical(Z, Y, columns, ld):
    """Return A, dZ and terms of logits Z (n, columns), computed side by side in guarded memory with row stride ld."""
    n, rows = len(Z), max(4, len(Z))  # it works in four rows of terms
    S = Guarded(4 * rows * ld, Z.dtype)
    z, y, dz, term = S.inside.reshape(4, rows, ld)
    z[:n, :columns], y[:n, :columns] = Z, Y
    at = [S.offset + i * rows * ld for i in range(4)]
    from_python(categorical_crossentropy)(n, columns, S.whole, *at, ld)
    S.assert_guards()
    for block, written in ((z, n), (dz, n), (term, 4)):
        assert np.isnan(block[:, columns:]).all()
        assert np.isnan(block[written:]).all()
    np.testing.assert_array_equal(y[:n, :columns], Y)
    return z[:n, :columns].copy(), dz[:n, :columns].copy(), term[0, :columns].copy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", CLASSES)
def test_categorical_crossentropy(n, dtype):
    for columns in (m for m in TEN_BATCHES if m <= 64):
        rng = np.random.default_rng(n)
        Z = (rng.standard_normal((n, columns)) * 5).astype(dtype)
        hard, soft = np.eye(n)[rng.integers(n, size=columns)].T, rng.dirichlet(np.full(n, 0.3), columns).T
        for Y in (hard.astype(dtype), soft.astype(dtype)):
            A, dZ, terms = call_categorical(Z, Y, columns, ld=64)
            z, y = Z.astype(float), Y.astype(float)
            a, d = reference.softmax(z), z.max(axis=0) - z
            # e^-d is off by the rounding of d, a sum of n by its length.
            E_A = a * (d + (a * d).sum(axis=0) + n)
            assert_within(A, a, E_A, 1)
            assert_within(dZ, a - y, E_A + np.abs(a - y), 1)
            costs = reference.categorical_cross_entropy(z, y)[0]
            assert_within(terms, costs, (n * y * d + a * (d + n)).sum(axis=0), 1)


EXTREME_LOGITS = [
    (0.0, 0.0, 0.0), (1e30, 1e30, 1e30), (-1e30, -1e30, 0.0), (1e30, 0.0, -1e30), (500.0, 500.0, -500.0),
    (1e-30, 0.0, -1e-30), (80.0, 0.0, 79.0), (30.0, -30.0, 0.0), (-88.0, 0.0, -88.0), (7.0, 7.0, 6.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logits", EXTREME_LOGITS)
def test_categorical_crossentropy_is_exact_for_any_logits(logits, dtype):
    """Ties, and differences beyond what e^-d can hold: every order of the classes, every class as the right one."""
    smallest = float(np.finfo(dtype).tiny)
    for order in permutations(range(3)):
        for y in (*np.eye(3), np.array([0.25, 0.0, 0.75])):
            Z = np.array([[logits[i]] for i in order], dtype)
            A, dZ, terms = call_categorical(Z, y[:, None].astype(dtype), 1, ld=16)
            with mpmath.workprec(300):
                z = [mpmath.mpf(float(value)) for value in Z[:, 0]]
                d = [max(z) - value for value in z]
                e = [mpmath.exp(-value) for value in d]
                a = [value / mpmath.fsum(e) for value in e]
                right = mpmath.fsum(float(t) * value for t, value in zip(y, d, strict=True))
                cost = right + mpmath.log(mpmath.fsum(e))
                # Below its smallest number, e^-d is zero, and beside 1 nothing is lost.
                E_A = np.array([float(a_i * (min(d_i, 800) + 3)) for a_i, d_i in zip(a, d, strict=True)])
                E_A += 8 * smallest / np.finfo(dtype).eps
                assert_within(A[:, 0], np.array([float(a_i) for a_i in a]), E_A + E_A.sum(), 1)
                difference = np.array([float(a_i - float(t)) for a_i, t in zip(a, y, strict=True)])
                assert_within(dZ[:, 0], difference, E_A + E_A.sum() + np.abs(difference), 1)
                assert_within(terms, np.array([float(cost)]), float(3 * right) + E_A.sum(), 1)


def test_the_cost_of_a_sure_and_right_answer_keeps_its_digits():
    """log(1 + e^-40) = 4e-18, which 1 - A could not tell from zero."""
    for dtype in DTYPES:
        _, _, terms = call_categorical(np.array([[0.0], [40.0]], dtype), np.array([[0.0], [1.0]], dtype), 1, ld=16)
        exact = float(mpmath.log1p(mpmath.exp(-40)))
        assert_within(terms, np.array([exact]), exact, 40)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_nan_and_infinity(dtype):
    """A NaN among the logits, or the largest infinite, must not come out as finite numbers."""
    for place in range(3):
        for bad in (np.nan, np.inf):
            Z, Y = np.zeros((3, 1), dtype), np.zeros((3, 1), dtype)
            Z[place], Y[0] = bad, 1
            A, dZ, terms = call_categorical(Z, Y, 1, ld=16)
            assert np.isnan(A).any()
            assert np.isnan(dZ).any()
            assert not np.isfinite(terms).any()
    A, dZ, terms = call_categorical(np.array([[-np.inf], [0.0]], dtype), np.array([[0.0], [1.0]], dtype), 1, ld=16)
    np.testing.assert_array_equal([*A[:, 0], *dZ[:, 0], *terms], [0, 1, 0, 0, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_gives_the_bits_of_the_loss_at_any_stride(dtype):
    Z = np.random.default_rng(0).standard_normal((17, 1)).astype(dtype)
    A, _, _ = call_categorical(Z, np.eye(17, 1, dtype=dtype), 1, ld=16)
    for stride in (1, 5):
        S = Guarded(17 * stride, dtype)
        S.inside[::stride] = Z[:, 0]
        from_python(softmax)(17, S.whole, S.offset, stride)
        np.testing.assert_array_equal(S.inside[::stride], A[:, 0])
        S.assert_guards()


def settings_of(n, dtype):
    return np.linspace(0.3, 0.7, n).astype(dtype)


def loss_chunk(n, m, dtype):
    """Return a chunk with Z (or A) of the last layer, Y, weights and settings; and the first three."""
    chunk, rng = Chunk((1, n), m, dtype), np.random.default_rng(n)
    Z, Y, weights = rng.standard_normal((n, m)).astype(dtype), rng.random((n, m)), rng.random(m).astype(dtype)
    Y = (Y / Y.sum(axis=0)).astype(dtype)
    chunk.put(1, "A", Z)
    chunk.put(1, "Y", Y)
    for field, values in (("weights", weights), ("settings", settings_of(n, dtype))):
        at = int(chunk.network[field][0])
        chunk.S.inside[at : at + len(values)] = values
        chunk.filled.append((slice(at, at + len(values)), values))
    return chunk, Z, Y, weights


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("code", codes.LOSSES)
@pytest.mark.parametrize("n", [1, 3, 17])
def test_a_loss_over_a_chunk_is_that_of_its_rows(n, code, dtype):
    """Or, of classes, of its examples: by parts of them, over several blocks, and nothing beside."""
    for m, parts in ((9, [(0, 9)]), (9, [(0, 16)]), (130, [(0, 130)]), (130, [(0, 48), (48, 130)])):
        chunk, Z, Y, _ = loss_chunk(n, m, dtype)
        for first, stop in parts:
            part("loss", code)(chunk.network, chunk.layers, first, stop, chunk.S.inside)
        categorical = code == codes.CATEGORICAL_CROSSENTROPY
        A, dZ, terms = Z.copy(), np.full_like(Z, np.nan), np.full_like(Z, np.nan)
        if categorical:
            for e in range(m):
                A[:, e : e + 1], dZ[:, e : e + 1], terms[0, [e]] = call_categorical(Z[:, [e]], Y[:, [e]], 1, ld=16)
        else:
            for r in range(n):
                from_python(OF_ROW[code])(A[r], Y[r], dZ[r], terms[r], settings_of(n, dtype)[r])
        np.testing.assert_array_equal(chunk.get(1, "A"), A)
        np.testing.assert_array_equal(chunk.get(1, "dZ"), dZ)
        rows = 1 if categorical else n
        np.testing.assert_array_equal(chunk.get(1, "terms", n=rows), terms[:rows])
        stop = parts[-1][1]
        touched = [chunk.place(1, field, m=stop) for field in ("A", "dZ")]
        chunk.assert_untouched(*touched, chunk.place(1, "terms", n=4 if categorical else n, m=stop))


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_with_one_target(dtype):
    """Which is the first row of Y: those after it hold anything."""
    for n, m in ((3, 9), (17, 130)):
        chunk, A, Y, _ = loss_chunk(n, m, dtype)
        chunk.put(1, "Y", np.where(np.arange(n)[:, None] > 0, np.nan, Y))
        chunk.network["ld_Y"] = 0
        part("loss", codes.QUANTILE)(chunk.network, chunk.layers, 0, m, chunk.S.inside)
        dA, terms = np.empty_like(A), np.empty_like(A)
        for r, q in enumerate(settings_of(n, dtype)):
            from_python(quantile)(A[r], Y[0], dA[r], terms[r], q)
        np.testing.assert_array_equal(chunk.get(1, "dZ"), dA)
        np.testing.assert_array_equal(chunk.get(1, "terms"), terms)


@pytest.mark.parametrize("dtype", DTYPES)
def test_smoothing(dtype):
    """Of some examples, in all their rows, and nothing beside."""
    for m, parts in ((9, [(0, 9)]), (130, [(0, 48), (48, 130)])):
        chunk, _, Y, _ = loss_chunk(3, m, dtype)
        chunk.network["kept"], chunk.network["shared"] = 0.9, 0.1 / 3
        for first, stop in parts:
            part("smooth")(chunk.network, chunk.layers, first, stop, chunk.S.inside)
        T = np.dtype(dtype).type
        np.testing.assert_array_equal(chunk.get(1, "Y"), Y * T(0.9) + T(0.1 / 3))
        assert_within(chunk.get(1, "Y"), reference.smoothed(Y.astype(float), 0.1, 3), Y + 1, 1)
        chunk.assert_untouched(chunk.place(1, "Y"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("term_rows", [1, 3])
def test_weighing(term_rows, dtype):
    for m, parts in ((9, [(0, 9)]), (130, [(0, 48), (48, 130)])):
        chunk, Z, Y, weights = loss_chunk(3, m, dtype)
        chunk.put(1, "dZ", Z)
        chunk.put(1, "terms", Y)
        chunk.network["term_rows"] = term_rows
        for first, stop in parts:
            part("weigh")(chunk.network, chunk.layers, first, stop, chunk.S.inside)
        np.testing.assert_array_equal(chunk.get(1, "dZ"), Z * weights)
        expected = Y.copy()
        expected[:term_rows] *= weights
        np.testing.assert_array_equal(chunk.get(1, "terms"), expected)
        chunk.assert_untouched(chunk.place(1, "dZ"), chunk.place(1, "terms"))


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize("bad", [-1, "end", 2**40])
@pytest.mark.parametrize("field", ["A", "Y", "dZ", "terms", "weights", "settings"])
def test_what_lies_outside_is_refused(field, bad):
    """A slice of an array that ends before is silently shorter, and one from before its start is elsewhere."""
    for name in [("loss", codes.MEAN_SQUARED_ERROR), ("loss", codes.CATEGORICAL_CROSSENTROPY), ("weigh",), ("smooth",)]:
        but = {
            "weigh": ["A", "Y", "settings"],
            "loss": ["weights"],
            "smooth": ["A", "dZ", "terms", "weights", "settings"],
        }
        if field in but[name[0]]:
            continue
        if field == "settings" and name[1] == codes.CATEGORICAL_CROSSENTROPY:
            continue
        chunk, *_ = loss_chunk(5, 17, "float32")
        chunk.network["term_rows"] = 5
        part(*name)(chunk.network, chunk.layers, 0, 17, chunk.S.inside)
        record, at = (chunk.layers, 1) if field in ("A", "dZ") else (chunk.network, 0)
        record[field][at] = chunk.S.inside.size - 4 if bad == "end" else bad
        with pytest.raises(IndexError):
            part(*name)(chunk.network, chunk.layers, 0, 17, chunk.S.inside)
