"""The integers by which the kernels know activations, losses, optimizers and what to do with a batch.

The sizes of a network are data to the kernels; each activation, loss and update that it names is a part, compiled by
itself (`build/parts.py`). This file imports nothing, so that the Python layer can name the codes without loading numba.
"""

LINEAR = 0
SIGMOID = 1
TANH = 2
RELU = 3
LEAKY_RELU = 4
SOFTMAX = 5
EXPONENTIAL = 6
ELU = 7
SELU = 8
SOFTPLUS = 9
GELU = 10
SILU = 11
MISH = 12
INCREASING = 13

COUPLED = (SOFTMAX, INCREASING)
"""Those of a last layer in which an A is a function of all its Z."""

SLOPE_FROM_Z = (GELU, SILU, MISH)
"""The activations whose derivative is no function of their value: the forward pass computes and stores it."""

SLOPE_FROM_VALUE = (LINEAR, SIGMOID, TANH, RELU, LEAKY_RELU, EXPONENTIAL, ELU, SELU, SOFTPLUS)
"""Those whose derivative is one. The coupled ones are neither: they are no functions of one z."""

STORED_SLOPE = -1
"""Stands, where a derivative is named, for that of any activation whose slopes g'(Z) have been stored."""

BINARY_CROSSENTROPY = 0
MEAN_SQUARED_ERROR = 1
CATEGORICAL_CROSSENTROPY = 2
MEAN_ABSOLUTE_ERROR = 3
HUBER = 4
POISSON = 5
QUANTILE = 6

LOSSES = (
    BINARY_CROSSENTROPY, MEAN_SQUARED_ERROR, CATEGORICAL_CROSSENTROPY, MEAN_ABSOLUTE_ERROR, HUBER, POISSON, QUANTILE,
)  # fmt: skip

FROM_Z = (BINARY_CROSSENTROPY, CATEGORICAL_CROSSENTROPY, POISSON)
"""The losses that are one with the last activation: they go from Z to dZ of the last layer; others from A to dA."""

# What `train` does with each batch: its cost alone; cost and gradient; cost, gradient and an update.
COST = 0
GRADIENT = 1
SGD = 2
ADAM = 3
MOMENTUM = 4
NESTEROV = 5
RMSPROP = 6
ADAGRAD = 7
UPDATES = (SGD, ADAM, MOMENTUM, NESTEROV, RMSPROP, ADAGRAD)

# What `train` leaves in the status of its progress.
RUNNING = 0
COST_NOT_FINITE = 1
PARAMETERS_NOT_FINITE = 2

ENCODED_VALUE, ENCODED_NUMBER, ENCODED_CATEGORY = 0, 1, 2
"""The kinds of a column of a table, for an input layer that encodes them."""

LARGEST_NUMBER, LARGEST_COMPACT = 2.0**1021, 2.0**60
"""Numbers of a table beyond the first, in size, count as it, so that no difference of two overflows; and numbers on the
scale of the network beyond the second, whose square float32 holds."""

MISSING_BELOW = -(2.0**100)
"""A number below this stands for one that is missing, in such a column."""
