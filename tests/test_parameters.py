"""`Parameters`: one vector, its views, and what is left of both in a copy."""

import copy
import pickle

import numpy as np
import pytest
from compiled import make_model

from fastnet import Dense, Dropout
from fastnet.engine.memory import LINE
from fastnet.parameters import Parameters, network_of

LAYERS = (Dense(3, "tanh"), Dropout(0.5), Dense(2, use_bias=False, l2=0.5), Dense(1, "sigmoid"))
DENSE = (LAYERS[0], LAYERS[2], LAYERS[3])
DTYPE = np.dtype(np.float32)


def parameters():
    network = network_of(LAYERS, "binary_crossentropy", 4, DTYPE, l2=0.1, l1=0.0)
    assert (network.units, network.l2, network.dropout) == ((4, 3, 2, 1), (0.1, 0.5, 0.1), (0.5, 0.0, 0.0))
    return Parameters.drawn(network, DENSE, np.random.default_rng(0))


def test_w_and_b_of_each_layer_follow_each_other_in_the_vector():
    drawn = parameters()
    assert len(drawn) == 4 * 3 + 3 + 3 * 2 + 2 * 1 + 1
    assert drawn.vector.ctypes.data % LINE == 0
    drawn.vector[:] = np.arange(len(drawn))
    pairs = drawn.by_layer()
    assert [W.shape for W, _ in pairs] == [(3, 4), (2, 3), (1, 2)]
    np.testing.assert_array_equal(np.concatenate([W.ravel() for W, _ in pairs]), [*range(12), *range(15, 23)])
    assert pairs[1][1] is None
    np.testing.assert_array_equal(pairs[0][1], [[12], [13], [14]])
    np.testing.assert_array_equal(pairs[2][1], [[23]])


def test_each_layer_draws_its_weights_in_turn_and_biases_are_zero():
    generator = np.random.default_rng(0)
    for layer, (W, b) in zip(DENSE, parameters().by_layer(), strict=True):
        np.testing.assert_array_equal(W, layer.draw_weights(W.shape, generator).astype(DTYPE))
        assert b is None or not b.any()


def test_another_vector_is_viewed_like_the_parameters():
    drawn = parameters()
    gradient = np.zeros(len(drawn))
    for W, b in drawn.by_layer(gradient):
        W[:] = 1
        if b is not None:
            b[:] = 2
    assert (np.count_nonzero(gradient == 1), np.count_nonzero(gradient == 2)) == (20, 4)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_a_vector_of_its_own(copied):
    drawn = parameters()
    twin = copied(drawn)
    np.testing.assert_array_equal(twin.vector, drawn.vector)
    assert twin.network == drawn.network
    assert not np.shares_memory(twin.vector, drawn.vector)
    assert all(np.shares_memory(W, twin.vector) for W, _ in twin.by_layer())
    assert twin.vector.ctypes.data % LINE == 0


def test_layers_that_are_bound_are_views():
    model = make_model((4, 3, 1), ("tanh", "sigmoid"))
    twin = copy.deepcopy(model._parameters)
    twin.bind(model.layers)
    twin.vector[:] = 5
    assert (model.layers[0].W == 5).all()
    assert (model.layers[1].b == 5).all()
