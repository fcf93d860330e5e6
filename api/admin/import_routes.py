"""Routes of import folders: create, receive files, start, show and cancel."""

from __future__ import annotations

from typing import Self

import msgspec
import trio
from quart import Response, request

from pinactors.analysis.segmentation.cutout_png import cutout_png
from pinactors.api.admin.access import admin_blueprint
from pinactors.api.admin.analyses import stored
from pinactors.api.admin.answers import ImportState, ImportStates, LineProblem
from pinactors.api.admin.imports import Import
from pinactors.api.http.body import BodyReader
from pinactors.api.json_text import at_fault
from pinactors.api.operations import json_answer, object_in
from pinactors.api.page.catalogue import picture
from pinactors.api.page.results import of_photograph
from pinactors.api.services import current_services
from pinactors.catalog.importing.rows import MAX_FILE_BYTES, Problem
from pinactors.protocol import View, invalid_field

REQUEST_BYTES = 4096

blueprint = admin_blueprint("admin_imports", __name__, "/imports")


class PhotographRequest(msgspec.Struct, rename="camel"):
    """A request to put a photograph of an analysis into an import folder as `path`: cut along the pin's
    outline, or the `whole` photograph."""

    record_number: int
    view: View
    path: str
    whole: bool = False


@blueprint.get("")
async def list_all() -> Response:
    """Imports that are open or ended recently, oldest first."""
    return json_answer(ImportStates([_state(import_) for import_ in current_services().imports.list_all()]))


@blueprint.post("")
async def create() -> Response:
    """Creates an empty import folder."""
    return json_answer(_state(await current_services().imports.create()))


@blueprint.get("/<name>")
async def state(name: str) -> Response:
    return json_answer(_state(current_services().imports.find(name)))


@blueprint.put("/<name>/files/<path:path>")
async def receive(name: str, path: str) -> Response:
    """Receives a file of the folder."""
    services = current_services()
    import_ = services.imports.find(name)
    await services.imports.receive(import_, path, BodyReader(request, services.settings, MAX_FILE_BYTES))
    return json_answer(_state(import_))


@blueprint.post("/<name>/photographs")
async def photograph(name: str) -> Response:
    """Puts a photograph of an analysis into the folder and returns the picture."""
    services = current_services()
    import_ = services.imports.find(name)
    body = await BodyReader(request, services.settings, REQUEST_BYTES).whole()
    try:
        photograph_request = msgspec.convert(object_in(body, "path"), PhotographRequest)
    except msgspec.ValidationError as error:
        raise invalid_field(*at_fault(error)) from None
    stream_id = (await stored(photograph_request.record_number)).stream_id
    content, _ = await of_photograph(stream_id, photograph_request.view, cutout_png, photograph_request.whole)
    await services.imports.receive(
        import_,
        photograph_request.path,
        BodyReader(_BytesBody(content), services.settings, len(content)),
    )
    return picture(content, "image/png", "no-store")


@blueprint.post("/<name>/start")
async def start(name: str) -> Response:
    services = current_services()
    import_ = services.imports.find(name)
    await services.imports.start(import_)
    return json_answer(_state(import_))


@blueprint.delete("/<name>")
async def cancel(name: str) -> Response:
    """Cancels an import; rows that are in the catalogue already stay there."""
    services = current_services()
    import_ = services.imports.find(name)
    await services.imports.cancel(import_)
    return json_answer(_state(import_))


class _BytesBody:
    """A file made by the server, in the form of a request's body."""

    def __init__(self, content: bytes) -> None:
        self.content_length = len(content)
        self._left = [content]

    @property
    def body(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _state(import_: Import) -> ImportState:
    report = import_.report
    counts = {}
    if report is not None:
        counts = {name: getattr(report, name) for name in ("added", "updated", "unchanged", "sales", "size")}
        counts |= {"replaced": report.sales_replaced}
        counts |= {"problems": import_.left_out, "warnings": import_.warned}
    return ImportState(
        import_.id,
        import_.state,
        len(import_.files),
        import_.size,
        import_.done,
        import_.total,
        import_.wrong,
        counts,
        _lines(report.problems if report is not None else []),
        _lines(report.warnings if report is not None else []),
    )


def _lines(problems: list[Problem]) -> list[LineProblem]:
    return [LineProblem(problem.file, problem.line, problem.message) for problem in problems]
