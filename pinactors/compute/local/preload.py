"""Imported by the fork server, and by nothing else, before it forks the first worker.

A service manager or a terminal sends SIGTERM to the whole process group. The fork server has to outlive it
like its workers do: were it gone, the event loop's process would take a running worker for a dead one. It
ends when the event loop's process does.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
