"""Where threads meet: an atomic barrier that spins, then yields, then sleeps.

A team is some Python threads in one `nogil` kernel, sharing the integers `team`: how many have arrived at the
barrier, how often it has opened, and whether someone called the run off. Each has a cache line of its own.
"""

import sys
import threading
import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir.vectors import BOUNDS_CHECK, INT, with_fallback
from fastnet.kernels.plan import ARRIVED, OPENED, STOPPED, TEAM

SPINS, YIELDS = 1_000, 2_000
"""How often a waiting thread looks before it begins to offer its core to others, and before it begins to sleep.

A pause is 10 to 40 ns, so spinning goes on for longer than a step's imbalance; a thread that shares its core with
another should soon let it go on. Sleep begins after a millisecond or so, as while a callback runs."""

SLEEP_MICROSECONDS = 100

_lock = threading.Lock()


def _wait_fallback(team: np.ndarray, threads: int) -> bool:
    with _lock:
        generation = team[OPENED]
        team[ARRIVED] += 1
        if team[ARRIVED] == threads:
            team[ARRIVED] = 0
            team[OPENED] += 1
    while team[OPENED] == generation and not team[STOPPED]:
        time.sleep(0)
    return not team[STOPPED]


@with_fallback(_wait_fallback)
def wait(typingctx, team, threads):  # type: ignore[no-untyped-def]
    """Wait until `threads` threads have called this; return False, at once, if the run was called off.

    What any of them wrote before, all of them see after.
    """
    if not (isinstance(team, types.Array) and team.dtype == types.int64 and team.ndim == 1 and team.layout == "C"):
        raise TypingError(f"needs a flat array of int64, got {team}")

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        team, threads = arguments
        base = context.make_array(signature.args[0])(context, builder, team).data
        arrived, opened, stopped = (builder.gep(base, [INT(entry)]) for entry in (ARRIVED, OPENED, STOPPED))
        generation = builder.load_atomic(opened, "acquire", 8)
        before = builder.atomic_rmw("add", arrived, INT(1), "acq_rel")
        spins = cgutils.alloca_once_value(builder, INT(0))
        is_last = builder.icmp_signed("==", builder.add(before, INT(1)), threads)
        with builder.if_else(is_last) as (last, others):
            with last:
                builder.store_atomic(INT(0), arrived, "monotonic", 8)
                builder.store_atomic(builder.add(generation, INT(1)), opened, "release", 8)
            with others:
                look, relax, leave = (builder.append_basic_block(name) for name in ("look", "relax", "leave"))
                builder.branch(look)
                builder.position_at_end(look)
                is_open = builder.icmp_signed("!=", builder.load_atomic(opened, "acquire", 8), generation)
                is_off = builder.icmp_signed("!=", builder.load_atomic(stopped, "acquire", 8), INT(0))
                builder.cbranch(builder.or_(is_open, is_off), leave, relax)
                builder.position_at_end(relax)
                spun = builder.load(spins)
                builder.store(builder.add(spun, INT(1)), spins)
                let_others_run(builder, spun)
                builder.branch(look)
                builder.position_at_end(leave)
        return builder.icmp_signed("==", builder.load_atomic(stopped, "acquire", 8), INT(0))

    return types.boolean(team, types.intp), generate


def let_others_run(builder: ir.IRBuilder, spun: Any) -> None:
    """Pause, yield or sleep, by how long the thread has waited."""
    module, i32 = builder.module, ir.IntType(32)
    windows = sys.platform == "win32"
    with builder.if_else(builder.icmp_signed("<", spun, INT(SPINS))) as (soon, later):
        with soon:
            if module.triple.startswith(("x86_64", "i686")):
                pause = cgutils.get_or_insert_function(
                    module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
                )
                builder.call(pause, [])
        with later, builder.if_else(builder.icmp_signed("<", spun, INT(SPINS + YIELDS))) as (yielding, sleeping):
            with yielding:
                name = "SwitchToThread" if windows else "sched_yield"
                builder.call(cgutils.get_or_insert_function(module, ir.FunctionType(i32, []), name), [])
            with sleeping:
                name, time_to_sleep = ("Sleep", 1) if windows else ("usleep", SLEEP_MICROSECONDS)
                kind = ir.FunctionType(ir.VoidType() if windows else i32, [i32])
                builder.call(cgutils.get_or_insert_function(module, kind, name), [i32(time_to_sleep)])


@kernel
def meet(team: Any, threads: int) -> bool:
    """Wait for all threads of the team; return False if the run was called off. One thread alone need not wait."""
    if BOUNDS_CHECK and threads > 1 and team.shape[0] < TEAM:
        raise IndexError("a barrier reaches outside its array")
    return threads == 1 or wait(team, threads)
