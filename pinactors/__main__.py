"""The command `pinactors`, also as `python -m pinactors`.

Imports next to nothing: every worker process imports it again. A server's workers are forked from a process
that has imported the analysis; it begins here, so that both processes import at the same time.
"""

from __future__ import annotations

import os
import signal
import sys

from pinactors.compute.local import fork_server
from pinactors.compute.process_limits import prefer_one_thread
from pinactors.errors import INTERRUPTED

SERVING = ("serve", "demo")
"""Commands that have workers."""

FOR_WORKERS = ("pinactors.components", "rapidocr.main")
"""What each worker needs and may be imported before it is forked: nothing that starts a thread."""


def main() -> None:
    """The entry point of the installed command. Ctrl-C ends it without a traceback, also while it imports."""
    try:
        _run()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        # A second one does not wait for what is still to be done at the interpreter's end.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        sys.exit(INTERRUPTED)


def _open_standard_streams() -> None:
    """Opens the standard streams that the program was started without (`2>&-`), to nowhere. Else the next
    files, a database's among them, would get their numbers, and with them what a library prints."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115


def _run() -> None:
    _open_standard_streams()
    prefer_one_thread()  # before the command imports numpy
    if sys.argv[1:2] and sys.argv[1] in SERVING and "--help" not in sys.argv:
        fork_server.begin(FOR_WORKERS)
    from pinactors import cli

    cli.main()


if __name__ == "__main__":
    main()
