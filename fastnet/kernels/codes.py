"""The integers by which the kernels know activations, losses, optimizers and what to do with a batch.

The sizes of a network are data to the kernels; each activation, loss and update that it names is a part compiled by
itself (`parts.py`). This file imports nothing, so that the Python layer can name the codes without loading numba.
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

SLOPE_FROM_Z = (GELU, SILU, MISH)
"""The activations whose derivative is no function of their value: it is found on the way forward, and kept."""

KEPT_SLOPE = -1
"""What stands, where a derivative is named, for any activation whose slope has been kept."""

BINARY_CROSSENTROPY = 0
MEAN_SQUARED_ERROR = 1
CATEGORICAL_CROSSENTROPY = 2
MEAN_ABSOLUTE_ERROR = 3
HUBER = 4
POISSON = 5

FROM_Z = (BINARY_CROSSENTROPY, CATEGORICAL_CROSSENTROPY, POISSON)
"""The losses that are one with the last activation: they go from Z to dZ of the last layer; others from A to dA."""

# What `epochs.train` does with each batch: its cost alone; cost and gradient; cost, gradient and an update.
COST = 0
GRADIENT = 1
SGD = 2
ADAM = 3
MOMENTUM = 4
NESTEROV = 5
RMSPROP = 6
ADAGRAD = 7
UPDATES = (GRADIENT, SGD, ADAM, MOMENTUM, NESTEROV, RMSPROP, ADAGRAD)

LEARNING_RATE, BETA1, BETA2, EPSILON, EPSILON_HAT, WEIGHT_DECAY, CLIP_NORM, OF_LOSS, SETTINGS = range(9)
"""Entries of the settings, and their number: an optimizer's, and that of the loss (Huber's delta)."""

L2, L1 = range(2)
"""Rows of the penalties."""

# What `epochs.train` leaves in position[STATUS].
RUNNING = 0
COST_NOT_FINITE = 1
PARAMETERS_NOT_FINITE = 2
