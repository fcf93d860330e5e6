"""Makes the fork server ignore SIGTERM and SIGINT. Only the fork server imports this module, first of all.

A service manager or a terminal sends these signals to the whole process group. The fork server has to survive
them as its workers do: without the fork server, the event loop's process would take running workers for dead.
The fork server ends with the event loop's process. `fork_server.begin` has blocked the signals until here.
"""

import signal

for ignored in (signal.SIGTERM, signal.SIGINT):
    signal.signal(ignored, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
