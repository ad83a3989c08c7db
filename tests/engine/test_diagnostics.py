"""`Model.diagnose` against what its layers' activations are, computed plainly."""

import re

import numpy as np
import pytest
import reference
from compiled import make_model, random_data, reference_parameters

from fastnet import Dense, Model, NotFittedError


@pytest.mark.parametrize("m", [1, 17, 600])
def test_shares_means_and_spreads(m):
    """Over several chunks, whose activations must all be counted."""
    names = ("relu", "tanh", "sigmoid", "linear")
    model = make_model((5, 9, 8, 7, 2), names, scale=1.0)
    model.layers[0].W[:3] = 0
    model.layers[0].b[:2] = -1
    model.layers[1].W[:1] = 0
    model.layers[1].b[:1] = 5
    X, y = random_data(m, 5, 2)
    A, caches = reference.forward(X.T, reference_parameters(model), list(names))
    report = model.diagnose(X, y)
    for layer, (found, cache) in enumerate(zip(report.layers, caches, strict=True)):
        A = cache[4]
        assert found.activation == names[layer]
        np.testing.assert_allclose([found.mean, found.spread], [A.mean(), A.std()], rtol=1e-9, atol=1e-9)
        dW = model.gradients(X, y)[layer][0]
        np.testing.assert_allclose([found.gradient_mean, found.gradient_spread], [dW.mean(), dW.std()], rtol=1e-12)
    relu, tanh, sigmoid, linear = report.layers
    assert relu.dead == np.mean((caches[0][4] == 0).all(axis=1)) >= 2 / 9
    assert tanh.saturated == np.mean(np.mean(np.abs(caches[1][4]) > 0.98, axis=1) >= 0.95) >= 1 / 8
    assert sigmoid.saturated == np.mean(np.mean(np.abs(caches[2][4] - 0.5) > 0.49, axis=1) >= 0.95)
    assert (relu.saturated, tanh.dead, linear.dead, linear.saturated) == (None,) * 4


def test_the_report_prints_and_needs_no_targets():
    model = make_model((5, 9, 3), ("relu", "softmax"))
    X, _ = random_data(33, 5)
    report = model.diagnose(X)
    assert report.layers[0].gradient_mean is None
    header, first, second = repr(report).splitlines()
    assert header == "layer  activation  dead units  saturated   A: mean    spread  dW: mean    spread"
    assert first.split()[:4] == ["1", "relu", f"{report.layers[0].dead:.0%}", "-"]
    assert second.split()[0:4] == ["2", "softmax", "-", "-"]
    assert len(first) == len(header)


def test_the_report_is_a_table_in_a_notebook():
    report = make_model((5, 9, 3), ("relu", "softmax")).diagnose(*random_data(33, 5))
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in report._repr_html_().split("</tr>")]
    assert rows[0][-4:] == ["A: mean", "A: spread", "dW: mean", "dW: spread"]
    assert [len(row) for row in rows] == [8, 8, 8, 0]
    for row, line in zip(rows[1:], repr(report).splitlines()[1:], strict=False):
        assert row == line.split()


def test_a_model_must_be_built():
    with pytest.raises(NotFittedError):
        Model([Dense(3, "softmax")]).diagnose(np.ones((2, 5)))
