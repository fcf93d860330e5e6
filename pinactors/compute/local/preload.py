"""Makes the fork server ignore SIGTERM. Only the fork server imports this module, before the first fork.

A service manager or a terminal sends SIGTERM to the whole process group. The fork server has to survive it as
its workers do: without the fork server, the event loop's process would take running workers for dead. The
fork server ends with the event loop's process.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
