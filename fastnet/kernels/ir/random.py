"""Random numbers that are a function of a key and a counter: whoever draws them, in whatever order, gets the same."""

from typing import Any

from llvmlite import ir
from numba import types

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir.vectors import INT, with_fallback

GOLDEN, MULTIPLY_1, MULTIPLY_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _random_bits_fallback(key: int, counter: int) -> int:
    everything = 2**64 - 1
    z = (int(key) + (int(counter) + 1) * GOLDEN) & everything
    z = ((z ^ (z >> 30)) * MULTIPLY_1) & everything
    z = ((z ^ (z >> 27)) * MULTIPLY_2) & everything
    return (z ^ (z >> 31)) >> 32


@with_fallback(_random_bits_fallback)
def random_bits(typingctx, key, counter):  # type: ignore[no-untyped-def]
    """Return 32 random bits, as an integer from 0 to 2^32 - 1, that depend on (key, counter) alone.

    Number `counter` of the stream that SplitMix64 begins at `key`: Steele, Lea and Flood, Fast splittable
    pseudorandom number generators, 2014.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        key, counter = arguments
        z = builder.add(key, builder.mul(builder.add(counter, INT(1)), INT(GOLDEN)))
        z = builder.mul(builder.xor(z, builder.lshr(z, INT(30))), INT(MULTIPLY_1))
        z = builder.mul(builder.xor(z, builder.lshr(z, INT(27))), INT(MULTIPLY_2))
        return builder.lshr(builder.xor(z, builder.lshr(z, INT(31))), INT(32))

    return types.int64(types.int64, types.int64), generate


@kernel
def stream_of(key: int, number: int) -> int:
    """Return the key of one of the streams that belong to a key."""
    key_of_stream: int = random_bits(key, number) << 31 ^ random_bits(~key, number)
    return key_of_stream


@kernel
def random_below(key: int, counter: int, n: int) -> int:
    """Return a random integer from 0 to n - 1 that depends on (key, counter) alone."""
    if n <= 2**31:
        drawn: int = (random_bits(key, counter) * n) >> 32
    else:  # a product of 32 bits and n would need more than 64: 63 bits, of which any n takes its remainder
        drawn = ((random_bits(key, counter) >> 1 << 32) | random_bits(~key, counter)) % n
    return drawn
