"""The sessions of this process and the only access to them: `open_registry` gives the `Registry`.

Input: uploads, and stream ids. Output: the packet logs that answer them. The modules: the registry itself
(`sessions`), who may start a session (`admission`), which uploads are duplicates (`duplicates`), the tasks of
running sessions (`running`), the logs of ended ones (`finished`, `kept_logs`), sessions that an earlier
process left (`adoption`), and other masters' sessions (`peers`).
"""

from pinactors.pipeline.registry.opening import open_registry
from pinactors.pipeline.registry.sessions import Registry

__all__ = ["Registry", "open_registry"]
