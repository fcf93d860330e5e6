"""The sessions of this process, and the only way to them: `open_registry` gives the `Registry`.

Comes in: uploads, and names of streams. Goes out: the packet logs that answer them. In here: who may start a
session (`admission`), which uploads are duplicates, what is kept of sessions that have ended (`finished`,
`kept_logs`), sessions that an earlier process left (`adoption`), and other masters' sessions (`peers`).
"""

from pinactors.pipeline.registry.opening import open_registry
from pinactors.pipeline.registry.sessions import Registry

__all__ = ["Registry", "open_registry"]
