"""The order of runs is balanced, reproducible, and stops for the right reasons."""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import partial
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import schedule
from tools.schedule import Stop, enough, plan_rounds, rounds_per_block, williams_block

ARMS = st.integers(1, 12)
SEEDS = st.integers(0, 2**32)
NARROW, WIDE = math.log(1.01), math.log(1.2)


@given(ARMS, SEEDS)
def test_every_round_runs_each_arm_once(arms: int, seed: int) -> None:
    """A round is a permutation of the arms, and a block has K rounds for even K, 2K for odd."""
    block = williams_block(arms, random.Random(seed))
    assert len(block) == rounds_per_block(arms)
    assert all(sorted(row) == list(range(arms)) for row in block)


@given(ARMS, SEEDS)
def test_every_arm_stands_in_every_position_equally_often(arms: int, seed: int) -> None:
    """Position in the round favours nobody."""
    block = williams_block(arms, random.Random(seed))
    places = Counter((position, arm) for row in block for position, arm in enumerate(row))
    assert len(places) == arms * arms
    assert len(set(places.values())) == 1


@given(st.integers(2, 12), SEEDS)
def test_every_ordered_pair_is_adjacent_equally_often(arms: int, seed: int) -> None:
    """What the previous program left behind favours nobody."""
    block = williams_block(arms, random.Random(seed))
    pairs = Counter(pair for row in block for pair in pairwise(row))
    assert len(pairs) == arms * (arms - 1)
    assert len(set(pairs.values())) == 1


@given(st.integers(3, 8), SEEDS)
def test_the_same_seed_gives_the_same_plan(arms: int, seed: int) -> None:
    """The stored seed is enough to know the order of all runs."""
    assert list(islice(plan_rounds(arms, seed), 3)) == list(islice(plan_rounds(arms, seed), 3))


def test_blocks_differ() -> None:
    """Blocks are relabelled and shuffled anew, so no fixed order is repeated."""
    blocks = [str(block) for block in islice(plan_rounds(4, 1), 20)]
    assert len(set(blocks)) > 10


def test_no_arm_is_refused() -> None:
    """A plan of nothing is a mistake of the caller."""
    with pytest.raises(ValueError, match="arm"):
        williams_block(0, random.Random(1))


def test_padding_stays_below_a_page() -> None:
    """The environment grows by 0 to 4095 bytes."""
    rng = random.Random(1)
    paddings = {schedule.padding_bytes(rng) for _ in range(1000)}
    assert min(paddings) >= 0
    assert max(paddings) < schedule.PADDING_BYTES
    assert len(paddings) > 500


def test_seeds_differ() -> None:
    """Each run gets its own plan."""
    assert schedule.new_seed() != schedule.new_seed()


@pytest.mark.parametrize(
    ("rounds", "widths", "block_seconds", "seconds_left", "expected"),
    [
        (8, [NARROW], 1, 100, None),
        (12, [NARROW, NARROW], 1, 100, Stop.PRECISE),
        (12, [NARROW, WIDE], 1, 100, None),
        (12, [math.inf], 1, 100, None),
        (40, [WIDE], 1, 100, Stop.ROUNDS),
        (42, [WIDE], 1, 100, Stop.ROUNDS),
        (12, [WIDE], 10, 9, Stop.TIME),
        (4, [WIDE], 10, 9, Stop.TIME),
        (12, [NARROW], 10, 9, Stop.PRECISE),
    ],
)
def test_stop_rule(
    rounds: int, widths: list[float], block_seconds: float, seconds_left: float, expected: Stop | None
) -> None:
    """At least 12 rounds, then precision of all claims, 40 rounds, or no time for another block."""
    assert enough(rounds, widths, block_seconds=block_seconds, seconds_left=seconds_left) is expected


def test_our_own_budget_waits_for_the_rounds_that_an_interval_needs() -> None:
    """Nobody asked to be done by then, and fewer rounds could say nothing at all."""
    late = partial(enough, half_widths=[math.inf], block_seconds=1.0, seconds_left=-60.0, rounds_needed=18)
    assert late(12) is None
    assert late(18) is Stop.TIME
