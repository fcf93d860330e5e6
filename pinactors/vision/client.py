"""The client of the vision server: one request per question, within budgets. Answers are cached by their
photographs."""

from __future__ import annotations

import ssl
import time
from collections import Counter, OrderedDict, deque
from typing import Any

import httpx  # noqa: ASYNC127 - its trio backend

from pinactors.pipeline.declaration import StepSkipped
from pinactors.protocol import Suggestion
from pinactors.settings import Settings
from pinactors.vision import answers
from pinactors.vision.question import Question

BODY_LIMIT = 64 * 1024
"""Largest answer in bytes; a real one has fewer than five thousand."""

ANSWERS_KEPT = 10_000
"""Most answers that are kept in memory, of a few hundred bytes each."""

DAY, MINUTE = 86_400.0, 60.0

LONGEST_HOLD = 3600.0
"""Longest time in seconds for which a `Retry-After` is obeyed."""


class VisionUnavailable(Exception):
    """The server gave no usable answer."""


class Budget:
    """Counts the questions of the last minute and the last day, in total and per key, and limits them. Times
    are on a monotonic clock."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._minute: deque[float] = deque()
        self._day: deque[tuple[float, str]] = deque()
        self._of: Counter[str] = Counter()

    def take(self, owner: str, now: float) -> None:
        """Counts one question. Raises `StepSkipped` if a limit is reached."""
        while self._minute and self._minute[0] <= now - MINUTE:
            self._minute.popleft()
        while self._day and self._day[0][0] <= now - DAY:
            self._of[self._day.popleft()[1]] -= 1
        settings = self._settings
        if len(self._minute) >= settings.vision_per_minute:
            raise StepSkipped("the budget of this minute is spent")
        if len(self._day) >= settings.vision_per_day:
            raise StepSkipped("the budget of this day is spent")
        if owner and self._of[owner] >= settings.vision_per_key_per_day:
            raise StepSkipped("this key's budget of this day is spent")
        self._minute.append(now)
        self._day.append((now, owner))
        self._of[owner] += 1


class VisionClient:
    """Asks the vision server; used in one loop only. `suggestions` is the function of a shared step."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = settings.vision_url.rstrip("/") + "/chat/completions"
        self._budget = Budget(settings)
        self._kept: OrderedDict[str, list[Suggestion]] = OrderedDict()
        self._held_until = 0.0
        self._context: ssl.SSLContext | None = None

    async def suggestions(self, context: Any, question: Question | None, owner: str) -> list[Suggestion]:
        """The suggestions for a question; none if `question` is None. Raises `VisionUnavailable`,
        `ValueError` for an invalid answer, `httpx.HTTPError`, and `StepSkipped` if no question may be sent
        at present."""
        if question is None:
            return []
        if question.key in self._kept:
            self._kept.move_to_end(question.key)
            return self._kept[question.key]
        now = time.monotonic()
        if now < self._held_until:
            raise StepSkipped("the vision server asked for a pause")
        self._budget.take(owner, now)
        found = answers.suggestions(await self._ask(question), self._settings.vision_model)
        self._kept[question.key] = found
        if len(self._kept) > ANSWERS_KEPT:
            self._kept.popitem(last=False)
        return found

    async def _ask(self, question: Question) -> bytes:
        """Sends the request and returns the body of a successful answer. The size of the answer is limited
        here, its time by the scope of the step."""
        settings = self._settings
        headers = {"Authorization": f"Bearer {settings.vision_key}"} if settings.vision_key else {}
        body = answers.request(question, settings.vision_model)
        async with (
            httpx.AsyncClient(timeout=None, verify=self._certificates()) as client,
            client.stream("POST", self._url, json=body, headers=headers) as response,
        ):
            if response.status_code != 200:
                self._note_limits(response)
                raise VisionUnavailable(f"the vision server answered {response.status_code}")
            received, size = bytearray(), 0
            async for piece in response.aiter_bytes():  # to the end; the time limit ends an endless answer
                size += len(piece)
                if size <= BODY_LIMIT:
                    received += piece
            if size > BODY_LIMIT:
                raise VisionUnavailable(f"the answer is longer than {BODY_LIMIT} bytes")
            return bytes(received)

    def _certificates(self) -> ssl.SSLContext | bool:
        """The trusted certificate authorities, read once; False if the URL does not use TLS."""
        if self._context is None and self._url.startswith("https:"):
            self._context = ssl.create_default_context()
        return self._context if self._context is not None else False

    def _note_limits(self, response: httpx.Response) -> None:
        """Sends no questions until the time that the server's `Retry-After` names."""
        wait = response.headers.get("Retry-After", "")
        if response.status_code in (429, 503) and wait.isascii() and wait.isdigit():
            self._held_until = time.monotonic() + min(float(wait), LONGEST_HOLD)
