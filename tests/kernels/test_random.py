"""Random numbers by key and counter: their bits, their range, and that nothing else enters."""

import numpy as np
import pytest
from compiled import from_python
from hypothesis import given
from hypothesis import strategies as st

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir import random


@kernel
def call_random_bits(key, counter):
    return random.random_bits(key, counter)


@kernel
def draw_below(key, n, drawn):
    for counter in range(drawn.shape[0]):
        drawn[counter] = random.random_below(key, counter, n)


KEYS = st.integers(-(2**63), 2**63 - 1)


@given(key=KEYS, counter=st.integers(0, 2**62))
def test_bits_are_those_of_splitmix(key, counter):
    """By its definition, in Python's whole numbers."""
    bits = from_python(call_random_bits)(np.int64(key), counter)
    assert 0 <= bits < 2**32
    assert bits == random._random_bits_fallback(key, counter)


@given(key=KEYS, counter=st.integers(0, 2**62), n=st.integers(1, 2**62))
def test_random_below_stays_below(key, counter, n):
    drawn = int(from_python(random.random_below)(np.int64(key), counter, n))
    assert 0 <= drawn < n


@given(key=KEYS, counter=st.integers(0, 2**62), n=st.integers(1, 2**31) | st.sampled_from([1, 2, 2**31 - 1, 2**31]))
def test_up_to_two_to_the_31st_it_is_the_product_with_32_bits(key, counter, n):
    """Which is what orders, and so results, of earlier versions were drawn by."""
    bits = random._random_bits_fallback(key, counter)
    assert from_python(random.random_below)(np.int64(key), counter, n) == (bits * n) >> 32


SIZES = [1, 2, 3, 10, 2**31 - 1, 2**31, 2**31 + 1, 2**32, 3 * 2**32 + 1, 2**40 - 87, 2**62 - 57, 2**62]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("key", [0, 17, -(2**62)])
def test_every_part_of_the_range_is_reached_as_often(key, n):
    """Of 16 parts of the range, and of what is left when its numbers are divided by 16: chi-squared, at fixed keys."""
    draws, parts = np.empty(4000, np.int64), min(n, 16)
    from_python(draw_below)(key, n, draws)
    assert draws.min() >= 0
    assert draws.max() < n
    by_size = [int(drawn) * parts // n for drawn in draws]
    for numbers in (by_size, draws % parts):
        counts = np.bincount(numbers, minlength=parts)
        sizes = np.array([-(-n * (i + 1) // parts) - -(-n * i // parts) for i in range(parts)], float)
        expected = len(draws) * (sizes / n if numbers is by_size else np.full(parts, 1 / parts))
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert counts.all()
        assert abs(statistic - (parts - 1)) <= 5 * np.sqrt(2 * (parts - 1)) + 1e-9


def test_streams_of_a_key_differ():
    streams = {int(from_python(random.stream_of)(key, number)) for key in (0, 1, -1) for number in range(20)}
    assert len(streams) == 60
