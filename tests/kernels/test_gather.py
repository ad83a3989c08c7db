"""From the user's rows to blocks and panels, and back; and the order in which they come."""

import numpy as np
import pytest
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, Guarded
from compiled import Chunk, from_python, lanes_of, part, random_classes, random_data
from conftest import JIT_DISABLED

from fastnet.kernels import gather
from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.plan import NARROW_UP_TO, PADDING, WIDE_FROM, padded

UNITS = (1, 7, 17) if JIT_DISABLED else SEVEN_UNITS
CHUNKS = (1, 65) if JIT_DISABLED else tuple(m for m in TEN_BATCHES if m <= 512)


def parts_of(m):
    """Yield the examples of a chunk as a whole, and in two parts."""
    middle = m // 2 // PADDING * PADDING
    yield [(0, m)]
    yield [(0, middle), (middle, m)]


def load(chunk, name, X, order, start, first, stop):
    """Load some examples of a chunk that begins at order[start], as its input or, with targets, as Y."""
    layers, S = chunk.layers, chunk.S.inside
    if name in ("load_classes", "targets"):
        name, output = "load_classes" if name == "load_classes" else "gather", layers[-1]
        place = chunk.network[0]["Y"], output["block"], output["ld"], -1, 0
    else:
        place = tuple(layers[0][field] for field in ("A", "block", "ld", "AT", "panel"))
    part(name)(X, order, start, first, stop, S, *map(int, place))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
def test_loading_examples_and_targets(n, dtype):
    """AT, if there is one, holds the chosen rows, A their transposes in blocks, Y the targets; and that is all."""
    m_all, start, outputs = 700, 3, NARROW_UP_TO + 1
    X, y = random_data(m_all, n, outputs)
    X, y = X.astype(dtype), y.astype(dtype)
    X.flags.writeable = y.flags.writeable = False
    order = np.random.default_rng(0).permutation(m_all)
    for m in CHUNKS:
        for parts in parts_of(m):
            chunk = Chunk((n, outputs), m, dtype)
            for first, stop in parts:
                load(chunk, "gather", X, order, start, first, stop)
                load(chunk, "targets", y, order, start, first, stop)
            chosen = order[start : start + m]
            np.testing.assert_array_equal(chunk.get(0, "A"), X[chosen].T)
            np.testing.assert_array_equal(chunk.get(1, "Y"), y[chosen].T)
            # Whole registers are written, within the padding.
            written = [chunk.place(0, "A", m=padded(m)), chunk.place(1, "Y", m=padded(m))]
            assert (chunk.layers["AT"][0] < 0) == (n <= NARROW_UP_TO)
            if n > NARROW_UP_TO:
                np.testing.assert_array_equal(chunk.get(0, "AT"), X[chosen].T)
                written.append(chunk.place_in_panels(0, n=padded(n), m=padded(m)))
            chunk.assert_untouched(*written)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [7, 70] if JIT_DISABLED else [7, 33, WIDE_FROM, WIDE_FROM + 3])
def test_loading_rows(n, dtype):
    m, order = 65, np.random.default_rng(0).permutation(80)
    X = random_data(80, n)[0].astype(dtype)
    chunk = Chunk((n, NARROW_UP_TO), m, dtype, by_rows=n < WIDE_FROM)
    for first, stop in ((0, 16), (16, m)):
        load(chunk, "load_rows", X, order, 1, first, stop)
    np.testing.assert_array_equal(chunk.get(0, "A"), X[order[1 : 1 + m]].T)
    chunk.assert_untouched(chunk.place(0, "A"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m"), [(2, 1), (17, 65), (33, 100)])
def test_class_numbers_are_loaded_as_a_1_among_zeros(n, m, dtype):
    classes, one_hot = random_classes(m + 3, n)
    order = np.random.default_rng(0).permutation(m + 3)
    for parts in parts_of(m):
        chunk = Chunk((1, n), m, dtype)
        for first, stop in parts:
            load(chunk, "load_classes", classes[:, None].astype(dtype), order, 3, first, stop)
        np.testing.assert_array_equal(chunk.get(1, "Y"), one_hot[order[3:]].T)
        chunk.assert_untouched(chunk.place(1, "Y", n=padded(n)))


@kernel
def call_load_weights(weights, order, start, first, stop, S, at):
    gather.load_weights(weights, order, start, first, stop, S, at)


@pytest.mark.parametrize("dtype", DTYPES)
def test_loading_weights(dtype):
    weights, order = np.arange(80, dtype=dtype), np.random.default_rng(0).permutation(80)
    for m in (1, 17, 65):
        S = Guarded(m, dtype)
        for first, stop in ((0, m // 2), (m // 2, m)):
            from_python(call_load_weights)(weights, order, 3, first, stop, S.inside, 0)
        np.testing.assert_array_equal(S.inside, weights[order[3 : 3 + m]])
        S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
def test_outputs_are_kept_in_the_order_of_the_epoch(n, dtype):
    for m in CHUNKS:
        chunk, outputs = Chunk((1, n), m, dtype), Guarded(n * (m + 5), dtype)
        A = np.arange(n * m, dtype=dtype).reshape(n, m)
        chunk.put(1, "A", A)
        for first, stop in next(iter(list(parts_of(m))[1:])):
            part("keep_outputs")(chunk.layers, 3, first, stop, chunk.S.inside, outputs.inside.reshape(n, m + 5))
        kept = outputs.inside.reshape(n, m + 5)
        np.testing.assert_array_equal(kept[:, 3 : 3 + m], A)
        assert np.isnan(kept[:, :3]).all()
        assert np.isnan(kept[:, 3 + m :]).all()
        outputs.assert_guards()
        chunk.assert_untouched()


@kernel
def call_transpose_panels(layers, l, first, stop, S):
    gather.transpose_panels(layers, l, first, stop, S)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
def test_transposing_a_layer_to_panels(n, dtype):
    for m in CHUNKS:
        A = np.arange(n * m, dtype=dtype).reshape(n, m)
        for parts in parts_of(m):
            chunk = Chunk((n, 1), m, dtype, panels=True)
            chunk.put(0, "A", A)
            for first, stop in parts:
                from_python(call_transpose_panels)(chunk.layers, 0, first, stop, chunk.S.inside)
            np.testing.assert_array_equal(chunk.get(0, "AT"), A)
            chunk.assert_untouched(chunk.place_in_panels(0, n=padded(n), m=padded(m)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (16, 48), (24, 16), (64, 32), (80, 16)])
def test_transpose(rows, columns, dtype):
    rows = -(-rows // lanes_of(dtype)) * lanes_of(dtype)
    source = np.arange(rows * columns, dtype=dtype).reshape(rows, columns)
    ldt = rows + 5
    S = Guarded(rows * columns + columns * ldt, dtype)
    S.inside[: rows * columns] = source.ravel()
    from_python(gather.transpose)(S.inside, 0, columns, rows * columns, ldt, rows, columns)
    target = S.inside[rows * columns :].reshape(columns, ldt)
    np.testing.assert_array_equal(target[:, :rows], source.T)
    assert np.isnan(target[:, rows:]).all()
    S.assert_guards()


NONE_CHOSEN = np.empty(0, np.int64)


def test_shuffle_gives_permutations_that_depend_on_key_and_epoch_alone():
    shuffle = from_python(gather.shuffle)
    seen = set()
    for key in (0, 1, 2**61):
        for epoch in (0, 1):
            order = np.full(209, -7)
            shuffle(order, NONE_CHOSEN, key, epoch)
            again = np.arange(209)[::-1].copy()
            shuffle(again, NONE_CHOSEN, key, epoch)
            np.testing.assert_array_equal(order, again)
            np.testing.assert_array_equal(np.sort(order), np.arange(209))
            seen.add(order.tobytes())
    assert len(seen) == 6


@pytest.mark.parametrize("m", [0, 1, 2, 3, 1000])
def test_shuffle_gives_a_permutation_of_any_length(m):
    whole = Guarded(m, "float64")
    order = whole.inside.view(np.int64)
    from_python(gather.shuffle)(order, NONE_CHOSEN, 5, 7)
    np.testing.assert_array_equal(np.sort(order), np.arange(m))
    whole.assert_guards()


@pytest.mark.parametrize("m", [1, 2, 33, 1000])
def test_shuffle_of_chosen_rows_is_that_of_their_places(m):
    """Rows may be chosen twice."""
    shuffle, chosen = from_python(gather.shuffle), np.random.default_rng(m).integers(0, 2 * m, m)
    order, places = np.full(m, -7), np.full(m, -7)
    shuffle(order, chosen, 5, 7)
    shuffle(places, NONE_CHOSEN, 5, 7)
    np.testing.assert_array_equal(order, chosen[places])


@pytest.mark.jit
def test_shuffle_is_uniform():
    """Every example is equally likely in every place: a chi-squared test, at a fixed seed."""
    shuffle, m, rounds = from_python(gather.shuffle), 10, 20_000
    counts, order = np.zeros((m, m)), np.empty(m, np.int64)
    for epoch in range(rounds):
        shuffle(order, NONE_CHOSEN, 3, epoch)
        counts[np.arange(m), order] += 1
    expected = rounds / m
    statistic = ((counts - expected) ** 2 / expected).sum()
    degrees = (m - 1) ** 2
    assert abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
class TestBounds:
    """Each reaches past one of its arrays: the order, the rows, the blocks or the panels; before them, too."""

    m, n, outputs = 17, 7, 5

    def arrays(self, name="gather"):
        X = np.zeros((20, 1 if name == "load_classes" else self.n), np.float32)
        return Chunk((self.n, self.outputs), self.m, "float32", by_rows=name == "load_rows"), X, np.arange(20)

    def assert_refused(self, chunk, name, X, order, start=0, first=0, stop=17):
        with pytest.raises(IndexError):
            load(chunk, name, X, order, start, first, stop)

    @pytest.mark.parametrize("name", ["gather", "load_rows", "load_classes"])
    def test_order_and_rows(self, name):
        chunk, X, order = self.arrays(name)
        load(chunk, name, X, order, 3, 0, 17)
        self.assert_refused(chunk, name, X, order, start=4)
        self.assert_refused(chunk, name, X, order, start=-1)
        for bad in (20, -1, 2**40):
            order[5] = bad
            self.assert_refused(chunk, name, X, order)
            load(chunk, name, X, order, 6, 0, 14)

    @pytest.mark.parametrize("name", ["gather", "load_rows", "load_classes"])
    def test_blocks(self, name):
        chunk, X, order = self.arrays(name)
        start = chunk.network["Y"] if name == "load_classes" else chunk.layers["A"]
        at = int(start[0])
        for bad in (-1, chunk.S.inside.size - 5, 2**40):
            start[0] = bad
            self.assert_refused(chunk, name, X, order)
        start[0] = at
        load(chunk, name, X, order, 0, 0, 17)

    def test_panels(self):
        chunk, X, order = self.arrays()
        for bad in (chunk.S.inside.size - 17 * 32, 2**40):
            chunk.layers["AT"][0] = bad
            self.assert_refused(chunk, "gather", X, order)

    @pytest.mark.parametrize("bad", [-1, 16, 10**6])
    def test_classes(self, bad):
        chunk, X, order = self.arrays("load_classes")
        X[3] = bad
        self.assert_refused(chunk, "load_classes", X, order)

    def test_weights_and_outputs(self):
        chunk, _, order = self.arrays()
        S, weights = chunk.S.inside, np.zeros(20, np.float32)
        for weights_given, at in ((weights[:16], 0), (weights, S.size - 16)):
            with pytest.raises(IndexError):
                from_python(call_load_weights)(weights_given, order, 0, 0, 17, S, at)
        outputs = np.zeros((self.outputs, 17), np.float32)
        part("keep_outputs")(chunk.layers, 0, 0, 17, S, outputs)
        with pytest.raises(IndexError):
            part("keep_outputs")(chunk.layers, 1, 0, 17, S, outputs)
        chunk.layers["A"][1] = S.size - 17
        with pytest.raises(IndexError):
            part("keep_outputs")(chunk.layers, 0, 0, 17, S, outputs)

    def test_transposition(self):
        chunk, _, _ = self.arrays()
        from_python(call_transpose_panels)(chunk.layers, 0, 0, 17, chunk.S.inside)
        for field in ("A", "AT"):
            before = int(chunk.layers[field][0])
            for bad in (chunk.S.inside.size - 5, -1) if field == "A" else (chunk.S.inside.size - 5,):
                chunk.layers[field][0] = bad
                with pytest.raises(IndexError, match="outside"):
                    from_python(call_transpose_panels)(chunk.layers, 0, 0, 17, chunk.S.inside)
            chunk.layers[field][0] = before
        S = np.zeros(2 * 16 * 16, np.float32)
        from_python(gather.transpose)(S, 0, 16, 256, 16, 16, 16)
        for source, target in ((1 + 256, 0), (0, 257), (-1, 256), (0, -1)):
            with pytest.raises(IndexError, match="outside"):
                from_python(gather.transpose)(S, source, 16, target, 16, 16, 16)
