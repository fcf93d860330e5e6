"""The simulated link compared with the kernel's: the same bytes over both, if the machine has network
namespaces.

The link is simulated once by `pinactors.simulation.link` and once by `tc netem` on a pair of virtual
interfaces, one of which is in a separate namespace. The benchmark compares the time to send a number of bytes
at several rates and delays. The kernel's time includes TCP's slow start and headers (66 of 1,514 bytes);
the simulated link has neither.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from benchmarks import Say
from benchmarks.figures import machine
from pinactors.simulation.link import relay
from pinactors.simulation.profiles import PACKET_BYTES, Direction, Profile

NAMESPACE = f"pinbench{os.getpid()}"
NEAR_DEVICE, FAR_DEVICE = f"pb{os.getpid()}n", f"pb{os.getpid()}f"
NEAR_ADDRESS, FAR_ADDRESS = "10.231.77.1", "10.231.77.2"

PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Case:
    """A link with a constant rate: megabits per second, delay of one direction in seconds, and the bytes to
    send."""

    megabits: float
    delay: float
    size: int

    @property
    def ideal(self) -> float:
        """Computed seconds from sending the first byte to the arrival of the last one."""
        return self.size * 8 / (self.megabits * 1e6) + self.delay

    def direction(self) -> Direction:
        """The direction with as many opportunities per second as the rate needs, repeated each second."""
        count = round(self.megabits * 1e6 / 8 / PACKET_BYTES)
        return Direction(
            [round(1000 * (number + 1) / count) for number in range(count)], self.delay, queue=2000
        )


CASES = (Case(1.2, 0.06, 300_000), Case(6.0, 0.03, 1_500_000), Case(24.0, 0.01, 6_000_000))
QUICK = (Case(6.0, 0.01, 60_000),)


async def measure(say: Say, *, quick: bool = False) -> dict[str, Any]:
    """Measures both links at each rate; `skipped` in the result says why the kernel's was not measured."""
    why = unavailable()
    cases = []
    for case in QUICK if quick else CASES:
        say(f"{case.megabits:g} Mbit/s, {1000 * case.delay:g} ms: simulated")
        simulated = await _simulated(case)
        kernel = None
        if not why:
            say(f"{case.megabits:g} Mbit/s, {1000 * case.delay:g} ms: tc netem")
            with _shaped(case):
                kernel = await _kernel(case)
        cases.append(
            {
                "megabits_per_second": case.megabits,
                "delay_seconds": case.delay,
                "bytes": case.size,
                "ideal_seconds": case.ideal,
                "simulated_seconds": simulated,
                "simulated_over_ideal": simulated / case.ideal,
                "netem_seconds": kernel,
                "simulated_over_netem": simulated / kernel if kernel else None,
            }
        )
    return {
        "benchmark": "link",
        "machine": machine(),
        "cases": cases,
        "skipped": {"tc netem": why} if why else {},
    }


def unavailable() -> str:
    """Why `tc netem` cannot be used on this machine; empty if it can."""
    if sys.platform != "linux" or not (shutil.which("ip") and shutil.which("tc")):
        return "ip and tc are not installed"
    try:
        with _shaped(QUICK[0]):
            return ""
    except RuntimeError as error:
        return str(error)


@contextmanager
def _shaped(case: Case) -> Iterator[None]:
    """Makes the interfaces, with netem in the direction of the namespace. Raises `RuntimeError` with the
    tool's message."""
    inside = ("ip", "netns", "exec", NAMESPACE)
    shape = f"netem delay {1000 * case.delay:g}ms rate {case.megabits:g}mbit limit 10000"
    try:
        _do("ip", "netns", "add", NAMESPACE)
        _do("ip", "link", "add", NEAR_DEVICE, "type", "veth", "peer", "name", FAR_DEVICE, "netns", NAMESPACE)
        _do("ip", "addr", "add", f"{NEAR_ADDRESS}/30", "dev", NEAR_DEVICE)
        _do("ip", "link", "set", NEAR_DEVICE, "up")
        _do(*inside, "ip", "addr", "add", f"{FAR_ADDRESS}/30", "dev", FAR_DEVICE)
        _do(*inside, "ip", "link", "set", FAR_DEVICE, "up")
        _do("tc", "qdisc", "add", "dev", NEAR_DEVICE, "root", *shape.split())
        yield
    finally:
        for command in (("ip", "link", "del", NEAR_DEVICE), ("ip", "netns", "del", NAMESPACE)):
            subprocess.run(command, capture_output=True, check=False)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])}: {done.stderr.strip() or done.stdout.strip()}")


async def _simulated(case: Case) -> float:
    """Seconds to the last byte over the simulated link, without opening the connection."""
    direction = case.direction()
    async with trio.open_nursery() as nursery:
        finished: list[float] = []
        listeners = await nursery.start(
            partial(trio.serve_tcp, partial(_drain, finished), 0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        profile = Profile("steady", direction, Direction((), 0.0))
        link_relay = await nursery.start(relay, profile, "127.0.0.1", port)
        async with await trio.open_tcp_stream("127.0.0.1", link_relay.port) as stream:
            await trio.sleep(2 * profile.round_trip)  # by then the relay has opened its connection
            began = trio.current_time()
            await _send(stream, case.size)
            await stream.receive_some(1)  # the receiver ends the stream when all bytes have arrived
        nursery.cancel_scope.cancel()
    return finished[0] - began


async def _kernel(case: Case) -> float:
    """The same over netem, to a receiver in the namespace that answers with a byte; the way back is not
    limited."""
    sink = [sys.executable, "-m", "benchmarks.links.netem"]
    async with trio.open_nursery() as nursery:
        command = ["ip", "netns", "exec", NAMESPACE, *sink]
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        port = int(await process.stdout.receive_some(100))
        async with await trio.open_tcp_stream(FAR_ADDRESS, port) as stream:
            began = trio.current_time()
            await _send(stream, case.size)
            await stream.receive_some(1)
            took = trio.current_time() - began
        process.kill()
    return took


async def _send(stream: trio.SocketStream, size: int) -> None:
    while size:
        count = min(size, PIECE_BYTES)
        await stream.send_all(bytes(count))
        size -= count
    await stream.send_eof()


async def _drain(finished: list[float], stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass
    finished.append(trio.current_time())
    await stream.send_eof()


def main() -> None:
    """The receiver: reads one connection to its end, then answers with a byte."""
    with socket.create_server((FAR_ADDRESS, 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        connection, _ = listening.accept()
        with connection:
            while connection.recv(PIECE_BYTES):
                pass
            connection.sendall(b".")


if __name__ == "__main__":
    main()
