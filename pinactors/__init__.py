"""Authenticates, identifies and prices trading pins from photographs, and streams every result as it exists.

The rooms, from the ground up: `protocol` (the wire contract) and `settings`; `analysis` (pure functions
on arrays); `storage`, `catalog`, `records` (what is kept); `compute` (where CPU work runs); `tracing` (where
time is spent); `pipeline` (sessions and their actors); `vision` (a second opinion); `components` (what is
computed, declared); `client`; `webhooks` (events for other servers); `simulation`, `evaluation`; `cli`. HTTP
is in `api`.
"""

__version__ = "0.2.0"
"""The one place that says it: the wheel, `--version`, `/health`, `/metrics`, `/openapi.json` read it here."""
