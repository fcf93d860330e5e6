"""Authenticates, identifies and prices trading pins from photographs, and streams every result as it exists.

The rooms, from the ground up: `protocol` (the wire contract) and `settings`; `analysis` (pure functions
on arrays); `storage`, `catalog`, `records` (what is kept); `compute` (where CPU work runs); `pipeline`
(sessions and their actors); `components` (what is computed, declared); `client`, `simulation`,
`evaluation`; `cli`. HTTP is in `api`.
"""

__version__ = "0.2.0"
"""The one place that says it: the wheel, `--version`, `/health`, `/metrics`, `/openapi.json` read it here."""
