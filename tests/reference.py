"""The course notes' network in plain NumPy, straight from the mathematics: what fastnet is checked against.

Examples are columns: X is (n_x, m), Y is (n_L, m), W[l] is (n_l, n_{l-1}), b[l] is (n_l, 1). Parameters and gradients
are dictionaries with the notes' keys, "W1", "b1", "dW1", "db1", ... Everything runs in the dtype of its arguments;
the tests pass float64, the benchmarks float32 as well. Nothing here imports fastnet.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

LEAKY_SLOPE = 0.01
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

Parameters = dict[str, np.ndarray]
Cache = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""A_prev, W, b, Z, A of a layer: what back propagation needs of it."""


def initialize_parameters(layer_dims: list[int], rng: np.random.Generator, scale: float = 0.01) -> Parameters:
    """Return small random W, which break the symmetry between units, and zero b."""
    parameters = {}
    for layer in range(1, len(layer_dims)):
        shape = (layer_dims[layer], layer_dims[layer - 1])
        parameters[f"W{layer}"] = rng.standard_normal(shape) * scale
        parameters[f"b{layer}"] = np.zeros((layer_dims[layer], 1))
    return parameters


def depth(parameters: Parameters) -> int:
    """Return L, the number of layers."""
    return len(parameters) // 2


# ------------------------------------------------------------------------------------------------------------ forward


def sigmoid(Z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^-Z), without overflow on either side."""
    e = np.exp(-np.abs(Z))
    return np.where(Z >= 0, 1, e) / (1 + e)


def softmax(Z: np.ndarray) -> np.ndarray:
    """Return e^Z / sum of e^Z over the units of each example; the largest is taken out, or e^Z would overflow."""
    e = np.exp(Z - Z.max(axis=0))
    return e / e.sum(axis=0)


def softplus(Z: np.ndarray) -> np.ndarray:
    """Return log(1 + e^Z), without overflow."""
    return np.maximum(0, Z) + np.log1p(np.exp(-np.abs(Z)))


def normal_distribution(Z: np.ndarray) -> np.ndarray:
    """Return Phi(Z)."""
    erfc = np.vectorize(math.erfc, otypes=[Z.dtype])
    return erfc(-Z / np.sqrt(2)) / 2


def normal_density(Z: np.ndarray) -> np.ndarray:
    """Return phi(Z)."""
    return np.exp(-(Z**2) / 2) / np.sqrt(2 * np.pi)


def slope_of(name: str) -> float:
    """Return the slope of a leaky ReLU on its left; `name` may be an object that has one."""
    return getattr(name, "slope", LEAKY_SLOPE)


def increasing(Z: np.ndarray) -> np.ndarray:
    """Return A_1 = Z_1, A_k = A_{k-1} + log(1 + e^Z_k), unit after unit: what several quantiles are."""
    return np.cumsum(np.concatenate([Z[:1], softplus(Z[1:])]), axis=0)


def increasing_slopes(Z: np.ndarray) -> np.ndarray:
    """Return what Z_k adds to A_k, and to all after it, for each it grows by: 1 of the first, sigmoid(Z_k)."""
    return np.concatenate([np.ones_like(Z[:1]), sigmoid(Z[1:])])


def activation(Z: np.ndarray, name: str) -> np.ndarray:
    """Return g(Z)."""
    if name == "increasing":
        return increasing(Z)
    if name == "exponential":
        return np.exp(Z)
    if name == "sigmoid":
        return sigmoid(Z)
    if name == "softmax":
        return softmax(Z)
    if name == "tanh":
        return np.tanh(Z)
    if name == "relu":
        return np.maximum(0, Z)
    if name == "leaky_relu" or hasattr(name, "slope"):
        return np.where(Z > 0, Z, slope_of(name) * Z)
    if name == "elu":
        return np.where(Z > 0, Z, np.expm1(np.minimum(Z, 0)))
    if name == "selu":
        return SELU_SCALE * np.where(Z > 0, Z, SELU_ALPHA * np.expm1(np.minimum(Z, 0)))
    if name == "gelu":
        return Z * normal_distribution(Z)
    if name == "silu":
        return Z * sigmoid(Z)
    if name == "mish":
        return Z * np.tanh(softplus(Z))
    if name == "softplus":
        return softplus(Z)
    assert name == "linear"
    return Z


def activation_derivative(Z: np.ndarray, A: np.ndarray, name: str) -> np.ndarray:
    """Return g'(Z), given A = g(Z) as well; at the kink of the ReLU family, the slope on its left."""
    if name == "sigmoid":
        return A * (1 - A)
    if name == "tanh":
        return 1 - A**2
    if name == "relu":
        return np.where(Z > 0, 1, 0).astype(Z.dtype)
    if name == "leaky_relu" or hasattr(name, "slope"):
        return np.where(Z > 0, 1, slope_of(name)).astype(Z.dtype)
    if name == "elu":
        return np.where(Z > 0, 1, np.exp(np.minimum(Z, 0)))
    if name == "selu":
        return SELU_SCALE * np.where(Z > 0, 1, SELU_ALPHA * np.exp(np.minimum(Z, 0)))
    if name == "gelu":
        return normal_distribution(Z) + Z * normal_density(Z)
    if name == "silu":
        return sigmoid(Z) * (1 + Z * sigmoid(-Z))
    if name == "mish":
        return np.tanh(softplus(Z)) + Z * sigmoid(Z) / np.cosh(np.minimum(softplus(Z), 300)) ** 2
    if name == "softplus":
        return sigmoid(Z)
    if name == "exponential":
        return A
    assert name == "linear"
    return np.ones_like(Z)


def linear_forward(A_prev: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Z = W A_prev + b."""
    return W @ A_prev + b


def linear_activation_forward(A_prev: np.ndarray, W: np.ndarray, b: np.ndarray, name: str) -> tuple[np.ndarray, Cache]:
    """Return A = g(W A_prev + b) and what back propagation needs of it."""
    Z = linear_forward(A_prev, W, b)
    A = activation(Z, name)
    return A, (A_prev, W, b, Z, A)


def forward(X: np.ndarray, parameters: Parameters, activations: list[str]) -> tuple[np.ndarray, list[Cache]]:
    """Return A_L and the caches of all layers."""
    A, caches = X, []
    for layer, name in enumerate(activations, start=1):
        A, cache = linear_activation_forward(A, parameters[f"W{layer}"], parameters[f"b{layer}"], name)
        caches.append(cache)
    return A, caches


# --------------------------------------------------------------------------------------------------------------- cost


def cross_entropy(Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return -(Y log A + (1 - Y) log(1 - A)) for A = sigmoid(Z), in a form that is exact for any Z."""
    return np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))


def categorical_cross_entropy(Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return -sum Y log A for A = softmax(Z) and Y whose columns sum to 1, in a form that is exact for any Z."""
    below_largest = Z.max(axis=0) - Z
    e = np.exp(-below_largest)
    e[Z.argmax(axis=0), np.arange(Z.shape[1])] = 0  # e^0, left to log1p, which keeps what is small beside it
    return np.sum(Y * below_largest, axis=0, keepdims=True) + np.log1p(e.sum(axis=0))


def huber(A: np.ndarray, Y: np.ndarray, delta: float = 1.0) -> np.ndarray:
    """Return (A - Y)^2 / 2, or delta (|A - Y| - delta/2) where |A - Y| exceeds delta."""
    d = np.abs(A - Y)
    return np.where(d <= delta, d**2 / 2, delta * (d - delta / 2))


def levels(loss: object) -> np.ndarray:
    """Return q of each unit, (n_L, 1), or (1, 1) where it is that of all; `loss` is an object that has it."""
    return np.reshape(loss.q, (-1, 1))


def pinball(A: np.ndarray, Y: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return q (Y - A) where Y exceeds A, and (1 - q)(A - Y) elsewhere: Koenker and Bassett, 1978."""
    return np.maximum(q * (Y - A), (q - 1) * (Y - A))


def losses(Z: np.ndarray, A: np.ndarray, Y: np.ndarray, loss: str) -> np.ndarray:
    """Return the loss of each example, or of each of its outputs: the examples are columns.

    Y may have one row for all outputs, whose quantiles are of one target.
    """
    if hasattr(loss, "q"):
        return pinball(A, Y, levels(loss))
    if loss == "binary_crossentropy":
        return cross_entropy(Z, Y)
    if loss == "categorical_crossentropy":
        return categorical_cross_entropy(Z, Y)
    if loss == "mean_absolute_error":
        return np.abs(A - Y)
    if loss == "huber":
        return huber(A, Y)
    if loss == "poisson":
        return np.exp(Z) - Y * Z
    assert loss == "mean_squared_error"
    return (A - Y) ** 2 / 2


def smoothed(Y: np.ndarray, smoothing: float, classes: int) -> np.ndarray:
    """Return Y with so much of it spread evenly over all classes, 2 for a sigmoid: Szegedy et al., 2016."""
    return Y * (1 - smoothing) + smoothing / classes


def compute_cost(
    caches: list[Cache],
    Y: np.ndarray,
    parameters: Parameters,
    loss: str,
    l2: float = 0.0,
    l1: float = 0.0,
    weights: np.ndarray | None = None,
) -> float:
    """Return J: the losses, averaged over the examples, lambda/(2m) sum of all W squared, and l1/m sum of all |W|.

    With weights (m,), the mean is a weighted one, and their sum stands for m.
    """
    _, _, _, Z, A = caches[-1]
    by_example = losses(Z, A, Y, loss)
    total = np.sum(by_example if weights is None else by_example * weights)
    for layer in range(1, depth(parameters) + 1):
        W = parameters[f"W{layer}"]
        if l2:
            total = total + l2 / 2 * np.sum(W**2)
        if l1:
            total = total + l1 * np.sum(np.abs(W))
    return float(total / (Y.shape[1] if weights is None else np.sum(weights)))


# ----------------------------------------------------------------------------------------------------------- backward


def linear_backward(
    dZ: np.ndarray, cache: Cache, m: float, l2: float = 0.0, l1: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return dW = dZ A_prev^T / m + lambda/m W + l1/m sign(W) and db = sum(dZ) / m."""
    A_prev, W = cache[:2]
    dW = dZ @ A_prev.T / m
    if l2:
        dW = dW + l2 / m * W
    if l1:
        dW = dW + l1 / m * np.sign(W)
    return dW, np.sum(dZ, axis=1, keepdims=True) / m


def input_backward(dZ: np.ndarray, cache: Cache) -> np.ndarray:
    """Return dA_prev = W^T dZ; the first layer has no use for it."""
    return cache[1].T @ dZ


def activation_backward(dA: np.ndarray, cache: Cache, name: str) -> np.ndarray:
    """Return dZ = dA * g'(Z); of units that are increasing, each Z_k moves all A from its own on, of a softmax all."""
    if name == "increasing":
        return np.cumsum(dA[::-1], axis=0)[::-1] * increasing_slopes(cache[3])
    if name == "softmax":
        A = cache[4]
        return A * (dA - np.sum(A * dA, axis=0))
    return dA * activation_derivative(cache[3], cache[4], name)


def output_gradient(caches: list[Cache], Y: np.ndarray, activations: list[str], loss: str) -> np.ndarray:
    """Return dZ of the last layer: A - Y for sigmoid or softmax with cross-entropy and e^Z with Poisson's loss.

    Else dA * g'(Z), where dA is A - Y; its sign, for the absolute error; cut off at -1 and 1, for Huber's; of
    quantiles, 1 - q or -q by its sign, and 0 where that is.
    """
    if loss == "poisson":
        return np.exp(caches[-1][3]) - Y
    difference = caches[-1][4] - Y
    if loss == "mean_absolute_error":
        difference = np.sign(difference)
    if loss == "huber":
        difference = np.clip(difference, -1, 1)
    if hasattr(loss, "q"):
        q = levels(loss)
        difference = np.where(difference > 0, 1 - q, np.where(difference < 0, -q, 0))
    if loss in ("binary_crossentropy", "categorical_crossentropy"):
        return difference
    return activation_backward(difference, caches[-1], activations[-1])


def backward(
    caches: list[Cache],
    Y: np.ndarray,
    activations: list[str],
    loss: str,
    l2: float = 0.0,
    l1: float = 0.0,
    weights: np.ndarray | None = None,
) -> Parameters:
    """Return the gradients dW1, db1, ..., found from the last layer to the first."""
    dZ = output_gradient(caches, Y, activations, loss)
    m = float(Y.shape[1])
    if weights is not None:
        dZ, m = dZ * weights, float(np.sum(weights))
    gradients = {}
    for layer in range(len(activations), 0, -1):
        gradients[f"dW{layer}"], gradients[f"db{layer}"] = linear_backward(dZ, caches[layer - 1], m, l2, l1)
        if layer > 1:
            dA_prev = input_backward(dZ, caches[layer - 1])
            dZ = activation_backward(dA_prev, caches[layer - 2], activations[layer - 2])
    return gradients


def input_gradients(caches: list[Cache], activations: list[str], output: int) -> np.ndarray:
    """Return dA_L[output] / dX, (n_x, m): of each example, how that output changes with each of its features."""
    dA = np.zeros_like(caches[-1][4])
    dA[output] = 1
    for cache, name in zip(reversed(caches), reversed(activations), strict=True):
        dA = input_backward(activation_backward(dA, cache, name), cache)
    return dA


# ----------------------------------------------------------------------------------------------------------- training


class SGD:
    """Gradient descent: v <- mu v + dp; p <- p - alpha v; Nesterov: p <- p - alpha (dp + mu v)."""

    def __init__(self, learning_rate: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.learning_rate, self.momentum, self.nesterov = learning_rate, momentum, nesterov
        self.v: Parameters = {}

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """Take one step, in place."""
        for name, p in parameters.items():
            g = gradients[f"d{name}"]
            self.v[name] = v = self.momentum * self.v.get(name, 0) + g
            p -= self.learning_rate * (g + self.momentum * v if self.nesterov else v)


class RMSprop:
    """s <- rho s + (1 - rho) dp^2; p <- p - alpha dp / (sqrt(s) + epsilon). Hinton, lecture 6, 2012."""

    def __init__(self, learning_rate: float, rho: float = 0.99, epsilon: float = 1e-8) -> None:
        self.learning_rate, self.rho, self.epsilon = learning_rate, rho, epsilon
        self.s: Parameters = {}

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """Take one step, in place."""
        for name, p in parameters.items():
            g = gradients[f"d{name}"]
            self.s[name] = self.rho * self.s.get(name, 0) + (1 - self.rho) * g**2
            p -= self.learning_rate * g / (np.sqrt(self.s[name]) + self.epsilon)


class Adagrad:
    """s <- s + dp^2; p <- p - alpha dp / (sqrt(s) + epsilon). Duchi, Hazan and Singer, 2011."""

    def __init__(self, learning_rate: float, epsilon: float = 1e-10) -> None:
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.s: Parameters = {}

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """Take one step, in place."""
        for name, p in parameters.items():
            g = gradients[f"d{name}"]
            self.s[name] = self.s.get(name, 0) + g**2
            p -= self.learning_rate * g / (np.sqrt(self.s[name]) + self.epsilon)


class Adam:
    """Adam, algorithm 1 of Kingma and Ba, Adam: a method for stochastic optimization, 2015."""

    def __init__(
        self, learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.learning_rate, self.beta1, self.beta2, self.epsilon = learning_rate, beta1, beta2, epsilon
        self.t = 0
        self.m: Parameters = {}
        self.v: Parameters = {}

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """Take one step, in place."""
        self.t += 1
        for name, p in parameters.items():
            g = gradients[f"d{name}"]
            self.m[name] = self.beta1 * self.m.get(name, 0) + (1 - self.beta1) * g
            self.v[name] = self.beta2 * self.v.get(name, 0) + (1 - self.beta2) * g**2
            m_unbiased = self.m[name] / (1 - self.beta1**self.t)
            v_unbiased = self.v[name] / (1 - self.beta2**self.t)
            p -= self.learning_rate * m_unbiased / (np.sqrt(v_unbiased) + self.epsilon)


class EpsilonHatAdam(Adam):
    """Adam in the form that Kingma and Ba give before section 2.1, with their epsilon hat."""

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """Take one step, in place."""
        self.t += 1
        for name, p in parameters.items():
            g = gradients[f"d{name}"]
            self.m[name] = self.beta1 * self.m.get(name, 0) + (1 - self.beta1) * g
            self.v[name] = self.beta2 * self.v.get(name, 0) + (1 - self.beta2) * g**2
            alpha_t = self.learning_rate * np.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
            p -= alpha_t * self.m[name] / (np.sqrt(self.v[name]) + self.epsilon)


class AdamW(Adam):
    """Adam after p <- (1 - alpha decay) p. Loshchilov and Hutter, Decoupled weight decay regularization, 2019."""

    def __init__(
        self, learning_rate: float, beta1: float, beta2: float, epsilon: float, weight_decay: float = 0.01
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon)
        self.weight_decay = weight_decay

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """Take one step, in place."""
        for p in parameters.values():
            p *= 1 - self.learning_rate * self.weight_decay
        super().update(parameters, gradients)


Optimizer = SGD | RMSprop | Adagrad | Adam


class WithRates:
    """An optimizer with a rate factor for each parameter; and W1 = U diag(s), of which U and s take the steps."""

    def __init__(self, make: Callable[[float], Optimizer], rates: dict[str, float], factors_of: int | None) -> None:
        self.make, self.rates, self.own = make, rates, {}
        self.s = None if factors_of is None else np.ones((1, factors_of))
        self.U = None

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """Take one step, in place."""
        all_p, all_g = dict(parameters), dict(gradients)
        if self.s is not None:
            W, dW = all_p.pop("W1"), all_g["dW1"]
            self.U = W.copy() if self.U is None else self.U
            all_p |= {"U": self.U, "s": self.s}
            all_g |= {"dU": dW * self.s, "ds": np.sum(self.U * dW, axis=0, keepdims=True)}
        for name, p in all_p.items():
            factor = self.rates.get({"U": "W1"}.get(name, name), 1.0)
            self.own.setdefault(name, self.make(factor)).update({name: p}, {f"d{name}": all_g[f"d{name}"]})
        if self.s is not None:
            W[:] = self.U * self.s


def clip(gradients: Parameters, clip_norm: float) -> None:
    """Scale all gradients, together one vector, down to that length if they are longer, in place; as PyTorch does."""
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
    for g in gradients.values():
        g *= min(1.0, clip_norm / (norm + 1e-6))


def step(
    X: np.ndarray,
    Y: np.ndarray,
    parameters: Parameters,
    activations: list[str],
    loss: str,
    optimizer: Optimizer,
    l2: float = 0.0,
    clip_norm: float | None = None,
) -> float:
    """Update the parameters once, in place; return the cost before."""
    _, caches = forward(X, parameters, activations)
    cost = compute_cost(caches, Y, parameters, loss, l2)
    gradients = backward(caches, Y, activations, loss, l2)
    if clip_norm is not None:
        clip(gradients, clip_norm)
    optimizer.update(parameters, gradients)
    return cost


def train_epoch(
    X: np.ndarray,
    Y: np.ndarray,
    parameters: Parameters,
    activations: list[str],
    loss: str,
    optimizer: Optimizer,
    *,
    batch_size: int,
    order: np.ndarray | None = None,
    l2: float = 0.0,
) -> float:
    """Update once for every batch of examples in `order`; return the mean of the costs before each update."""
    m = X.shape[1]
    total = 0.0
    for start in range(0, m, batch_size):
        batch = slice(start, start + batch_size) if order is None else order[start : start + batch_size]
        X_batch, Y_batch = X[:, batch], Y[:, batch]
        total += step(X_batch, Y_batch, parameters, activations, loss, optimizer, l2) * X_batch.shape[1]
    return total / m


def predict(X: np.ndarray, parameters: Parameters, activations: list[str]) -> np.ndarray:
    """Return 1 where the output exceeds 0.5 and 0 elsewhere."""
    A, _ = forward(X, parameters, activations)
    return (A > 0.5).astype(A.dtype)


# -------------------------------------------------------------------------------------- logistic regression with loops


def logistic_gradients_with_loops(
    X: np.ndarray, Y: np.ndarray, w: np.ndarray, b: float
) -> tuple[float, np.ndarray, float]:
    """Return J, dw and db of logistic regression as the notes first write it: loops over examples and features."""
    n_x, m = X.shape
    J, dw, db = 0.0, np.zeros(n_x), 0.0
    for i in range(m):
        z = b
        for j in range(n_x):
            z += w[j] * X[j, i]
        a = 1 / (1 + np.exp(-z))
        J += -(Y[0, i] * np.log(a) + (1 - Y[0, i]) * np.log(1 - a))
        dz = a - Y[0, i]
        for j in range(n_x):
            dw[j] += X[j, i] * dz
        db += dz
    return float(J / m), dw / m, float(db / m)


def scales(X, weights=None):
    """Mean and standard deviation of the columns of X (m, n), a row of weight w counting as w rows; 1 for constants."""
    w = np.ones(len(X)) if weights is None else weights
    mean = w @ X / w.sum()
    variance = w @ (X - mean) ** 2 / w.sum()
    return mean, np.where(variance > (1e-14 * mean) ** 2, np.sqrt(variance), 1.0)


def standardized(X, mean, spread):
    """(x - mean) / spread of each column of X (m, n)."""
    return (X - mean) / spread


# ------------------------------------------------------------------------------------------------------------- tables


def table_encoder(numbers: list[np.ndarray], categories: list[list], bins: int = 8, clip: float = 3):
    """Return a function of columns like these that encodes them: numbers with NaN, categories with None, for missing.

    [z of all numbers][indicators][piecewise linear codes][one-hot]; without what is constant, or missing throughout.
    """
    known = {k: x[~np.isnan(x)] for k, x in enumerate(numbers)}
    kept = [k for k, x in known.items() if len(set(x)) > 1]
    gaps = [k for k, x in known.items() if 0 < len(x) < len(numbers[k])]
    method = {"method": "inverted_cdf"}
    quantiles = {k: np.percentile(known[k], [0, 25, 50, 75, 100], **method) for k in kept}
    edges = {}
    for k in kept:
        values, counts = np.unique(known[k], return_counts=True)
        edges[k] = values
        if bins > 0 and len(values) > bins + 1:
            frequent = values[counts >= len(known[k]) / bins]
            others = known[k][~np.isin(known[k], frequent)]
            shares = np.linspace(0, 100, max(2, bins + 1 - len(frequent)))
            edges[k] = np.unique(np.concatenate([frequent, np.percentile(others, shares, **method)]))
    levels = [sorted(set(c) - {None}, key=lambda v: (isinstance(v, str), v)) for c in categories]
    is_constant = [len(set(c)) == 1 for c in categories]

    def encode(numbers: list[np.ndarray], categories: list[list]) -> np.ndarray:
        z, codes, hot = [], [], []
        for k in kept:
            low, q25, median, q75, high = quantiles[k]
            x, e = np.where(np.isnan(numbers[k]), median, numbers[k]), edges[k]
            scaled = (x - median) / (q75 - q25 if q75 > q25 else (high - low) / 2)
            z.append(scaled / np.sqrt(1 + (scaled / clip) ** 2))
            if bins > 0 and len(e) > 2:
                codes += [2 * np.clip((x - a) / (b - a), 0, 1) - 1 for a, b in itertools.pairwise(e)]
        for column, values, constant in zip(categories, levels, is_constant, strict=True):
            each = [np.array([v == value for v in column], float) for value in values]
            hot += [] if constant else [each[0] - each[1]] if len(each) == 2 else each
        return np.stack([*z, *(np.isnan(numbers[k]).astype(float) for k in gaps), *codes, *hot], axis=1)

    return encode


MISSING = -(2.0**101)


def encoded(X: np.ndarray, columns: list[tuple]) -> np.ndarray:
    """Return what an input layer makes of X (m, n): of each column its value, its bins and gaps, or one-hot classes."""
    found = []
    for x, (kind, *numbers) in zip(X.T, columns, strict=True):
        if kind == "value":
            found.append(x)
        elif kind == "category":
            found += [(x == k).astype(float) for k in range(numbers[0])]
        else:
            has_gaps, clip, *edges = numbers
            gaps = x < MISSING / 2
            z = np.where(gaps, 0, x)
            found.append(z / np.sqrt(1 + (z / clip) ** 2))
            found += [2 * np.clip((z - a) / (b - a), 0, 1) - 1 for a, b in itertools.pairwise(edges)]
            found += [gaps.astype(float)] if has_gaps else []
    return np.stack(found, axis=1)
