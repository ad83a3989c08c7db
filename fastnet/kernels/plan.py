"""Where everything lies: the parameters in one flat vector, the numbers of a chunk of examples in another, S.

The kernels read that from *records*: one NETWORK, and a LAYER for the input (0) and each layer (1 to L). Parameters of
layer l: W (units, inputs) in C order at W, then b (units,) at b. A JOB says what a run is to do, its PROGRESS how far
it has come. This file knows no numba.

A batch is worked through in *chunks*, a chunk in *blocks* of up to LANES examples. A block of layer l holds A (units,
ld), examples contiguous, its rows padded to a multiple of PADDING; dZ is laid out alike. There is more than one block
only where each holds LANES: unit u of example e lies at A + e // lanes * block + u * ld + e % lanes. AT holds the same
activations transposed, an example a row, in *panels* of PANEL units, each contiguous: a weight gradient is a sum over
examples, which are its k; that of a narrow layer needs none. Rows as they come, of a wide input and where few are
predicted, are the same formula with lanes = ld = 1: `block` is then the distance from one example to the next. Every
offset counts elements. No result is ever computed from what lies in the padding.

Threads divide a chunk by examples, PADDING of them at a time, and the weight gradient by tiles of W; each has a
head of HEAD elements of its own. In a long batch each thread works on a chunk, and in a scratch vector, of its own.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

MOST_EXAMPLES, FEWEST_EXAMPLES = 512, 64
MOST_OPERATIONS = 2**33
"""The sizes a chunk may have, and the work in it: 40 ms at 200 GFLOP/s, since a kernel returns only between chunks."""

LANES = 64
"""Examples in a block: the most columns that a layer's activations hold side by side."""

PADDING = 16
"""Rows and columns are padded to a multiple of this: the widest register holds 16 float32."""

GRAIN = 8
"""Of the columns of the last block, so many at a time are computed: half of the widest register."""

PANEL = 32
"""Units in a panel of AT: two of the widest registers, so that a tile reads one run of memory."""

NARROW_UP_TO, WIDE_FROM = 4, 2048
"""A layer of so few units, or inputs, is narrow: its weight gradient is summed in lanes, from A as it is. An input of
so many features before so few units is wide: a step does little but read it. Both are parts of the numerical contract.
"""

BLOCK_ROWS_FROM = 512
"""From so many inputs of a layer on, its W is read some rows at a time, ROWS_AT_ONCE or a multiple, by all blocks. (So
2,000 rows through 784-256-128-1 are predicted 1.01 times as fast: `benchmarks/peers.py`.)"""

LAYER_BY_LAYER_FROM = 1024
"""From so many inputs of a layer on, a network propagates all of a thread's examples through one layer before the next.
The number of weights as the measure made networks of 512 units a layer no faster."""

TERMS_AT_ONCE, ROWS_AT_ONCE = 1024, 32
"""Terms of a sum at a time: a strip of B, 32 columns of 1024 float32, then stays in a second-level cache. And the rows
of a large W at a time, or of W^T, as many as make whole panels. With 64 rows, `wide` was 0.96 times as fast
(`benchmarks/peers.py --only wide`)."""

TEMPORARY = TERMS_AT_ONCE * ROWS_AT_ONCE
"""Elements, for each thread, at the head of the scratch vector of a run with a backward pass: room for so much of W^T,
laid out anew, for a tile that overhangs its matrix, or for some of dW^T of a layer of few inputs."""

FUSE_STEP_FROM = 2**15
"""From so many parameters on, a step is taken with some rows of W as soon as their gradient is there."""

STEP = 2**16
"""Elements, after the TEMPORARY ones, for that gradient: they stay in a second-level cache."""

HEAD = TEMPORARY + STEP
"""Elements at the head of the scratch vector for each thread."""

GROUP_ACTIVATIONS = 8192
"""Small networks propagate as many blocks at a time as have so few activations: 32 KB of float32. (With half as many,
`matrix-exp` was 0.99 times as fast: `benchmarks/peers.py --only matrix-exp`.)"""

i8, f8 = np.int64, np.float64

NETWORK = np.dtype(
    [
        ("chunk", i8),  # examples in a chunk, at most
        ("Y", i8), ("ld_Y", i8),  # the targets in S, laid out like A of the last layer; ld, or 0 for one of all outputs
        ("terms", i8),  # the loss of each example, laid out alike; several rows that are added, or one
        ("term_rows", i8),
        ("weights", i8),  # of the examples of the chunk, in S
        ("kept", f8), ("shared", f8),  # where labels are smoothed: Y becomes Y kept + shared
        ("factor_rate", f8),  # times the learning rate: that of the factors of the first W
        ("settings", i8),  # of the loss, in S, one for each output: Huber's delta, q of a quantile
        # Addresses of parts; NONE (0): there is nothing to do.
        ("forward", i8), ("backward", i8), ("gradients", i8), ("steps", i8), ("load_targets", i8), ("smooth", i8),
        ("loss", i8), ("weigh", i8), ("penalty_cost", i8), ("signs", i8), ("keep_outputs", i8), ("update", i8),
        ("finish", i8), ("factored_step", i8),
        ("wide_gradient", i8),  # of each GRAIN examples while they are near, right after their backward pass
    ],
    align=True,
)  # fmt: skip

LAYER = np.dtype(
    [
        ("units", i8), ("inputs", i8),  # n_l, n_{l-1}; of the input n_0, and how many columns X has
        ("W", i8), ("b", i8),  # offsets among the parameters; b = -1: no bias
        ("A", i8), ("lanes", i8), ("ld", i8), ("block", i8),  # see above; block: from one to the next
        ("AT", i8), ("panel", i8),  # -1: none; elements in a panel
        ("slopes", i8),  # g'(Z), laid out like A: the stored derivative; A itself where g' is a function of A
        ("dZ", i8),  # of the input only where its gradient is asked for
        ("dW", i8),  # behind a wide input: (units, block of the input)
        # Of the input: where rows are loaded to, laid out like A and AT, which that is unless they are encoded then.
        ("raw", i8), ("raw_block", i8), ("raw_AT", i8),
        ("encoding", i8),  # constants of that, in S
        ("group", i8),  # of the input: examples propagated through all layers at a time
        ("l1", f8), ("l2", f8), ("setting", f8), ("dropout", f8),
        ("rate", f8), ("bias_rate", f8),  # times the learning rate: that of W, and of b
        # Addresses of parts; NONE (0): there is nothing to do.
        ("load", i8), ("encode", i8), ("product", i8), ("activate", i8), ("drop", i8), ("differentiate", i8),
        ("input_gradient", i8), ("weight_gradient", i8), ("bias_gradient", i8),
    ],
    align=True,
)  # fmt: skip

JOB = np.dtype(
    [
        ("mode", i8),  # COST, GRADIENT or the code of an update
        ("batch_size", i8), ("epochs", i8),
        ("batches", i8),  # updates of an epoch, each with a rate of its own; 0: an epoch has one rate
        ("before", i8), ("ends_epoch", i8),  # examples of the epoch before these; whether none come after them
        ("shuffled", i8), ("key", i8),  # what is random in epoch e is drawn from (key, e)
        ("threads", i8), ("by_chunks", i8),  # a chunk for each thread, or all of them at one
        ("reduces", i8),  # whether the sums over a batch are one rank's, to be added to those of others before a step
        ("examples_at_once", i8),  # that go forward and back before the next
        ("learning_rate", f8), ("beta1", f8), ("beta2", f8), ("epsilon", f8), ("epsilon_hat", f8),
        ("weight_decay", f8), ("clip_norm", f8),
        ("power1", f8), ("power2", f8),  # beta1^t and beta2^t of the step t = 1, 2, ... at hand
    ],
    align=True,
)  # fmt: skip

OPTIMIZER_SETTINGS = ("learning_rate", "beta1", "beta2", "epsilon", "epsilon_hat", "weight_decay", "clip_norm")
"""The fields of a JOB that an optimizer gives."""

PROGRESS = np.dtype(
    [
        ("epoch", i8),  # epochs finished in this run
        ("example", i8),  # where the next chunk starts
        ("first_epoch", i8),  # how many epochs there were before this run
        ("loaded", i8),  # whether S already holds the only chunk there is
        ("chunks_left", i8),  # in this call: what Python sets before it
        ("status", i8), ("slot", i8),  # RUNNING or why it stopped; whose scratch vector holds the chunk where it did
        ("bad_parameters", i8),  # whether a step left a number that is not finite
        # Where the job reduces: whether the sums over a batch, and the gradient, are those of all ranks now; whether
        # that batch is the last of the epoch; and how many there were before it.
        ("reduced", i8), ("is_last", i8), ("batches", i8),
        # Sums over examples, of the batch and of the epoch so far: of the cost, what penalties add, and the weights.
        ("batch_cost", f8), ("batch_penalty", f8), ("batch_weight", f8),
        ("epoch_cost", f8), ("epoch_penalty", f8), ("epoch_weight", f8),
    ],
    align=True,
)  # fmt: skip


class Examples(NamedTuple):
    """The examples of a run.

    X (m, n_x): example order[i] is row rows[i]. That is `order` itself; or, where X holds only those examples that the
    call will come to, where they are. targets (m, n_L), or (m, 1) numbers of classes; weights (m,), or none; outputs
    (n_L, m) receives A_L of every example in the epoch's order, or has no m; order (m,). chosen (m,): of which rows a
    shuffle draws the order, if not of the first m; or none. Of chosen rows, X, targets and weights have more than m.
    """

    X: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    outputs: np.ndarray
    order: np.ndarray
    chosen: np.ndarray


class Vectors(NamedTuple):
    """parameters, gradient (n_parameters,); partials, one gradient a thread, or none; moments, powers: an optimizer's.

    moments: some vectors like the parameters, one after the other. powers (2,): beta1^t and beta2^t after t steps.
    Where the first W = U diag(s) has factors: U and then s, their gradient, and their moments; or nothing.
    """

    parameters: np.ndarray
    gradient: np.ndarray
    partials: np.ndarray
    moments: np.ndarray
    powers: np.ndarray
    factored: np.ndarray
    factored_gradient: np.ndarray
    factored_moments: np.ndarray


class Epochs(NamedTuple):
    """The learning rate of epoch e at rates[e % len], or that of each update; and what its cost was at costs[e % len].

    The rate of update i of epoch e, each of which has `batches`, is at rates[(e batches + i) % len].
    """

    rates: np.ndarray
    costs: np.ndarray


ARRIVED, OPENED, STOPPED, TEAM = 0, 16, 32, 48
"""The entries of a barrier's integers that are used, 128 bytes apart, and how many integers there are."""


class Team(NamedTuple):
    """The integers of a barrier (`ir/barrier.py`), and the cost of each thread's chunk (threads,)."""

    barrier: np.ndarray
    costs: np.ndarray


class Strategy(NamedTuple):
    """How a layer is computed: the names of its parts in `build/parts.py`, and whether its input needs an AT."""

    load: str
    product: str
    weight_gradient: str
    transposes: bool


DENSE = Strategy("gather", "matmul_plus_bias", "weight_gradient", transposes=True)
NARROW = Strategy("gather", "matmul_plus_bias", "narrow_weight_gradient", transposes=False)
WIDE = Strategy("load_rows", "wide_matmul_plus_bias", "wide_weight_gradient", transposes=False)
FEW_ROWS = Strategy("load_rows", "matmul_plus_bias_of_rows", "", transposes=False)
"""The last is for predictions of a few rows: units in the lanes of a register, instead of examples."""


def strategies(units: Sequence[int], *, few_rows: bool = False, encoded: bool = False) -> list[Strategy]:
    """Return the strategy of each layer of a network of `units`, the input's width first."""
    first = [WIDE] if units[0] >= WIDE_FROM and units[1] <= NARROW_UP_TO and not encoded else []
    return first + [
        FEW_ROWS if few_rows else NARROW if min(pair) <= NARROW_UP_TO else DENSE
        for pair in list(pairwise(units))[len(first) :]
    ]


class Plan(NamedTuple):
    """The records of a network, and the sizes of the vectors they point into, in elements."""

    network: np.ndarray
    layers: np.ndarray
    n_parameters: int
    n_scratch: int


def make_plan(
    units: Sequence[int],
    use_bias: Sequence[bool],
    *,
    examples: int,
    backward: bool,
    threads: int = 1,
    stores_slopes: Sequence[bool] = (),
    few_rows: bool = False,
    for_inputs: bool = False,
    encoded: tuple[int, int] | None = None,
) -> Plan:
    """Lay out a network of `units` (the input's width first) for batches of up to `examples` examples.

    `use_bias` has one entry a layer, so one fewer than `units`. Without `backward` there is room for predictions alone;
    `few_rows` makes that rows. `for_inputs`: for a backward pass of a single block that ends at the input, whose
    gradient has a place, instead of at the weights, which need AT and heads. `threads` is how many share the scratch
    vector. `stores_slopes` says of each layer whether its slopes have a place of their own; empty, of none. `encoded`:
    of an input that is, how many columns X has, and how many constants the encoding. Settings and addresses of parts
    are left empty.
    """
    network, layers = np.zeros(1, NETWORK), np.zeros(len(units), LAYER)
    chosen = strategies(units, few_rows=few_rows, encoded=encoded is not None)
    offsets, n_parameters = parameter_offsets(units, use_bias)
    chunk = chunk_size(units)
    examples = min(examples, chunk)
    in_blocks = LANES, min(LANES, padded(examples))
    blocks = 1 if few_rows else -(-examples // in_blocks[1])
    scratch = threads * HEAD if backward and not for_inputs else 0

    def room(elements: int) -> int:
        nonlocal scratch
        scratch += elements
        return scratch - elements

    network["chunk"] = chunk
    layers["units"], layers["inputs"][1:] = units, units[:-1]
    layers["AT"] = -1
    layers["rate"] = layers["bias_rate"] = 1
    layers["group"] = max(LANES, GROUP_ACTIVATIONS // sum(units) // LANES * LANES)
    if max(units[:-1]) >= LAYER_BY_LAYER_FROM:
        layers["group"] = MOST_EXAMPLES
    for l, layer in enumerate(layers):
        by_rows = few_rows or (l == 0 and chosen[0] is WIDE)
        layer["lanes"], layer["ld"] = (1, 1) if by_rows else in_blocks
        layer["block"] = padded(units[l]) * int(layer["ld"])
        if l == 0 and chosen[0] is WIDE:
            layer["block"] += PADDING  # rows a multiple of 4096 bytes apart would share few sets of the cache
        size = int(layer["block"]) * (padded(examples) if by_rows else blocks)
        layer["A"] = layer["slopes"] = room(size)
        if l > 0:
            layer["W"], layer["b"] = offsets[l - 1]
        if not backward:
            continue
        if l > 0 and stores_slopes and stores_slopes[l - 1]:
            layer["slopes"] = room(size)
        if l < len(chosen) and chosen[l].transposes and not for_inputs:
            layer["panel"] = blocks * in_blocks[1] * PANEL
            layer["AT"] = room(int(layer["panel"]) * -(-units[l] // PANEL))
        if l > 0:
            layer["dZ"] = room(size)
        elif for_inputs:
            layer["dZ"] = room(padded(units[0]) * in_blocks[1])
        if l == 1 and chosen[0] is WIDE and not for_inputs:
            layer["dW"] = room(units[1] * int(layers[0]["block"]))
    x = layers[0]
    x["inputs"], x["raw"], x["raw_block"], x["raw_AT"] = units[0], x["A"], x["block"], x["AT"]
    if encoded:
        x["inputs"], n_constants = encoded
        x["raw_block"], x["raw_AT"] = padded(encoded[0]) * int(x["ld"]), -1
        x["raw"] = room(int(x["raw_block"]) * (padded(examples) if few_rows else blocks))
        x["encoding"] = room(n_constants)
    if backward:
        network["Y"], network["terms"], network["weights"] = room(size), room(size), room(blocks * in_blocks[1])
        network["ld_Y"], network["settings"] = in_blocks[1], room(padded(units[-1]))
    return Plan(network, layers, n_parameters, scratch)


def parameter_offsets(units: Sequence[int], use_bias: Sequence[bool]) -> tuple[list[tuple[int, int]], int]:
    """Return where W and b of each layer begin among the parameters (b: -1 without bias), and how many there are."""
    offsets, end = [], 0
    for (n_prev, n), has_bias in zip(pairwise(units), use_bias, strict=True):
        w, b = end, end + n * n_prev
        offsets.append((w, b if has_bias else -1))
        end = b + n * has_bias
    return offsets, end


def chunk_size(units: Sequence[int]) -> int:
    """Return how many examples make a chunk: those whose gradient is one chain of sums.

    Longer batches add the gradients of their chunks, in order. That makes it a part of the numerical contract, and
    so it depends on the layers alone.
    """
    operations = sum(6 * n * n_prev for n_prev, n in pairwise(units))
    chunk = MOST_EXAMPLES
    while chunk > FEWEST_EXAMPLES and chunk * operations > MOST_OPERATIONS:
        chunk //= 2
    return chunk


def padded(n: int) -> int:
    """Return n rounded up to a multiple of PADDING."""
    return -(-n // PADDING) * PADDING


def computed_columns(m: int) -> int:
    """Return the columns that m examples are computed with: m rounded up to a multiple of GRAIN."""
    return -(-m // GRAIN) * GRAIN
