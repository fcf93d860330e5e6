"""Exceptions of the application's calls."""

from __future__ import annotations

from typing import Any

from tests.api.http.small import Served
from tests.api.wire import ask


class TestCrashes:
    async def test_a_handler_answers_500_and_says_nothing(self, served: Served, error_logs: Any) -> None:
        answer = await ask(served.port, "GET", "/boom")
        assert answer.status == 500
        assert answer.json()["errorCode"] == "processing_error"
        assert b"secret" not in answer.body
        assert answer.headers["access-control-allow-origin"] == "*"
        assert error_logs.take("request failed")

    async def test_a_group_of_errors_is_one_domain_error(self, served: Served) -> None:
        answer = await ask(served.port, "GET", "/group")
        assert (answer.status, answer.json()["errorCode"]) == (422, "session_conflict")

    async def test_in_the_middle_of_an_answer_it_stays_without_end(
        self, served: Served, error_logs: Any
    ) -> None:
        answer = await ask(served.port, "GET", "/broken")
        assert answer.body == b"x" * 20
        assert not answer.ended
        assert error_logs.take("request crashed")


async def test_a_calls_task_is_named_by_its_request_without_ids(served: Served) -> None:
    """Its name is logged if it holds up the event loop, and a stream's id is all that reading it takes."""
    answer = await ask(served.port, "GET", "/streams/Zm9vYmFyYmF6cXV4cXV1eA/task?after=3")
    assert answer.body == b"GET /streams/Zm9vYmFy.../task"
