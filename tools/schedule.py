"""In which order arms run, and when to stop (MEASURING.md, rules 4, 5 and 9).

A round runs each arm once. A block is a Williams square: each arm stands in each position equally often, and each arm
comes right after each other arm equally often, so neither drift nor what the previous program left behind favours one.
"""

from __future__ import annotations

import random
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING

from tools.stats import HALF_WIDTH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIN_ROUNDS = 12
MAX_ROUNDS = 40
PADDING_BYTES = 4096
"""The environment grows by less than a page: where the stack starts is no longer the same in all runs of an arm."""


class Stop(StrEnum):
    """Why measuring ended."""

    PRECISE = "precision"
    ROUNDS = "rounds"
    TIME = "budget"


def new_seed() -> int:
    """A seed for a plan; it is stored with the result."""
    return secrets.randbits(32)


def williams_block(arms: int, rng: random.Random) -> list[list[int]]:
    """The rounds of one block: as many as arms when they are even, twice as many when odd.

    Relabelled and shuffled, so that blocks differ.

    Raises:
        ValueError: there is no arm.
    """
    if arms < 1:
        raise ValueError("a block needs an arm")
    first = [0] + [arms - i // 2 if i % 2 == 0 else (i + 1) // 2 for i in range(1, arms)]
    rows = [[(arm + shift) % arms for arm in first] for shift in range(arms)]
    if arms % 2 == 1 and arms > 1:
        rows += [row[::-1] for row in rows]
    labels = rng.sample(range(arms), arms)
    rng.shuffle(rows)
    return [[labels[arm] for arm in row] for row in rows]


def rounds_per_block(arms: int) -> int:
    """How many rounds a block has."""
    return arms if arms % 2 == 0 or arms == 1 else 2 * arms


def plan_rounds(arms: int, seed: int) -> Iterator[list[list[int]]]:
    """Blocks without end; the caller stops by `enough`. The same seed gives the same plan.

    Raises:
        ValueError: there is no arm.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose
    while True:
        yield williams_block(arms, rng)


def padding_bytes(rng: random.Random) -> int:
    """By how much to pad the environment of the next run."""
    return rng.randrange(PADDING_BYTES)


def enough(
    rounds: int,
    half_widths: Sequence[float],
    *,
    block_seconds: float,
    seconds_left: float,
    rounds_min: int = MIN_ROUNDS,
    rounds_max: int = MAX_ROUNDS,
    rounds_needed: int = 0,
) -> Stop | None:
    """Whether to stop after a whole block; None is go on.

    Looks at precision (half-widths in ln of every claim), never at a verdict: stopping on the verdict errs more than
    twice as often at the edge. A budget that a person set is hard: a block that would not fit is not begun, even before
    `rounds_min`, and what cannot be resolved then is called unresolved. Our own budget waits for `rounds_needed`.
    """
    if rounds >= rounds_min and all(width <= HALF_WIDTH_LIMIT for width in half_widths):
        return Stop.PRECISE
    if rounds >= rounds_max:
        return Stop.ROUNDS
    return Stop.TIME if block_seconds > seconds_left and rounds >= rounds_needed else None
