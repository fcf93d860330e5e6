"""Routes of import folders: create, receive files, start, show and cancel."""

from __future__ import annotations

from typing import Self

import msgspec
import trio
from quart import Response, request

from pinactors.analysis.imaging.cutout_png import cutout_png
from pinactors.api.admin.access import admin_blueprint
from pinactors.api.admin.analyses import stored
from pinactors.api.admin.answers import ImportState, ImportStates, LineProblem
from pinactors.api.admin.imports import Import
from pinactors.api.http.body import BodyReader
from pinactors.api.operations import json_answer
from pinactors.api.page.catalogue import picture
from pinactors.api.page.results import of_photograph
from pinactors.api.services import services
from pinactors.catalog.importing.rows import MAX_FILE_BYTES, Problem
from pinactors.protocol import ErrorCode, PinactorsError, View

REQUEST_BYTES = 4096

blueprint = admin_blueprint("admin_imports", __name__, "/imports")


class Wanted(msgspec.Struct, rename="camel"):
    """A request to put a photograph of an analysis into an import folder as `path`: cut along the pin's
    outline, or the `whole` photograph."""

    record_number: int
    view: View
    path: str
    whole: bool = False


@blueprint.get("")
async def every() -> Response:
    """Imports that are open or ended recently, oldest first."""
    return json_answer(ImportStates([_state(one) for one in services().imports.every()]))


@blueprint.post("")
async def create() -> Response:
    """Creates an empty import folder."""
    return json_answer(_state(await services().imports.create()))


@blueprint.get("/<name>")
async def state(name: str) -> Response:
    return json_answer(_state(services().imports.find(name)))


@blueprint.put("/<name>/files/<path:path>")
async def receive(name: str, path: str) -> Response:
    """Receives a file of the folder."""
    given = services()
    one = given.imports.find(name)
    await given.imports.receive(one, path, BodyReader(request, given.settings, MAX_FILE_BYTES))
    return json_answer(_state(one))


@blueprint.post("/<name>/photographs")
async def photograph(name: str) -> Response:
    """Puts a photograph of an analysis into the folder and returns the picture."""
    given = services()
    one = given.imports.find(name)
    body = await BodyReader(request, given.settings, REQUEST_BYTES).whole()
    try:
        wanted = msgspec.json.decode(body, type=Wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PinactorsError(ErrorCode.INVALID_FORMAT, "Invalid request", str(error)) from None
    stream_id = (await stored(wanted.record_number)).stream_id
    content, _ = await of_photograph(stream_id, wanted.view, cutout_png, wanted.whole)
    await given.imports.receive(one, wanted.path, BodyReader(_Made(content), given.settings, len(content)))
    return picture(content, "image/png", "no-store")


@blueprint.post("/<name>/start")
async def start(name: str) -> Response:
    given = services()
    one = given.imports.find(name)
    await given.imports.start(one)
    return json_answer(_state(one))


@blueprint.delete("/<name>")
async def cancel(name: str) -> Response:
    """Cancels an import; rows that are in the catalogue already stay there."""
    given = services()
    one = given.imports.find(name)
    await given.imports.cancel(one)
    return json_answer(_state(one))


class _Made:
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


def _state(one: Import) -> ImportState:
    report = one.report
    counts = {}
    if report is not None:
        counts = {name: getattr(report, name) for name in ("added", "updated", "unchanged", "sales", "size")}
        counts |= {"problems": one.left_out, "warnings": one.reserved}
    return ImportState(
        one.id,
        one.state,
        len(one.files),
        one.size,
        one.done,
        one.total,
        one.wrong,
        counts,
        _lines(report.problems if report is not None else []),
        _lines(report.warnings if report is not None else []),
    )


def _lines(problems: list[Problem]) -> list[LineProblem]:
    return [LineProblem(problem.file, problem.line, problem.message) for problem in problems]
