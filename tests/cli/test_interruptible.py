"""Tests of running until Ctrl-C: what the first, the second and the third end."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time

import pytest
import trio
import typer

from pinactors.cli import interruptible


def test_a_second_ctrl_c_ends_the_workers_and_lets_the_clean_up_end() -> None:
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    cleaned = []

    async def work() -> None:
        worker.start()
        try:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                signal.raise_signal(signal.SIGINT)
                await trio.to_thread.run_sync(worker.join)
                cleaned.append(True)

    before = signal.getsignal(signal.SIGINT)
    try:
        assert interruptible.run(work) is None
    finally:
        worker.kill()
    assert cleaned
    assert worker.exitcode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is before


def test_a_third_ctrl_c_ends_a_clean_up_that_hangs() -> None:
    program = """
import signal, time, trio
from pinactors.cli import interruptible

async def work():
    try:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()
    finally:
        signal.raise_signal(signal.SIGINT)
        time.sleep(600)

interruptible.run(work)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == interruptible.INTERRUPTED
    assert ended.stderr == ""


def test_a_server_that_ctrl_c_ends_while_it_starts_has_the_status_of_an_interruption() -> None:
    async def starting() -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    with pytest.raises(typer.Exit) as ended:
        interruptible.run_server(starting)
    assert ended.value.exit_code == interruptible.INTERRUPTED
    interruptible.run_server(trio.lowlevel.checkpoint)  # stopped as it should be


def test_an_end_of_the_program_inside_nurseries_is_one() -> None:
    async def work() -> None:
        async with trio.open_nursery() as outer, trio.open_nursery():
            outer.start_soon(trio.sleep_forever)
            sys.exit(3)

    with pytest.raises(SystemExit) as ended:
        interruptible.run(work)
    assert ended.value.code == 3
    assert ended.value.__cause__ is None
