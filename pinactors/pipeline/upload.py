"""An upload as the pipeline sees it: who sent it, and photographs that arrive one after another."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import trio

from pinactors.protocol import PinactorsError, View
from pinactors.storage.stored_image import StoredImage
from pinactors.tracing import NO_SPAN


class Upload:
    """Photographs in arrival. The API is the one producer; a session's intake the consumer.

    `owner` is the id of the key that uploaded it (empty on an open server), `session_id` the client's name
    for the conversation. `deadline` is what is left of the sender's time, in seconds from the last photograph
    on, where that is less than a session has by itself. `announced`: the client reads its packets, and knows
    its stream, before the last photograph is in. `resumable`: its rest can come to the next process as well.
    `webhook` is where its events are sent, empty for where its key has them sent. `span` is what the spans of
    its session belong to; whoever began it ends it, unless the registry refuses the upload.
    """

    def __init__(
        self,
        session_id: str,
        owner: str = "",
        idempotency_key: str | None = None,
        deadline: float = math.inf,
        *,
        announced: bool = False,
        resumable: bool = False,
    ) -> None:
        self.session_id = session_id
        self.owner = owner
        self.idempotency_key = idempotency_key
        self.deadline = deadline
        self.announced = announced
        self.resumable = resumable
        self.images: dict[View, StoredImage] = {}
        self.error: PinactorsError | None = None
        self.complete = False
        self.webhook = ""
        self.span = NO_SPAN
        self._fields: dict[View, str] = {}
        self._awaited: dict[View | None, trio.Event] = {}

    def put(self, view: View, image: StoredImage, field: str = "") -> None:
        """A photograph is in. `field` is the name it was sent under."""
        self.images[view] = image
        if field:
            self._fields[view] = field
        if view in self._awaited:
            self._awaited.pop(view).set()

    def field_of(self, view: View) -> str:
        """What a photograph was sent as, for messages; its view where nobody said."""
        return self._fields.get(view, str(view))

    def close(self) -> None:
        """Nothing more will come: views that did not arrive were not sent."""
        self.complete = True
        while self._awaited:
            self._awaited.popitem()[1].set()

    def fail(self, error: PinactorsError) -> None:
        """The rest cannot be had; whoever waits for it gets `error`."""
        self.error = error
        self.close()

    async def image(self, view: View) -> StoredImage | None:
        """Waits until `view` has arrived; None when it was not sent. Raises the upload's error."""
        await self._arrival(view)
        if view not in self.images and self.error is not None:
            raise self.error
        return self.images.get(view)

    async def wait_complete(self) -> None:
        """Waits until every photograph is in. Raises the upload's error."""
        await self._arrival(None)
        if self.error is not None:
            raise self.error

    async def _arrival(self, view: View | None) -> None:
        """Of a view, or of the last one."""
        if view in self.images or self.complete:
            await trio.lowlevel.checkpoint()
        else:
            await self._awaited.setdefault(view, trio.Event()).wait()

    def fingerprint(self) -> str:
        return fingerprint(self.images)


def fingerprint(images: Mapping[View, StoredImage]) -> str:
    """Names the content: equal for the same images in the same views, whatever carried them."""
    digest = hashlib.sha256()
    for view in View:
        image = images.get(view)
        digest.update(f"{view}:{image.sha256 if image else '-'};".encode())
    return digest.hexdigest()
