"""The same training, and the same prediction, in every library a user might pick instead; each in its best form.

All start from the parameters of a `Problem`, take its examples in their order and make the same updates. A library
is imported when its class is made, and only if it is installed.
"""

import io
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import reference

from benchmarks.workloads import Problem
from fastnet import Adam

Parameters = dict[str, np.ndarray]


class Contender:
    """Trains one problem. `label` is what the table calls it, `needs` the modules it imports."""

    label: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, problem: Problem, threads: int) -> None:
        raise NotImplementedError

    def train(self, epochs: int) -> None:
        """Go on training for that many epochs."""
        raise NotImplementedError

    def parameters(self) -> Parameters:
        """Return the parameters as NumPy arrays, under the names of the notes."""
        raise NotImplementedError

    @classmethod
    def installed(cls) -> bool:
        """Whether all it needs can be imported."""
        return all(find_spec(module) for module in cls.needs)


class Fastnet(Contender):
    label = "fastnet"

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem

    def train(self, epochs: int) -> None:
        self.problem.train(epochs, shuffle=False)

    def parameters(self) -> Parameters:
        layers = enumerate(self.problem.model.layers, start=1)
        return {f"{name}{index}": getattr(layer, name).copy() for index, layer in layers for name in "Wb"}


class NumpyReference(Contender):
    label = "NumPy"

    def __init__(self, problem: Problem, threads: int) -> None:
        self.workload = problem.workload
        self.p = {key: value.copy() for key, value in problem.parameters.items()}
        self.X, self.Y = problem.X.T, targets_in_columns(problem)
        optimizer = problem.workload.optimizer
        settings = {name: value for name, value in vars(optimizer).items() if name != "clip_norm"}
        self.optimizer = (reference.Adam if isinstance(optimizer, Adam) else reference.SGD)(**settings)

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            reference.train_epoch(
                self.X,
                self.Y,
                self.p,
                list(self.workload.activations),
                self.workload.loss,
                self.optimizer,
                batch_size=self.workload.batch_size or self.workload.examples,
            )

    def parameters(self) -> Parameters:
        return self.p


class ScikitLearn(Contender):
    label = "scikit-learn"
    needs = ("sklearn",)

    def __init__(self, problem: Problem, threads: int) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        w = problem.workload
        regression = w.loss == "mean_squared_error"
        adam = isinstance(w.optimizer, Adam)
        self.X, self.y = problem.X, problem.y if regression else problem.y.ravel()
        self.model = (MLPRegressor if regression else MLPClassifier)(
            hidden_layer_sizes=w.units[1:-1],
            activation=w.activations[0] if len(w.activations) > 1 else "identity",
            solver="adam" if adam else "sgd",
            learning_rate_init=w.optimizer.learning_rate,
            alpha=0.0,
            batch_size=w.batch_size or w.examples,
            shuffle=False,
            momentum=0.0,
            nesterovs_momentum=False,
            random_state=0,
        )
        self.classes = None if regression else np.unique(self.y)
        # Its parameters exist after a first epoch; then they are set back, and so is Adam's state.
        self.train(1)
        for index in range(len(self.model.coefs_)):
            self.model.coefs_[index][:] = problem.parameters[f"W{index + 1}"].T
            self.model.intercepts_[index][:] = problem.parameters[f"b{index + 1}"].ravel()
        if adam:
            optimizer = self.model._optimizer
            optimizer.t = 0
            for moment in (*optimizer.ms, *optimizer.vs):
                moment[:] = 0

    def train(self, epochs: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(epochs):
                if self.classes is None:
                    self.model.partial_fit(self.X, self.y)
                else:
                    self.model.partial_fit(self.X, self.y, classes=self.classes)

    def parameters(self) -> Parameters:
        return by_layer([W.T for W in self.model.coefs_], self.model.intercepts_)


class PyTorch(Contender):
    label = "PyTorch"
    needs = ("torch",)
    compiles: ClassVar[bool] = False

    def __init__(self, problem: Problem, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        if self.compiles:
            torch._dynamo.reset()  # it compiles one function only so many times in a process
        w = problem.workload
        layers: list[torch.nn.Module] = []
        for index, name in enumerate(w.activations, start=1):
            layer = torch.nn.Linear(w.units[index - 1], w.units[index])
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(problem.parameters[f"W{index}"]))
                layer.bias.copy_(torch.from_numpy(problem.parameters[f"b{index}"].ravel()))
            layers.append(layer)
            if index < len(w.activations):
                layers.append({"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[name]())
        self.network = torch.nn.Sequential(*layers)
        X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        functional = torch.nn.functional
        loss_of = {
            "binary_crossentropy": functional.binary_cross_entropy_with_logits,
            "categorical_crossentropy": functional.cross_entropy,
            "mean_squared_error": lambda A, Y: functional.mse_loss(A, Y, reduction="sum") / (2 * len(Y)),
        }[w.loss]
        if isinstance(w.optimizer, Adam):
            self.optimizer: Any = torch.optim.Adam(self.network.parameters(), lr=w.optimizer.learning_rate, fused=True)
        else:
            self.optimizer = torch.optim.SGD(self.network.parameters(), lr=w.optimizer.learning_rate, fused=True)
        size = w.batch_size or w.examples
        self.batches = [(X[i : i + size], y[i : i + size]) for i in range(0, w.examples, size)]

        def loss(X: Any, y: Any) -> Any:
            return loss_of(self.network(X), y)

        self.loss = torch.compile(loss, dynamic=False) if self.compiles else loss

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            for X, y in self.batches:
                self.optimizer.zero_grad(set_to_none=True)
                self.loss(X, y).backward()
                self.optimizer.step()

    def parameters(self) -> Parameters:
        arrays = [p.detach().numpy().copy() for p in self.network.parameters()]
        return by_layer(arrays[::2], arrays[1::2])


class PyTorchCompiled(PyTorch):
    """Forward and backward pass compiled. The whole step as one function took 1.15 times as long on `cancer`, with
    compiled autograd 4 times.
    """

    label = "torch.compile"
    compiles = True


class Jax(Contender):
    label = "JAX"
    needs = ("jax",)

    def __init__(self, problem: Problem, threads: int) -> None:
        import jax
        from jax import numpy as jnp

        w = problem.workload
        depth = len(w.activations)
        self.p = [
            (jnp.asarray(problem.parameters[f"W{i}"].T), jnp.asarray(problem.parameters[f"b{i}"].ravel()))
            for i in range(1, depth + 1)
        ]
        zeros = jax.tree.map(jnp.zeros_like, self.p)
        self.state = (zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()))
        X, y = jnp.asarray(problem.X), jnp.asarray(problem.y)
        activations = {"tanh": jnp.tanh, "relu": jax.nn.relu}

        def loss(p: Any, X: Any, y: Any) -> Any:
            A = X
            for (W, b), name in zip(p[:-1], w.activations, strict=False):
                A = activations[name](A @ W + b)
            Z = A @ p[-1][0] + p[-1][1]
            if w.loss == "binary_crossentropy":
                terms = jnp.maximum(Z, 0) - Z * y + jnp.log1p(jnp.exp(-jnp.abs(Z)))
            elif w.loss == "categorical_crossentropy":
                terms = -jnp.take_along_axis(jax.nn.log_softmax(Z), y[:, None], axis=1)
            else:
                terms = (Z - y) ** 2 / 2
            return terms.sum() / len(y)

        rate = w.optimizer.learning_rate

        def update(carry: Any, batch: Any) -> Any:
            p, (m, v, t) = carry
            cost, g = jax.value_and_grad(loss)(p, *batch)
            if not isinstance(w.optimizer, Adam):
                return (jax.tree.map(lambda p, g: p - rate * g, p, g), (m, v, t)), cost
            beta1, beta2, epsilon = w.optimizer.settings[1:4]
            t = t + 1
            m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
            v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, g)
            c1, c2 = 1 - beta1**t, jnp.sqrt(1 - beta2**t)
            p = jax.tree.map(lambda p, m, v: p - rate / c1 * m / (jnp.sqrt(v) / c2 + epsilon), p, m, v)
            return (p, (m, v, t)), cost

        size = w.batch_size or w.examples
        whole = w.examples // size * size
        in_batches = [array[:whole].reshape(whole // size, size, *array.shape[1:]) for array in (X, y)]

        @jax.jit
        def epoch(carry: Any) -> Any:
            carry, costs = jax.lax.scan(update, carry, tuple(in_batches))
            return update(carry, (X[whole:], y[whole:])) if whole < w.examples else (carry, costs)

        self.epoch = epoch
        self.wait = jax.block_until_ready

    def train(self, epochs: int) -> None:
        # An epoch is a call, as in every loop that looks at its cost. Calls are queued; the last is waited for.
        carry = (self.p, self.state)
        for _ in range(epochs):
            carry, _ = self.epoch(carry)
        self.p, self.state = self.wait(carry)

    def parameters(self) -> Parameters:
        return by_layer([np.asarray(W).T for W, _ in self.p], [np.asarray(b) for _, b in self.p])


TRAINERS = (Fastnet, NumpyReference, ScikitLearn, PyTorch, PyTorchCompiled, Jax)


def targets_in_columns(problem: Problem) -> np.ndarray:
    """Return the targets (n_L, m), classes as a 1 among zeros."""
    if problem.workload.loss == "categorical_crossentropy":
        return np.eye(problem.workload.units[-1], dtype=problem.X.dtype)[problem.y].T
    return problem.y.T


def by_layer(weights: Any, biases: Any) -> Parameters:
    """Return lists of W (n_l, n_{l-1}) and of b as a dictionary with the notes' names."""
    parameters = {}
    for index, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        parameters[f"W{index}"], parameters[f"b{index}"] = np.asarray(W), np.asarray(b).reshape(-1, 1)
    return parameters


def final_cost(problem: Problem, parameters: Parameters) -> float:
    """Return J over all examples, in float64, by the reference."""
    p = {key: value.astype(np.float64) for key, value in parameters.items()}
    w = problem.workload
    _, caches = reference.forward(problem.X.T.astype(np.float64), p, list(w.activations))
    return reference.compute_cost(caches, targets_in_columns(problem).astype(np.float64), p, w.loss)


# --------------------------------------------------------------------------------------------------------- prediction


def predictors(problem: Problem, X: np.ndarray, threads: int, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return by label functions without arguments that compute A_L of all rows of X, for every library installed."""
    makers = {
        "fastnet": (fastnet_predictor, ()),
        "NumPy": (numpy_predictor, ()),
        "scikit-learn": (sklearn_predictor, ("sklearn",)),
        "PyTorch": (torch_predictor, ("torch",)),
        "AOTInductor": (aot_inductor_predictor, ("torch",)),
        "ONNX Runtime": (onnx_runtime_predictor, ("onnx", "onnxruntime")),
        "OpenVINO": (openvino_predictor, ("onnx", "openvino")),
    }
    if problem.workload.units[-1] > 1:
        del makers["scikit-learn"]  # several outputs are classes to it
    wanted = {label: maker for label, maker in makers.items() if label not in without}
    return {label: make(problem, X, threads) for label, (make, needs) in wanted.items() if all(map(find_spec, needs))}


def fastnet_predictor(problem: Problem, X: np.ndarray, threads: int) -> Any:
    """Return a function that predicts with fastnet, into memory that is there."""
    out = np.empty((len(X), problem.workload.units[-1]), X.dtype)
    return lambda: problem.model.forward(X, out=out)


def numpy_predictor(problem: Problem, X: np.ndarray, threads: int) -> Any:
    """Return a function that predicts with the tests' reference."""
    return lambda: reference.forward(X.T, problem.parameters, list(problem.workload.activations))[0].T


def torch_predictor(problem: Problem, X: np.ndarray, threads: int) -> Any:
    """Return a function that predicts with PyTorch as it comes."""
    import torch

    network, X_tensor = PyTorch(problem, threads).network, torch.from_numpy(X)

    def predict() -> Any:
        with torch.inference_mode():
            return torch.sigmoid(network(X_tensor)).numpy()

    return predict


def aot_inductor_predictor(problem: Problem, X: np.ndarray, threads: int) -> Any:
    """Return a function that predicts with what PyTorch compiles ahead of time, for rows of that number."""
    import torch

    network, X_tensor = PyTorch(problem, threads).network, torch.from_numpy(X)
    exported = torch.export.export(torch.nn.Sequential(network, torch.nn.Sigmoid()).eval(), (X_tensor,))
    settings = {"freezing": True, "max_autotune": True}
    compiled = torch._inductor.aoti_load_package(
        torch._inductor.aoti_compile_and_package(exported, inductor_configs=settings)
    )

    def predict() -> Any:
        with torch.inference_mode():
            return compiled(X_tensor).numpy()

    predict()
    return predict


def onnx_runtime_predictor(problem: Problem, X: np.ndarray, threads: int) -> Any:
    """Return a function that predicts with ONNX Runtime, from and into memory that it is bound to."""
    import onnxruntime

    out = np.empty((len(X), problem.workload.units[-1]), X.dtype)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model(problem), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for bind, name, array in (
        (binding.bind_input, session.get_inputs()[0].name, X),
        (binding.bind_output, session.get_outputs()[0].name, out),
    ):
        bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def predict() -> Any:
        session.run_with_iobinding(binding)
        return out

    return predict


def openvino_predictor(problem: Problem, X: np.ndarray, threads: int) -> Any:
    """Return a function that predicts with OpenVINO, for rows of that number, in float32."""
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx_model(problem))
    model.reshape(list(X.shape))
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(X, shared_memory=True))

    def predict() -> Any:
        request.infer()
        return request.get_output_tensor().data

    return predict


def sklearn_predictor(problem: Problem, X: np.ndarray, threads: int) -> Any:
    """Return a function that predicts with scikit-learn's classifier."""
    model = ScikitLearn(problem, 1).model
    return lambda: model.predict_proba(X)[:, 1:]


def onnx_model(problem: Problem) -> bytes:
    """Return the network as an ONNX model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    operators = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
    nodes, constants, previous = [], [], "X"
    for index, name in enumerate(problem.workload.activations, start=1):
        constants.append(numpy_helper.from_array(problem.parameters[f"W{index}"], f"W{index}"))
        constants.append(numpy_helper.from_array(problem.parameters[f"b{index}"].ravel(), f"b{index}"))
        nodes.append(helper.make_node("Gemm", [previous, f"W{index}", f"b{index}"], [f"Z{index}"], transB=1))
        nodes.append(helper.make_node(operators[name], [f"Z{index}"], [f"A{index}"]))
        previous = f"A{index}"
    units = problem.workload.units
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, units[0]])],
        [helper.make_tensor_value_info(previous, TensorProto.FLOAT, [None, units[-1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    stream = io.BytesIO()
    onnx.save(model, stream)
    return stream.getvalue()
