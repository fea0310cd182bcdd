"""Seeds are explicit: one run seed gives every trial, and every part of a trial, its own."""

import hashlib

import numpy as np


def trial_seed(run_seed: int, number: int) -> int:
    """The seed of trial `number` of a run, in [0, 2**31)."""
    state = np.random.SeedSequence(entropy=run_seed, spawn_key=(number,)).generate_state(1)
    return int(state[0]) >> 1


def part_seed(seed: int, part: str) -> int:
    """The seed of a named part of a trial (`student`, `noise`, ...), in [0, 2**63)."""
    digest = hashlib.sha256(f"{seed}/{part}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
