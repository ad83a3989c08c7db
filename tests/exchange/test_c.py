"""The C file: it compiles without a warning, and gives the bits of `forward`.

`EXCHANGE_ALL=1 python -m pytest tests/exchange` tries a thousand networks instead of sixty.
"""

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from bounds import DTYPES
from compiled import standardizing
from conftest import JIT_DISABLED

from fastnet import Dense, Dropout, LeakyReLU, Model, NotFittedError
from fastnet.activations import ACTIVATIONS
from fastnet.exchange import c_source
from fastnet.kernels import codes
from fastnet.kernels.plan import TERMS_AT_ONCE, WIDE_FROM

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

COMPILER = shutil.which("cc")
NETWORKS, AT_ONCE = (1000 if "EXCHANGE_ALL" in os.environ else 60), 20
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
HIDDEN = [*(set(ACTIVATIONS) - {"softmax"}), LeakyReLU(0.3)]
HIDDEN.sort(key=str)

compiles = pytest.mark.skipif(COMPILER is None or JIT_DISABLED, reason="needs a C compiler, and compiled kernels")


def library(files, folder, *flags):
    """Return what the compiler makes of C files; ctypes calls it."""
    made = folder / "made.so"
    command = [COMPILER, "-O2", *(flags or STRICT), "-shared", "-fPIC", *map(str, files), "-o", str(made), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(made))


def predicted(function, model, X):
    """Return what a C function gives for X; it must not write past its end."""
    out = np.full(len(X) * model.output_layer.units + 1, 12345, model.dtype)
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], None
    function(X.ctypes.data, out.ctypes.data, len(X))
    assert out[-1] == 12345
    return out[:-1].reshape(len(X), model.output_layer.units)


def assert_same_bits(found, expected):
    """Assert that two arrays are the same to the bit, signs of zeros too."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.view(f"u{found.itemsize}"), expected.view(f"u{found.itemsize}"))


def network(rng, n_x, widths, activations, last, loss=None, dtype="float32"):
    """Return a model with random parameters, of which some layers have no bias."""
    layers = []
    for units, activation in zip(widths[:-1], activations, strict=True):
        layers += [Dense(units, activation, use_bias=bool(rng.random() < 0.8)), *[Dropout(0.2)] * (rng.random() < 0.2)]
    layers.append(Dense(widths[-1], last, use_bias=bool(rng.random() < 0.8)))
    model = Model(layers, loss=loss, dtype=dtype)
    model.build(n_x)
    for layer in model.layers:
        if isinstance(layer, Dense):
            layer.W = rng.standard_normal(layer.W.shape) * rng.uniform(0.5, 2) / np.sqrt(layer.W.shape[1])
            if layer.b is not None:
                layer.b = rng.standard_normal(layer.b.shape)
    return model


def random_network(seed):
    """Return a model, of any kind that there is, and examples from tiny to large."""
    rng = np.random.default_rng(seed)
    widths = rng.choice([1, 2, 3, 4, 5, 8, 17, 33], rng.integers(1, 4)).tolist()
    n_x = int(rng.choice([1, 2, 7, 30, 64, 100]))
    if rng.random() < 0.15:
        n_x = int(rng.choice([TERMS_AT_ONCE + 3, WIDE_FROM - 1, WIDE_FROM, WIDE_FROM + 35]))
    outputs = [("sigmoid", None), ("softmax", None), ("linear", None), ("linear", "poisson"), ("linear", "huber")]
    outputs += [(HIDDEN[rng.integers(len(HIDDEN))], "mean_squared_error")] * 2
    last, loss = outputs[rng.integers(len(outputs))]
    widths[-1] += last == "softmax"
    activations = [HIDDEN[i] for i in rng.integers(len(HIDDEN), size=len(widths) - 1)]
    model = network(rng, n_x, widths, activations, last, loss, rng.choice(DTYPES))
    largest = 1 if loss == "poisson" else 30  # whose exponential must not overflow
    scales = rng.permutation(np.geomspace(1e-2, largest, 70 if n_x < 1000 else 9))
    return model, (rng.standard_normal((len(scales), n_x)) * scales[:, np.newaxis]).astype(model.dtype)


@compiles
@pytest.mark.parametrize("first", range(0, NETWORKS, AT_ONCE))
def test_random_networks_have_the_bits_of_forward(first, tmp_path):
    """Twenty networks in one program, each by its prefix; among them inputs so wide that sums have another order."""
    networks = [random_network(seed) for seed in range(first, first + AT_ONCE)]
    for i, (model, _) in enumerate(networks):
        model.to_c(tmp_path / f"{i}.c", prefix=f"net{i}_")
    made = library(sorted(tmp_path.glob("*.c")), tmp_path)
    for i, (model, X) in enumerate(networks):
        expected = model.forward(X)
        assert not np.isnan(expected).any()
        assert_same_bits(predicted(made[f"net{i}_predict"], model, X), expected)


def of_everything(dtype):
    """Return a model of every activation one after the other, and examples."""
    rng = np.random.default_rng(0)
    model = network(rng, 9, [12] * (len(HIDDEN) + 1), HIDDEN, "softmax", dtype=dtype)
    return model, rng.standard_normal((100, 9)).astype(dtype)


@compiles
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "flags", [[*STRICT, "-O0"], [*STRICT, "-O3", "-march=native"], ["-O3", "-march=native"], ["-std=c11", "-O1"]]
)
def test_the_bits_do_not_hang_on_flags(flags, dtype, tmp_path):
    """Nor where the compiler would by default make fmas of its own, as GCC does without -std."""
    model, X = of_everything(dtype)
    model.to_c(tmp_path / "all.c")
    assert_same_bits(predicted(library([tmp_path / "all.c"], tmp_path, *flags).predict, model, X), model.forward(X))


@compiles
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_x", [TERMS_AT_ONCE, TERMS_AT_ONCE + 1, WIDE_FROM - 1, WIDE_FROM, WIDE_FROM + 35])
def test_many_inputs(n_x, dtype, tmp_path):
    """Before few units, up to 4, sums are in lanes from WIDE_FROM on; before more, in order still."""
    rng, files = np.random.default_rng(n_x), []
    models = [network(rng, n_x, [units, 2], ["tanh"], "linear", dtype=dtype) for units in (4, 5)]
    for i, model in enumerate(models):
        files.append(tmp_path / f"{i}.c")
        model.to_c(files[i], prefix=f"net{i}_")
        assert ("static void wide(" in files[i].read_text()) == (n_x >= WIDE_FROM and i == 0)
    made, X = library(files, tmp_path), rng.standard_normal((70, n_x)).astype(dtype)
    for i, model in enumerate(models):
        assert_same_bits(predicted(made[f"net{i}_predict"], model, X), model.forward(X))


@compiles
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [*HIDDEN, "softmax", "poisson"], ids=str)
def test_every_activation_over_the_whole_range(activation, dtype, tmp_path):
    """One layer of W = 1, so that Z is X: from where e^z underflows to where it overflows, and both zeros."""
    last, loss = ("linear", "poisson") if activation == "poisson" else (activation, None)
    units = 2 if last == "softmax" else 1
    loss = loss or ("categorical_crossentropy" if last == "softmax" else "mean_squared_error")
    model = Model([Dense(units, last, use_bias=False)], loss=loss, dtype=dtype)
    model.build(1)
    model.parameters[:] = [1, -0.5][:units]
    largest = np.log(np.finfo(dtype).max) * (0.999 if loss == "poisson" else 1.3)  # whose overflow is an error
    Z = np.concatenate([np.linspace(-largest, largest, 20_001), np.geomspace(1e-30, 1, 200), [0.0]])
    X = np.concatenate([Z, -Z])[:, np.newaxis].astype(dtype)
    model.to_c(tmp_path / "one.c")
    found, expected = predicted(library([tmp_path / "one.c"], tmp_path).predict, model, X), model.forward(X)
    least = 4 * np.finfo(dtype).tiny  # nothing is said of subnormal numbers, which softplus forms below
    large = np.abs(expected) >= least
    assert large.mean() > 0.4
    assert_same_bits(found[large], expected[large])
    assert (np.abs(found[~large]) < least).all()


PROGRAM = """
#include <stddef.h>
#include <stdio.h>
{declaration}
int main(void)
{{
    {real} X[3 * {n_x}], out[3 * {n}];
    for (int i = 0; i < 3 * {n_x}; i++) X[i] = ({real})i / 8;
    predict(X, out, 3);
    for (int i = 0; i < 3 * {n}; i++) printf("%a\\n", (double)out[i]);
    return 0;
}}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_path_that_is_no_text(tmp_path):
    model = Model([Dense(1)], seed=0)
    model.build(2)
    path = os.path.join(os.fsencode(tmp_path), b"\xff.c")
    model.to_c(path)
    with open(path, "rb") as file:
        assert b"-c '\xff.c'\n" in file.read()


@compiles
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_the_head_says_is_how_it_is_compiled_and_called(dtype, tmp_path):
    model = network(np.random.default_rng(1), 5, [4, 2], ["tanh"], "sigmoid", dtype=dtype)
    model.to_c(tmp_path / "it.c")
    head = (tmp_path / "it.c").read_text().split("*/")[0]
    (command,), (declaration,) = re.findall(r"^ +(cc .*)$", head, re.M), re.findall(r"^ +(void .*;)$", head, re.M)
    real = {"float32": "float", "float64": "double"}[dtype]
    program = PROGRAM.format(declaration=declaration, real=real, n_x=5, n=2)
    (tmp_path / "main.c").write_text(program)
    for line in (shlex.split(command), ["cc", "main.c", "it.o", "-lm", "-o", "main"]):
        subprocess.run(line, check=True, cwd=tmp_path)
    printed = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout
    X = np.arange(15, dtype=dtype).reshape(3, 5) / 8
    np.testing.assert_array_equal([float.fromhex(line) for line in printed.split()], model.forward(X).ravel())
    assert head.startswith("/* A network in " + dtype + ": 5 - 4 tanh - 2 sigmoid.")


@compiles
def test_fast_math_is_refused(tmp_path):
    of_everything("float32")[0].to_c(tmp_path / "all.c")
    command = [COMPILER, "-ffast-math", "-c", "all.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "-ffast-math changes the order of sums" in done.stderr


@compiles
def test_no_examples_write_nothing(tmp_path):
    model, X = of_everything("float32")
    model.to_c(tmp_path / "all.c")
    assert predicted(library([tmp_path / "all.c"], tmp_path).predict, model, X[:0]).size == 0


def test_the_prefix_stands_before_all_that_others_see(tmp_path):
    of_everything("float64")[0].to_c(tmp_path / "all.c", prefix="tumour_")
    text = (tmp_path / "all.c").read_text()
    assert "#define TUMOUR_N_FEATURES 9\n#define TUMOUR_N_OUTPUTS 12\n" in text
    assert "\nvoid tumour_predict(const double *X, double *out, size_t m)\n{" in text
    others = re.findall(r"^(?!static|typedef|void tumour_)\w[^;]*\(", text, re.M)
    assert others == []


@pytest.mark.parametrize("prefix", ["2nd_", "a b", "ä", 3, "x;"])
def test_a_prefix_that_no_name_can_begin_with_is_refused(prefix, tmp_path):
    with pytest.raises(
        ValueError, match=f"prefix must be what a name in C can begin with.*not {re.escape(repr(prefix))}"
    ):
        of_everything("float32")[0].to_c(tmp_path / "x.c", prefix=prefix)
    assert not list(tmp_path.iterdir())


def test_a_model_without_parameters_is_refused(tmp_path):
    with pytest.raises(NotFittedError, match="no parameters yet"):
        Model([Dense(1, "sigmoid")]).to_c(tmp_path / "x.c")
    assert not list(tmp_path.iterdir())


def test_parameters_that_are_not_finite_are_refused(tmp_path):
    model, _ = of_everything("float32")
    model.parameters[7] = np.inf
    with pytest.raises(ValueError, match=r"parameters has 1 non-finite value; the first is parameters\[7\] = inf"):
        model.to_c(tmp_path / "x.c")
    assert not list(tmp_path.iterdir())


def test_there_is_a_function_for_every_activation():
    assert set(c_source.ACTIVATIONS) == {*codes.SLOPE_FROM_VALUE, *codes.SLOPE_FROM_Z, codes.SOFTMAX}


@compiles
@pytest.mark.parametrize("standardize_y", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_standardized_has_the_bits_of_forward(dtype, standardize_y, tmp_path):
    model, X = standardizing(dtype, standardize_y=standardize_y)
    model.to_c(tmp_path / "net.c")
    function = library([tmp_path / "net.c"], tmp_path, "-O3").predict
    assert_same_bits(predicted(function, model, X), model.forward(X))
