"""Sparse rows train and predict as the same rows do when dense, to the bit."""

import numpy as np
import pytest
from compiled import make_model, random_data

from fastnet import SGD, Dense, Dropout, Model
from fastnet.engine import sparse as sparse_module
from fastnet.engine.course import Course
from fastnet.engine.examples import Data
from fastnet.engine.run import Run
from fastnet.engine.sparse import SparseRows
from fastnet.kernels import codes

scipy_sparse = pytest.importorskip("scipy.sparse")


def sparse_data(m, n_x, dtype):
    """Return a sparse matrix with some empty rows, the same dense, and targets."""
    X, y = random_data(m, n_x)
    X[np.random.default_rng(1).random(X.shape) < 0.7] = 0
    X[::5] = 0
    X = X.astype(dtype)
    X.flags.writeable = y.flags.writeable = False
    return scipy_sparse.csr_matrix(X), X, y.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "batch_size"), [(1, 1), (7, 3), (65, 17), (300, None), (1300, 600), (1300, None)])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_epoch_gives_the_bits_of_dense_rows(m, batch_size, threads, dtype, monkeypatch):
    """In an order of one's own, with weights; the rows that are dense at a time are few."""
    monkeypatch.setattr(sparse_module, "DENSE_BYTES", 600 * 9 * np.dtype(dtype).itemsize)
    matrix, X, y = sparse_data(m, 9, dtype)
    rng = np.random.default_rng(2)
    weights = rng.random(m).astype(dtype) + np.dtype(dtype).type(0.1)
    orders = [rng.permutation(m) for _ in range(3)]
    found = []
    for rows in (X, SparseRows(matrix, np.dtype(dtype))):
        model = make_model((9, 7, 1), ("tanh", "sigmoid"), dtype=np.dtype(dtype).name, l2=0.1)
        with Run(
            model._built(), model.parameters, Data(rows, y, weights), mode=SGD(0.1, momentum=0.9),
            course=Course(batch_size=batch_size), with_outputs=True, threads=threads,
        ) as run:  # fmt: skip
            costs = []
            for order in orders:
                run.examples.order[:] = order
                run.progress["loaded"] = 0  # else a single chunk keeps its first order
                costs.append(run.cost())
            outputs = run.examples.outputs.copy()
        found.append((model.parameters.copy(), costs, outputs))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_a_cost_looks_at_few_dense_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(sparse_module, "DENSE_BYTES", 8 * 9 * 100)
    matrix, X, y = sparse_data(3000, 9, np.float64)
    model = make_model((9, 7, 1), ("tanh", "sigmoid"))
    data = Data(SparseRows(matrix, X.dtype), y, None)
    with Run(model._built(), model.parameters, data, mode=codes.GRADIENT, threads=1) as run:
        assert len(run.examples.X) == 512  # a chunk: the least that the kernel takes
        assert run.cost() == model.cost(X, y)
        np.testing.assert_array_equal(run.gradient[: 9 * 7].reshape(7, 9), model.gradients(X, y)[0][0])


def test_blocks_are_all_rows_in_order(monkeypatch):
    monkeypatch.setattr(sparse_module, "DENSE_BYTES", 8 * 9 * 4)
    matrix, X, _ = sparse_data(17, 9, np.float64)
    blocks = list(SparseRows(matrix, X.dtype).blocks())
    assert [block.stop - block.start for block, _ in blocks] == [4, 4, 4, 4, 1]
    np.testing.assert_array_equal(np.vstack([dense for _, dense in blocks]), X)


def test_dropout_does_not_ask_whether_rows_are_sparse():
    matrix, X, y = sparse_data(65, 9, np.float64)
    found = []
    for rows in (X, SparseRows(matrix, X.dtype)):
        model = Model([Dense(17, "relu"), Dropout(0.5), Dense(1, "sigmoid")], dtype="float64", seed=1)
        model.build(9)
        course = Course(batch_size=16, key=3)
        with Run(model._built(), model.parameters, Data(rows, y, None), mode=SGD(0.1), course=course) as run:
            run.cost()
        found.append(model.parameters.copy())
    np.testing.assert_array_equal(*found)
