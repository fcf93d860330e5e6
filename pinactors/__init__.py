"""Authenticates, identifies and prices trading pins from photographs, and streams every result as it exists.

The packages, the lowest layer first: `protocol` (the wire contract) and `settings`; `analysis` (pure
functions on arrays); `storage`, `catalog`, `records` (what is kept); `compute` (where CPU work runs);
`tracing` (where time is spent); `pipeline` (sessions and their actors); `vision` (a second opinion);
`components` (what is computed, declared); `client`; `webhooks` (events for other servers); `simulation`,
`evaluation`; `cli`. HTTP is in `api`.
"""

__version__ = "0.2.0"
"""The program's version, stated only here; the wheel, `--version`, `/health`, `/metrics` and `/openapi.json`
read it."""
