"""Access control of the operator's routes."""

from __future__ import annotations

from quart import Blueprint, request

from pinactors.api.auth import authenticate_admin
from pinactors.api.services import current_services


def admin_blueprint(name: str, module: str, below: str = "") -> Blueprint:
    """A blueprint for routes under `/admin/api` + `below`, each of which needs a key with the right to
    administer."""
    blueprint = Blueprint(name, module, url_prefix=f"/admin/api{below}")

    @blueprint.before_request
    async def check() -> None:
        await authenticate_admin(request.headers, current_services().records)

    return blueprint
