"""To PyTorch's modules and from them."""

import copy
import pickle
import sys

import numpy as np
import pytest
from bounds import DTYPES
from compiled import random_data, standardizing

from fastnet import Adam, Dense, Dropout, LeakyReLU, Model, NotFittedError
from fastnet.activations import ACTIVATIONS
from fastnet.kernels import codes

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from fastnet.exchange import torch_network  # noqa: E402

HIDDEN = [*(name for name in ACTIVATIONS if name not in ("softmax", "leaky_relu")), LeakyReLU(0.01), LeakyReLU(0.3)]
OUTPUTS = [("linear", None), ("sigmoid", None), ("softmax", None), ("linear", "poisson")]
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


def model_of(hidden="relu", last="linear", loss=None, dtype="float32"):
    """Return a model with random parameters, of two hidden layers, one without bias and one with dropout."""
    layers = [Dense(6, hidden), Dropout(0.25), Dense(5, hidden, use_bias=False), Dense(3, last)]
    model = Model(layers, loss=loss, dtype=dtype)
    model.build(4)
    model.parameters[:] = np.random.default_rng(0).standard_normal(model.parameters.size) * 0.5
    return model


def examples(dtype):
    return (random_data(70, 4)[0] * np.geomspace(0.01, 5, 70)[:, np.newaxis]).astype(dtype)


def forward(module, X):
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("last", "loss"), OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_there_and_back(hidden, last, loss, dtype):
    model, X = model_of(hidden, last, loss, dtype), examples(dtype)
    module, A = model.to_torch(), model.forward(X)
    found = forward(module, X)
    assert found.dtype == dtype
    size = np.maximum(np.abs(A), 0 if loss == "poisson" else np.abs(A).max())
    np.testing.assert_array_less(np.abs(found - A), TOLERANCE[dtype] * size + np.finfo(dtype).tiny)
    back = Model.from_torch(module)
    assert repr(back) == repr(model)
    np.testing.assert_array_equal(back.forward(X), A)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_an_activation_as_the_output(hidden):
    model, X = model_of("tanh", hidden, "mean_squared_error"), examples("float32")
    A = model.forward(X)
    np.testing.assert_allclose(forward(model.to_torch(), X), A, rtol=0, atol=1e-5 * np.abs(A).max())
    np.testing.assert_array_equal(Model.from_torch(model.to_torch(), loss="mean_squared_error").forward(X), A)


def test_the_module_is_what_it_should_be():
    model = model_of("gelu", "softmax")
    before = torch.random.get_rng_state()
    module = model.to_torch()
    assert torch.equal(torch.random.get_rng_state(), before)
    kinds = [nn.Linear, nn.GELU, nn.Dropout, nn.Linear, nn.GELU, nn.Linear, nn.Softmax]
    assert type(module) is nn.Sequential
    assert [type(each) for each in module] == kinds
    assert not any(each.training for each in module.modules())
    assert module[2].p == 0.25
    assert module[3].bias is None
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    with torch.no_grad():
        module[0].weight.zero_()
    assert np.all(model.layers[0].W != 0)


def test_the_module_trains():
    module = model_of("relu", "linear").to_torch().train()
    X, y = torch.from_numpy(examples("float32")), torch.ones(70, 3)
    parameters, costs = list(module.parameters()), []
    for _ in range(100):
        cost = ((module(X) - y) ** 2).mean()
        with torch.no_grad():
            for p, dp in zip(parameters, torch.autograd.grad(cost, parameters), strict=True):
                p -= 0.01 * dp
        costs.append(cost.item())
    assert costs[-1] < costs[0] / 2


def test_a_module_with_poissons_mean_can_be_copied_and_pickled():
    module = model_of("relu", "linear", "poisson").to_torch()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        np.testing.assert_array_equal(forward(other, examples("float32")), forward(module, examples("float32")))


def test_nested_modules_and_those_that_do_nothing():
    shared = nn.ReLU()
    inner = nn.Sequential(nn.Linear(12, 5), shared, nn.Dropout(0.1))
    module = nn.Sequential(nn.Flatten(), nn.Identity(), nn.Sequential(inner, nn.Linear(5, 4), shared), nn.Linear(4, 2))
    model = Model.from_torch(module.eval())
    assert repr(model.layers) == "(Dense(5, 'relu'), Dropout(0.1), Dense(4, 'relu'), Dense(2, 'linear'))"
    X = np.random.default_rng(0).standard_normal((9, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(model.forward(X.reshape(9, 12)), forward(module, X), rtol=0, atol=1e-6)


def test_the_model_has_copies_and_its_own_settings():
    module = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
    model = Model.from_torch(module, optimizer=Adam(0.1), l2=0.5, dtype="float64", loss="mean_squared_error", seed=3)
    assert (model.optimizer, model.l2, model.dtype.name, model.loss) == (
        Adam(0.1),
        0.5,
        "float64",
        "mean_squared_error",
    )
    before = module[0].weight.detach().numpy().copy()
    np.testing.assert_array_equal(model.layers[0].W, before)
    model.fit(*random_data(20, 4, 3), epochs=2)
    np.testing.assert_array_equal(module[0].weight.detach().numpy(), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_dtype_that_fastnet_has_not_must_be_replaced(dtype):
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)).to(dtype)
    with pytest.raises(ValueError, match=r"module has parameters of b?float16. Pass dtype='float32' or 'float64'"):
        Model.from_torch(module)
    model = Model.from_torch(module, dtype="float32")
    np.testing.assert_array_equal(model.layers[0].W, module[0].weight.detach().float().numpy())
    module[0].double()
    with pytest.raises(ValueError, match=r"module has parameters of b?float16 and float64"):
        Model.from_torch(module)


LINEAR = nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([LINEAR, nn.GELU(approximate="tanh")], r"module\[1\] is GELU\(approximate='tanh'\).*approximate='none' alone"),
        ([nn.Sequential(LINEAR, nn.ELU(0.5)), LINEAR], r"module\[0\]\[1\] is ELU\(alpha=0.5\).*with alpha=1 alone"),
        ([LINEAR, nn.Softplus(2.0)], r"module\[1\] is Softplus\(beta=2.0.*beta=1"),
        ([LINEAR, nn.Softplus(threshold=5)], r"module\[1\] is Softplus.*threshold>=20"),
        ([LINEAR, nn.LeakyReLU(-0.1)], r"module\[1\] is LeakyReLU\(negative_slope=-0.1\).*negative_slope>=0"),
        ([LINEAR, nn.Softmax(dim=0)], r"module\[1\] is Softmax\(dim=0\).*dim=1"),
        ([LINEAR, nn.Softmax(dim=1), LINEAR], r"module\[1\] is Softmax\(dim=1\).*after the last Linear alone"),
        ([LINEAR, torch_network.Exp(), LINEAR], r"module\[1\] is Exp\(\).*after the last Linear alone"),
        ([nn.Flatten(0), LINEAR], r"module\[0\] is Flatten\(start_dim=0.*start_dim=1 and end_dim=-1 alone"),
        ([nn.Conv2d(1, 2, 3), LINEAR], r"module\[0\] is Conv2d.*which fastnet does not have. It has.*Linear, Dropout"),
        ([LINEAR, nn.BatchNorm1d(4)], r"module\[1\] is BatchNorm1d"),
        ([LINEAR, nn.Hardtanh()], r"module\[1\] is Hardtanh"),
        ([nn.ReLU(), LINEAR], r"module\[0\] is ReLU\(\), but a layer of fastnet's is a Linear, then"),
        ([LINEAR, nn.ReLU(), nn.Tanh()], r"module\[2\] is Tanh\(\), but a layer"),
        ([LINEAR, nn.Dropout(0.1), nn.Tanh()], r"module\[2\] is Tanh\(\), but a layer"),
        ([LINEAR, nn.Dropout(0.1), nn.Dropout(0.1), LINEAR], r"module\[2\] is Dropout"),
        ([nn.Dropout(0.1), LINEAR], r"module\[0\] is Dropout"),
        ([LINEAR, nn.Dropout(0.1)], r"module ends with a Dropout, after module\[0\]"),
        (
            [LINEAR, nn.Dropout(1.0), LINEAR],
            r"p of module\[1\] must be a number of at least 0 and less than 1, not 1.0",
        ),
        ([LINEAR, nn.ReLU(), nn.Linear(3, 1)], r"module\[2\].weight must have shape \(1, 4\), as W2 of this model"),
        ([], "module has no Linear"),
    ],
)
def test_what_fastnet_has_not_is_named_with_its_position(modules, message):
    with pytest.raises(ValueError, match=message):
        Model.from_torch(nn.Sequential(*modules))


def test_other_errors():
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Sequential, not a dict.*load_torch"):
        Model.from_torch({})
    with pytest.raises(ValueError, match=r"module\[1\] is Exp\(\).*loss must be 'poisson', not 'huber'"):
        Model.from_torch(nn.Sequential(LINEAR, torch_network.Exp()), loss="huber")
    with pytest.raises(ValueError, match="loss=None cannot choose"):
        Model.from_torch(nn.Sequential(LINEAR, nn.ReLU()))
    with pytest.raises(NotFittedError, match="no parameters yet"):
        Model([Dense(1)]).to_torch()
    broken = copy.deepcopy(LINEAR)
    with torch.no_grad():
        broken.bias[2] = np.nan
    with pytest.raises(ValueError, match=r"module\[0\].bias has 1 value not finite in float32.*\[2\] = nan"):
        Model.from_torch(nn.Sequential(broken))


@pytest.mark.parametrize("method", ["to_torch", "from_torch"])
def test_without_torch_it_is_named(method, monkeypatch):
    model = model_of()
    monkeypatch.delitem(sys.modules, "fastnet.exchange.torch_network")
    monkeypatch.delattr("fastnet.exchange.torch_network")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"need PyTorch.*pip install torch"):
        model.to_torch() if method == "to_torch" else Model.from_torch(LINEAR)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_state_dict_of_tensors(dtype):
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 3, bias=False))).to(dtype)
    model = Model([Dense(6, "relu"), Dense(3, use_bias=False)])
    assert model.load_torch(module.state_dict()) is model
    np.testing.assert_array_equal(model.layers[0].b[:, 0], module[0].bias.detach().float().numpy())
    np.testing.assert_array_equal(model.layers[1].W, module[2][0].weight.detach().float().numpy())


def test_there_is_a_module_for_every_activation():
    every = {*codes.SLOPE_FROM_VALUE, *codes.SLOPE_FROM_Z, codes.SOFTMAX}
    assert set(torch_network.TO_TORCH) == every - {codes.LINEAR}
    made = {type(make(0.1)) for make in torch_network.TO_TORCH.values()}
    assert made == set(torch_network.FROM_TORCH)


@pytest.mark.parametrize("standardize_y", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_standardized(dtype, standardize_y):
    model, X = standardizing(dtype, standardize_y=standardize_y)
    module = model.to_torch()
    np.testing.assert_allclose(forward(module, X), model.forward(X), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    back = Model.from_torch(module)
    assert repr(back) == repr(model)
    np.testing.assert_array_equal(back.forward(X), model.forward(X))
    module[0].spread[0] = 0
    with pytest.raises(ValueError, match="spread greater than 0"):
        Model.from_torch(module)


def test_logits_with_a_cross_entropy_are_named():
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    with pytest.raises(ValueError, match=r"module ends with logits, those of module\[2\].*Append nn\.Sigmoid"):
        Model.from_torch(module, loss="categorical_crossentropy")
