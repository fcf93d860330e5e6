"""Profiles of cellular links as data: defined profiles for each mobile generation, and captures of real
links.

A direction is described by its delivery opportunities, in the form of the public packet-delivery captures:
times in milliseconds at which the link could have delivered one packet of 1,500 bytes; after the last time
the list repeats. The defined profiles use typical figures of the generation with a slowly varying rate; they
are not measurements of a network.
"""

from __future__ import annotations

import gzip
import math
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PACKET_BYTES = 1500
"""Bytes of one delivery opportunity."""

TRACE_SECONDS = 30
WANDER_SECONDS = 2.0
"""Time constant in seconds of the AR(1) process that varies a defined profile's rate."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a link. Times in seconds; `opportunities` in milliseconds, ascending, empty for no
    rate limit.

    Every packet takes `delay` plus a random time up to `jitter`, uniformly distributed. `loss` is the share
    of opportunities whose packet is lost and sent again. The link is silent for about `stall` seconds every
    `stall_every` seconds (0: never), both exponentially distributed. `queue` is the number of packets that it
    holds, waiting and in flight, before a sender has to wait.
    """

    opportunities: Sequence[int]
    delay: float
    jitter: float = 0.0
    loss: float = 0.0
    stall_every: float = 0.0
    stall: float = 0.0
    queue: int = 400


@dataclass(frozen=True, slots=True)
class Profile:
    """A link in both directions: `up` is from phone to server, `down` from server to phone."""

    name: str
    up: Direction
    down: Direction

    @property
    def round_trip(self) -> float:
        return self.up.delay + self.down.delay


def profile(name: str) -> Profile:
    """The defined profile with this name. Raises `KeyError`."""
    return Profile(name, *_PROFILES[name]())


def captured(up: Path, down: Path, delay: float = 0.03) -> Profile:
    """A link that replays captures. `delay` is the propagation time of one direction in seconds, which
    captures do not contain.

    Raises `OSError` or `ValueError` naming the file.
    """
    return Profile(
        f"{up.name}/{down.name}", Direction(read_trace(up), delay), Direction(read_trace(down), delay)
    )


def captures(folder: Path) -> list[Profile]:
    """One link for each pair of captures `NAME.up` and `NAME.down` in a folder, gzipped or not, ordered by
    name.

    Raises `OSError`, or `ValueError` if there is no pair, if one direction is missing, or if a file is not
    valid.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        name, _, direction = path.name.removesuffix(".gz").rpartition(".")
        if direction in ("up", "down"):
            found.setdefault(name, {})[direction] = path
    incomplete = [name for name, by_direction in found.items() if len(by_direction) < 2]
    if incomplete or not found:
        raise ValueError(
            f"{folder}: "
            + (f"{incomplete[0]} has one direction only" if incomplete else "no NAME.up and NAME.down")
        )
    return [
        replace(captured(by_direction["up"], by_direction["down"]), name=name)
        for name, by_direction in found.items()
    ]


def read_trace(path: Path) -> Sequence[int]:
    """Reads a capture: one time in milliseconds per line; gzipped if the name ends in `.gz`.

    Raises `OSError`, or `ValueError` naming the file and the line.
    """
    times, number = array("q"), 0
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        try:
            for line in file:
                number += 1
                time = int(line)
                if time < (times[-1] if times else 0):
                    raise ValueError("times must not go back")
                times.append(time)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}, line {number}: not a packet-delivery trace ({error})") from error
    if not times or times[-1] <= 0:
        raise ValueError(f"{path}: not a packet-delivery trace (no opportunity after 0 ms)")
    return times


def random_walk_rate(megabits: float, swing: float, seed: int) -> Sequence[int]:
    """Opportunities at `megabits` per second on average; `swing` is the standard deviation of the rate's
    logarithm."""
    chance = random.Random(seed)
    keep = math.exp(-0.001 / WANDER_SECONDS)
    level, ready, times = 0.0, 0.0, array("q")
    per_millisecond = megabits * 1e6 / 8 / PACKET_BYTES / 1000
    for millisecond in range(1, TRACE_SECONDS * 1000 + 1):
        level = keep * level + math.sqrt(1 - keep * keep) * swing * chance.gauss(0, 1)
        ready += per_millisecond * math.exp(level - swing * swing / 2)
        times.extend([millisecond] * int(ready))
        ready %= 1
    if not times or times[-1] < TRACE_SECONDS * 1000:
        times.append(TRACE_SECONDS * 1000)
    return times


_PROFILES: dict[str, Callable[[], tuple[Direction, Direction]]] = {
    "gprs": lambda: (
        Direction(random_walk_rate(0.026, 0.3, 1), 0.32, 0.12, 0.01, 40.0, 1.5, queue=24),
        Direction(random_walk_rate(0.05, 0.3, 2), 0.32, 0.12, 0.01, 40.0, 1.5, queue=24),
    ),
    "edge": lambda: (
        Direction(random_walk_rate(0.1, 0.3, 3), 0.2, 0.08, 0.008, 45.0, 1.2, queue=60),
        Direction(random_walk_rate(0.22, 0.3, 4), 0.2, 0.08, 0.008, 45.0, 1.2, queue=60),
    ),
    "3g": lambda: (
        Direction(random_walk_rate(1.1, 0.4, 5), 0.06, 0.03, 0.004, 60.0, 0.8, queue=200),
        Direction(random_walk_rate(3.5, 0.4, 6), 0.06, 0.03, 0.004, 60.0, 0.8, queue=300),
    ),
    "lte": lambda: (
        Direction(random_walk_rate(7.0, 0.4, 7), 0.025, 0.008, 0.001, 90.0, 0.4, queue=600),
        Direction(random_walk_rate(22.0, 0.4, 8), 0.025, 0.008, 0.001, 90.0, 0.4, queue=1200),
    ),
    "5g": lambda: (
        Direction(random_walk_rate(45.0, 0.4, 9), 0.011, 0.003, 0.0005, 120.0, 0.2, queue=2000),
        Direction(random_walk_rate(180.0, 0.4, 10), 0.011, 0.003, 0.0005, 120.0, 0.2, queue=6000),
    ),
    "classic": lambda: (Direction((), 0.0, jitter=2.0), Direction((), 0.0, jitter=2.0)),
}

NAMES = tuple(_PROFILES)
"""Names of the defined profiles. `classic` is a traditional test for such clients: no rate limit, every
packet 0 to 2 s late at random, in order."""
