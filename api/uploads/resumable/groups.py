"""Groups of tus uploads that belong to one session.

Each tus upload is one photograph; photographs with the same session id form a group. The session is opened
when the first upload is created, before any of its bytes is in, so that the client can read packets while it
sends.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from pinactors.api.errors import broken_off
from pinactors.api.http.body import too_large
from pinactors.api.services import Services
from pinactors.api.uploads.mobile_upload import named_webhook
from pinactors.api.uploads.resumable.refusals import Withdrawn
from pinactors.api.uploads.resumable.tus_headers import PhotographMetadata, photograph
from pinactors.api.uploads.resumable.upload import Description, LastArrival, PartialUpload
from pinactors.api.uploads.resumable.uploads import PartialUploads
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, View, check_session_id, stream_not_found
from pinactors.storage.images import Lease
from pinactors.storage.metadata import clean_file
from pinactors.storage.stored_image import StoredImage

PROTOCOL = "tus"


class Group:
    """The photographs of one session. `members` are their uploads, by view."""

    def __init__(self, name: str, upload: Upload, log: PacketLog) -> None:
        self.name, self.upload, self.log = name, upload, log
        self.members: dict[View, PartialUpload] = {}
        self._last_arrival = LastArrival(-math.inf)

    def add(self, upload: PartialUpload) -> None:
        self.members[View(upload.description.view)] = upload
        self._last_arrival.at = max(self._last_arrival.at, upload.last_arrival.at)
        upload.last_arrival = self._last_arrival
        upload.announced_stream = self.log.stream_id

    @property
    def open(self) -> bool:
        """Whether another photograph can be added."""
        return not self.upload.complete and not self.log.closed

    def close_if_complete(self) -> None:
        """Closes the session's upload if the last photograph was announced, or all views are there, and every
        photograph has arrived."""
        members = self.members.values()
        announced = any(member.description.last for member in members) or len(self.members) == len(View)
        if announced and self.open and all(view in self.upload.images for view in self.members):
            self.upload.close()

    def remove_upload(self, upload: PartialUpload, error: PinactorsError) -> None:
        """Removes an upload that will not be completed. Fails the session, unless the client withdrew this
        photograph and others are left."""
        view = View(upload.description.view)
        if self.members.get(view) is not upload:  # another upload has replaced it
            return
        del self.members[view]
        if self.open and (not self.members or not isinstance(error, Withdrawn)):
            self.upload.fail(error)
        else:
            self.close_if_complete()

    async def wait_over(self, upload: PartialUpload) -> None:
        """For the receiver of `upload`, whose photograph is in: waits until all photographs are in, or the
        session ends without them. Raises `PinactorsError` if this photograph, or the whole upload of the
        session, is given up."""
        async with trio.open_nursery() as nursery:

            async def end_with(wait: Callable[[], Awaitable[None]]) -> None:
                with suppress(PinactorsError):  # raised below, not in a group
                    await wait()
                nursery.cancel_scope.cancel()

            for wait in (self.upload.wait_complete, self.log.wait_closed, upload.wait_failed):
                nursery.start_soon(end_with, wait)
        error = upload.failure if self.open else self.upload.error
        if error is not None:
            raise error


class Groups:
    """The incomplete groups of this process."""

    def __init__(self, services: Services, uploads: PartialUploads) -> None:
        self._services, self._uploads = services, uploads
        self._by_name: dict[str, Group] = {}
        self._opening = trio.Lock()

    async def join(
        self,
        owner: str,
        photograph: PhotographMetadata,
        metadata: str,
        length: int,
        correlation: dict[str, str],
    ) -> PartialUpload:
        """Creates an upload for `photograph` in its group; `correlation` is the request's. Raises
        `PinactorsError`."""
        # Checked before a session is opened, but set by `receive`, also for uploads of an earlier process.
        named_webhook(photograph.webhook, self._services.settings, owner)
        async with self._opening:
            with self._ending_empty_groups():
                group = await self._choose_group(owner, photograph, correlation)
                limit = self._services.settings.max_request_bytes
                total = length + sum(member.description.length or 0 for member in group.members.values())
                if total > limit:
                    raise too_large(limit)
                description = Description(
                    protocol=PROTOCOL,
                    owner=owner,
                    session_id=group.upload.session_id,
                    idempotency_key=_key(group.name),
                    named=photograph.session_id is not None,
                    length=length,
                    view=photograph.view,
                    group=group.name,
                    last=photograph.last,
                    metadata=metadata,
                    correlation=correlation,
                )
                upload = await self._uploads.create(description)
            group.add(upload)
        self._uploads.receive(upload)
        return upload

    async def receive(self, upload: PartialUpload) -> PacketLog:
        """The receiver of such uploads: stores the photograph and returns once the whole group is in."""
        while True:
            async with self._opening:
                group = await self._group_of(upload)
            try:
                return await self._receive_in(group, upload)
            except PinactorsError as error:
                group.remove_upload(upload, error)
                if upload.failure is not None or self._by_name.get(group.name) in (None, group):
                    raise
                # Another session has replaced the one that has failed, and needs this photograph too.
            finally:
                self._forget_if_closed(group)

    async def _receive_in(self, group: Group, upload: PartialUpload) -> PacketLog:
        view = View(upload.description.view)
        self._set_webhook(group, upload)
        await upload.finish_at_length()  # an earlier process may have ended before it could
        await upload.wait_complete()
        with self._services.store.leasing() as lease:
            image = await upload.read_on_disk(lambda: _take_in(lease, upload.path))
            group.upload.put(view, image, str(view))
            group.close_if_complete()
            await group.wait_over(upload)
            return await self._services.registry.answer(group.upload, group.log)

    def _forget_if_closed(self, group: Group) -> None:
        if not group.open:
            if self._by_name.get(group.name) is group:
                del self._by_name[group.name]
            group.upload.span.end(group.upload.error)

    @contextmanager
    def _ending_empty_groups(self) -> Iterator[None]:
        """Ends the sessions of groups that are left without photographs when the creation of one fails, also
        by a cancellation: the session was opened for it, or it replaces one that was just removed."""
        try:
            yield
        except BaseException as error:
            for group in [group for group in self._by_name.values() if group.open and not group.members]:
                group.upload.fail(error if isinstance(error, PinactorsError) else broken_off())
                self._forget_if_closed(group)
            raise

    async def _choose_group(
        self, owner: str, photograph: PhotographMetadata, correlation: dict[str, str]
    ) -> Group:
        """The group with the named stream, or with the same session id, that lacks this view; else a new
        group. Raises `PinactorsError` (404, 409)."""
        open_groups = [
            group for group in self._by_name.values() if group.upload.owner == owner and group.open
        ]
        if photograph.stream is not None:
            matching = [group for group in open_groups if group.log.stream_id == photograph.stream]
            if not matching:
                raise stream_not_found()
        else:
            matching = [
                group
                for group in open_groups
                if photograph.session_id is not None and group.upload.session_id == photograph.session_id
            ]
        candidates = [group for group in matching if await self._lacks(group, photograph.view)]
        if len(candidates) > 1 or (not candidates and photograph.stream is not None):
            raise PinactorsError(
                ErrorCode.SESSION_CONFLICT,
                "Session id is not unique",
                "Several uploads have this sessionId, or the named one already has this photograph: "
                "name the right one with stream in Upload-Metadata",
                status=409,
            )
        return (
            candidates[0]
            if candidates
            else await self._open(secrets.token_urlsafe(12), owner, photograph.session_id, correlation)
        )

    async def _lacks(self, group: Group, view: View) -> bool:
        """Whether the group lacks `view`. Removes an upload of that view without any bytes: its client has
        lost its URL. A photograph that was removed after it had arrived is not lacking: it is being
        analysed."""
        member = group.members.get(view)
        if member is not None and member.offset == 0 and not member.busy:
            group.members.pop(view)
            await self._uploads.remove(member)
            member = None
        return member is None and view not in group.upload.images

    async def _group_of(self, upload: PartialUpload) -> Group:
        """The group of `upload`. Opens it, with all its uploads, if an earlier process began them, or if its
        session has failed."""
        description = upload.description
        group = self._by_name.get(description.group)
        if group is None:
            group = await self._open(
                description.group, description.owner, description.session_id, description.correlation
            )
            for member in self._uploads.unanswered(description.group, description.owner):
                group.add(member)
        group.add(upload)
        return group

    def _set_webhook(self, group: Group, upload: PartialUpload) -> None:
        description = upload.description
        named = photograph(description.metadata).webhook
        webhook = named_webhook(named, self._services.settings, description.owner)
        group.upload.webhook = webhook or group.upload.webhook

    async def _open(
        self, name: str, owner: str, session_id: str | None, correlation: dict[str, str]
    ) -> Group:
        span = self._services.tracing.begin("upload", correlation.items())
        unfinished = self._services.registry.unfinished(owner, _key(name))
        if unfinished is None:
            upload = Upload(check_session_id(session_id), owner, _key(name), announced=True, resumable=True)
            upload.span = span
            log = await self._services.registry.open(upload)
        else:
            upload, log = unfinished
            upload.announced, upload.span = True, span
        group = self._by_name[name] = Group(name, upload, log)
        return group


def _key(group: str) -> str:
    return f"tus:{group}"


def _take_in(lease: Lease, path: Path) -> StoredImage:
    """Adds the photograph, without its metadata, to the store by a hard link, or a copy if that fails; the
    upload's own file stays unchanged until the upload's bytes are removed."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    spooled = lease.ready_spool() / secrets.token_hex(16)
    try:
        os.link(path, spooled)
    except OSError:  # the store is on another file system
        shutil.copyfile(path, spooled)
    try:
        return lease.take_in(spooled, digest, clean_file(spooled))
    except BaseException:
        with suppress(FileNotFoundError):
            spooled.unlink()
        raise
