"""An upload: its sender, and its photographs, which arrive one after another."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import trio

from pinactors.protocol import PinactorsError, View
from pinactors.storage.stored_image import StoredImage
from pinactors.tracing import NO_SPAN


class Upload:
    """Photographs that are arriving. The API is the only producer, a session's intake the consumer.

    `owner` is the id of the uploading key (empty on an open server), `session_id` the client's name for the
    session; `named` is False if the server made it, from the time in seconds. `deadline` is the sender's time
    limit in seconds from the last photograph on; it counts if it is shorter than the session's own.
    `announced` means that the client reads packets, and has the stream id, before the last photograph has
    arrived. `resumable` means that the rest of the upload can be sent to the next process. `webhook` is the
    address for the upload's events; if it is empty, that of the key is used. `key_field` is the name of the
    field with the idempotency key, for messages. `span` is the parent of the session's spans; the code that
    began it ends it, but the registry does if it refuses the upload.
    """

    def __init__(
        self,
        session_id: str,
        owner: str = "",
        idempotency_key: str | None = None,
        deadline: float = math.inf,
        *,
        named: bool = True,
        announced: bool = False,
        resumable: bool = False,
    ) -> None:
        self.session_id = session_id
        self.named = named
        self.owner = owner
        self.idempotency_key = idempotency_key
        self.deadline = deadline
        self.announced = announced
        self.resumable = resumable
        self.images: dict[View, StoredImage] = {}
        self.error: PinactorsError | None = None
        self.complete = False
        self.webhook = ""
        self.key_field = "Idempotency-Key"
        self.span = NO_SPAN
        self._fields: dict[View, str] = {}
        self._awaited: dict[View | None, trio.Event] = {}

    def put(self, view: View, image: StoredImage, field: str = "") -> None:
        """Adds a photograph that has arrived. `field` is the name of the field in which it was sent."""
        self.images[view] = image
        if field:
            self._fields[view] = field
        if view in self._awaited:
            self._awaited.pop(view).set()

    def field_of(self, view: View) -> str:
        """The name of a photograph's field, for messages; the name of its view if the field is unknown."""
        return self._fields.get(view, str(view))

    def close(self) -> None:
        """Marks the upload as complete: views that have not arrived were not sent."""
        self.complete = True
        while self._awaited:
            self._awaited.popitem()[1].set()

    def fail(self, error: PinactorsError) -> None:
        """Ends an upload whose rest cannot be received; tasks that wait for photographs get `error`."""
        self.error = error
        self.close()

    async def image(self, view: View) -> StoredImage | None:
        """Waits until `view` has arrived; None if it was not sent. Raises the upload's error."""
        await self._arrival(view)
        if view not in self.images and self.error is not None:
            raise self.error
        return self.images.get(view)

    async def wait_complete(self) -> None:
        """Waits until every photograph has arrived. Raises the upload's error."""
        await self._arrival(None)
        if self.error is not None:
            raise self.error

    async def _arrival(self, view: View | None) -> None:
        """Waits until `view` has arrived or the upload is complete; None waits only for the latter."""
        if view in self.images or self.complete:
            await trio.lowlevel.checkpoint()
        else:
            await self._awaited.setdefault(view, trio.Event()).wait()


def fingerprint_of(images: Mapping[View, StoredImage]) -> str:
    """A hash of the content: the same for the same images in the same views, however they were sent."""
    digest = hashlib.sha256()
    for view in View:
        image = images.get(view)
        digest.update(f"{view}:{image.sha256 if image else '-'};".encode())
    return digest.hexdigest()
