"""Tests of analyses in this process, to which a server's limits do not apply."""

from __future__ import annotations

from pinactors.cli.analyze import local
from pinactors.settings import Settings


def test_how_busy_the_machine_is_changes_no_answer_of_a_set() -> None:
    """Neither the deadline for a waiting client nor failures of other photo sets lead to basic analysis."""
    given = Settings(deadline=5.0, basic_reserve=2.0, breaker_failures=1, max_sessions=1)
    unhurried = local.unhurried(given, 40)
    assert unhurried.deadline >= 3600
    assert unhurried.breaker_failures > 40
    assert unhurried.max_sessions > 40
    assert local.unhurried(Settings(deadline=7200.0), 1).deadline == 7200
