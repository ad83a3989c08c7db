"""Where everything lies: inside the scratch vector, and nothing on anything else."""

from itertools import pairwise, product

import numpy as np
import pytest
from compiled import Chunk

from fastnet.kernels.plan import (
    FEWEST_EXAMPLES,
    HEAD,
    LANES,
    MOST_EXAMPLES,
    MOST_OPERATIONS,
    NARROW_UP_TO,
    WIDE_FROM,
    chunk_size,
    computed_columns,
    make_plan,
    padded,
    parameter_offsets,
    strategies,
)

SHAPES = [
    (1, 1),
    (7, 1),
    (7, 17, 5),
    (3, 65, 33, 1),
    (WIDE_FROM, 4),
    (WIDE_FROM, 3, 70, 2),
    (WIDE_FROM, 9),
    (9, 1, 9),
]


def places(chunk, *, backward, few_rows):
    """Yield the indices in S of each array, padded rows and columns included where kernels write them."""
    layers, last = chunk.layers, len(chunk.layers) - 1
    for l, layer in enumerate(layers):
        by_rows = layer["lanes"] == 1
        whole = {"n": padded(layer["units"]), "m": chunk.m if by_rows else padded(chunk.m)}
        yield chunk.place(l, "A", **whole)
        if layer["slopes"] != layer["A"]:
            yield chunk.place(l, "slopes", **whole)
        if backward and l > 0:
            yield chunk.place(l, "dZ", **whole)
        elif layer["dZ"] > 0:  # in a block, whatever A is in
            yield layer["dZ"] + np.arange(padded(layer["units"]) * padded(chunk.m))
        if layer["AT"] >= 0:
            yield chunk.place_in_panels(l, **whole)
        if layer["dW"] > 0:
            yield layer["dW"] + np.arange(layer["units"] * layers[0]["block"])
    if backward:
        yield chunk.place(last, "Y", n=padded(layers[last]["units"]), m=padded(chunk.m))
        yield chunk.place(last, "terms", n=padded(layers[last]["units"]), m=padded(chunk.m))
        yield chunk.network["weights"][0] + np.arange(padded(chunk.m))
        yield chunk.network["settings"][0] + np.arange(padded(layers[last]["units"]))


@pytest.mark.parametrize("units", SHAPES)
@pytest.mark.parametrize(("backward", "few_rows"), [(True, False), (False, False), (False, True)])
@pytest.mark.parametrize("threads", [1, 3])
def test_nothing_lies_on_anything_else(threads, backward, few_rows, units):
    for m, slopes in product((1, 7) if few_rows else (1, 17, 64, 65, 209, 512), (False, True)):
        settings = {"threads": threads, "stores_slopes": [slopes] * (len(units) - 1), "few_rows": few_rows}
        chunk = Chunk(units, m, "float32", backward=backward, **settings)
        times = np.zeros(chunk.S.inside.size, int)
        times[: threads * HEAD * backward] += 1
        for indices in places(chunk, backward=backward, few_rows=few_rows):
            assert indices.min() >= threads * HEAD * backward
            times[indices] += 1
        assert times.max() == 1


@pytest.mark.parametrize("units", SHAPES)
def test_nor_where_the_gradient_of_the_input_is_wanted(units):
    """Which has a place then, and what weight gradients need has none."""
    for m, slopes in product((1, 17, 64), (False, True)):
        chunk = Chunk(units, m, "float32", for_inputs=True, stores_slopes=[slopes] * (len(units) - 1))
        times = np.zeros(chunk.S.inside.size, int)
        for indices in places(chunk, backward=True, few_rows=False):
            times[indices] += 1
        assert times.max() == 1
        assert chunk.layers["dZ"][0] > 0
        assert (chunk.layers["AT"] == -1).all()
        assert chunk.layers["dW"][1] == 0
        assert times.size < HEAD + Chunk(units, m, "float32").S.inside.size


@pytest.mark.parametrize("units", SHAPES)
def test_parameters_lie_one_after_the_other(units):
    use_bias = [index % 2 == 0 for index in range(len(units) - 1)]
    offsets, size = parameter_offsets(units, use_bias)
    end = 0
    for (w, b), (n_prev, n), has_bias in zip(offsets, pairwise(units), use_bias, strict=True):
        assert w == end
        end += n * n_prev
        assert b == (end if has_bias else -1)
        end += n * has_bias
    assert size == end
    plan = make_plan(units, use_bias, examples=1, backward=True)
    assert [(layer["W"], layer["b"]) for layer in plan.layers[1:]] == offsets
    assert plan.n_parameters == size


def test_a_wide_input_before_few_units_is_kept_by_rows():
    """Once; another before few units too, by blocks; any other twice, as A and as AT."""
    for n, units in product((7, WIDE_FROM - 1, WIDE_FROM, WIDE_FROM + 3), (NARROW_UP_TO, NARROW_UP_TO + 1)):
        layers = make_plan((n, units), (True,), examples=65, backward=True).layers
        assert (layers["lanes"][0] == 1) == (n >= WIDE_FROM and units <= NARROW_UP_TO)
        assert (layers["AT"][0] < 0) == (units <= NARROW_UP_TO)
        assert layers["lanes"][1] == LANES
        assert strategies((n, units))[0].transposes == (layers["AT"][0] >= 0)


def test_the_size_of_a_chunk():
    """So many examples that a kernel returns soon, and a power of two: a part of the numerical contract."""
    for units, chunk in (((2, 4, 1), 512), ((1024, 1024, 1024, 1), 512), ((2048, 2048, 1), 256), ((4096,) * 9, 64)):
        operations = sum(6 * n * n_prev for n_prev, n in pairwise(units))
        assert chunk_size(units) == chunk
        assert chunk * operations <= MOST_OPERATIONS or chunk == FEWEST_EXAMPLES
        assert 2 * chunk * operations > MOST_OPERATIONS or chunk == MOST_EXAMPLES


def test_rounding_up():
    assert [padded(n) for n in (0, 1, 16, 17)] == [0, 16, 16, 32]
    assert [computed_columns(m) for m in (0, 1, 8, 9)] == [0, 8, 8, 16]
