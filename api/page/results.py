"""Routes of a finished analysis: the result page, its packets and its photographs.

On an open server everybody who has the URL can see the result; the stream id in the URL cannot be guessed. If
keys are configured, packets and photographs are sent only for the key that uploaded them, and the page's head
contains nothing of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import trio
from markupsafe import escape
from quart import Blueprint, Response, request

from pinactors.analysis.imaging.public_copy import public_copy
from pinactors.api.auth import ANYONE, authenticate
from pinactors.api.page.catalogue import in_worker, picture
from pinactors.api.page.pages import shell
from pinactors.api.services import current_services
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.protocol.merge import merge
from pinactors.records.analyses import StoredStream

VERDICTS = {
    "authentic": "Looks genuine",
    "counterfeit": "Looks counterfeit",
    "undetermined": "Not decided",
    "not_a_pin": "No pin found",
}

blueprint = Blueprint("page_results", __name__)


async def _stored(stream_id: str, owner: str) -> StoredStream:
    """The stored analysis. Raises the same `PinactorsError` if there is none and if it is another owner's."""
    stored = await current_services().records.stream(stream_id)
    if stored is None or stored.owner != owner:
        raise PinactorsError(
            ErrorCode.STREAM_NOT_FOUND, "Not found", "No finished analysis of yours has this stream id"
        )
    return stored


@blueprint.get("/results/<stream_id>")
async def result_page(stream_id: str) -> Response:
    """The page for a result, with tags for link previews of messengers in its head."""
    services = current_services()
    head = None
    if not await services.records.has_keys():
        stored = await services.records.stream(stream_id)
        if stored is not None and stored.owner == ANYONE:
            head = describe(merge(stored.packets), request.host_url, stream_id)
    return await shell(head, view="result")


def describe(result: dict[str, Any], host_url: str, stream_id: str) -> str:
    """Title, description and Open Graph tags of a merged analysis, as HTML; every value is escaped.

    `host_url` ends in a slash.
    """
    candidates = result.get("candidates") or []
    name = candidates[0]["name"] if result.get("identified") and candidates else "A pin"
    verdict = VERDICTS.get(result.get("verdict") or "", "Not decided")
    estimate = result.get("estimate")
    words = [f"{verdict}."]
    if estimate:
        amount = f"{estimate['low']:,.2f} to {estimate['high']:,.2f} {estimate['currency']}"
        genuine = "A genuine one sells for" if result.get("verdict") == "counterfeit" else "If genuine:"
        words.append(f"{genuine} {amount}.")
    if result.get("demonstration"):
        words.append("Demonstration: pin, sales and price are made up.")
    words.append("An estimate from photographs, not a certificate.")
    address = f"{host_url}results/{stream_id}"
    title, description = f"{name}: {verdict.lower()}", " ".join(words)
    tags = {
        "og:type": "website",
        "og:site_name": "pinactors",
        "og:title": title,
        "og:description": description,
        "og:url": address,
        "og:image": f"{address}/front",
        "og:image:alt": f"The photograph of {name}",
    }
    return "\n  ".join(
        [
            f"<title>{escape(title)}</title>",
            f'<meta name="description" content="{escape(description)}">',
            *(f'<meta property="{key}" content="{escape(value)}">' for key, value in tags.items()),
            '<meta name="twitter:card" content="summary_large_image">',
            '<meta name="robots" content="noindex">',
        ]
    )


@blueprint.get("/results/<stream_id>/packets")
async def packets(stream_id: str) -> Response:
    """The packets of a finished analysis as one array, however long ago it was."""
    stored = await _stored(stream_id, await authenticate(request.headers, current_services().records))
    body = msgspec.json.encode([msgspec.Raw(packet) for packet in stored.packets])
    return Response(body, 200, {"Content-Type": "application/json", "Cache-Control": "private, no-cache"})


@blueprint.get("/results/<stream_id>/<view>")
async def photograph(stream_id: str, view: str) -> Response:
    """A photograph of a finished analysis, scaled down and without the camera's metadata (place, time,
    owner)."""
    await _stored(stream_id, await authenticate(request.headers, current_services().records))
    return await shown_photograph(stream_id, view)


async def shown_photograph(stream_id: str, view: str) -> Response:
    """The photograph for `photograph`, without a check of the key. Raises `PinactorsError` (`not_found`)."""
    return picture(await of_photograph(stream_id, view, public_copy), "image/jpeg", "private, max-age=86400")


async def of_photograph(stream_id: str, view: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `work` in a worker on a photograph of a finished analysis and returns its result. `work` receives
    the file's path, the view, the largest number of pixels, and `arguments`. Raises `PinactorsError`
    (`not_found`)."""
    services = current_services()
    absent = PinactorsError(
        ErrorCode.NOT_FOUND, "Not found", "This analysis has no such photograph", status=404
    )
    stored = await services.records.photograph(stream_id, view)
    if stored is None:
        raise absent
    try:
        image = await trio.to_thread.run_sync(services.store.fetch, stored, limiter=services.disk)
        return await in_worker(work, image.path, View(view), services.settings.max_image_pixels, *arguments)
    except FileNotFoundError:  # removed meanwhile, by hand or because of its age
        raise absent from None
