"""Attack files, saves and fits at random, longer than the tests do: `python tests/files/fuzz.py files 100000`.

files N [SEED]    load N mutations of good files; a changed byte must be noticed, memory stay small
saves N [SEED]    kill N processes that save; the file must be the old one or the new, and nothing else be left
fits N [SEED]     kill N fits with checkpoints; each must end, to the bit, as one that was never killed
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import hostile
import killed

ADDRESS_SPACE = 2**30
"""Bytes that a process which loads files may take beyond what it has at the start."""


def attack_files(folder: Path, n: int, seed: int) -> str:
    """Load mutations, with little memory to be had."""
    hostile.attack(folder, 100, seed)  # what is loaded once is
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE,) * 2)
    refused = hostile.attack(folder, n, seed)
    return f"{n} files: {refused} refused, {n - refused} whole or made valid again"


def attack_saves(folder: Path, n: int, seed: int) -> str:
    """Kill processes that save."""
    killed.attack_saves(folder, n, seed)
    return f"{n} saves killed: the old file or the new, each time"


def attack_fits(folder: Path, n: int, seed: int) -> str:
    """Kill fits with checkpoints."""
    chains = killed.attack(folder, n, seed)
    return f"{n} fits killed in {chains} chains: each ended as one that was not"


ATTACKS = {"files": attack_files, "saves": attack_saves, "fits": attack_fits}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=ATTACKS)
    parser.add_argument("n", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        print(
            ATTACKS[arguments.what](Path(folder), arguments.n, arguments.seed), f"({time.perf_counter() - start:.0f} s)"
        )


if __name__ == "__main__":
    main()
