"""Base class of response bodies that are made while they are sent."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from quart.wrappers.response import ResponseBody


class Pieces(ResponseBody):
    """A body that is sent piece by piece, and releases its resources however it ends.

    `open` enters the contexts that the body needs on a stack, which is closed when the body is sent or the
    client has disconnected; `__anext__` makes the next piece.
    """

    _stack: AsyncExitStack

    @abstractmethod
    async def open(self, stack: AsyncExitStack) -> None: ...

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self.open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc_value, tb)  # noqa: ASYNC102 - closes, waits for nothing

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> bytes: ...
