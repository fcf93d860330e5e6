"""The SQL statements of the packet log. Each function runs in a transaction of its caller, on a thread.

Only its holder writes to a session's log: every write names the holder and the fence under which it took the
session, and has no effect after another master has taken the session over with a higher fence. The lock on
the row orders such a write and a takeover. All times are the database's, so that masters' clocks may differ.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from pinactors.storage.logs.packet_logs import Entry

CHANNEL = "pinactors_log"
"""The one notification channel: with a channel per session PostgreSQL hardly gets any work done at 1,000
listeners. The payload is a stream id, or `cancel` and a stream id, or `free`."""

_ORPHANED = (
    "NOT finished AND (holder IS NULL OR holder NOT IN (SELECT id FROM alive) "
    "OR (holder = %(master)s AND stream_id = ANY(%(unknown)s::text[])))"
)
"""Condition for a session to take over: no living master holds it; or this master holds it without having
received the database's answer."""

_TAKE = (
    "UPDATE log_session SET holder = %(master)s, fence = fence + 1, touched = now() "
    "FROM taken WHERE log_session.stream_id = taken.stream_id "
    "RETURNING log_session.stream_id, log_session.owner, log_session.fence, log_session.cancelled, "
    "extract(epoch FROM now() - taken.touched)::double precision"
)
"""Takes over the sessions in `taken`, whose rows are locked."""

Taken = tuple[str, str, int, bool, float]
"""A session that was taken over: stream id, owner, new fence, whether it was cancelled, and seconds since its
last entry."""

LEASE_SECONDS = 3.0
"""How long a master counts as alive after its last renewal of the lease."""


def heartbeat(connection: Any, master: str) -> bool:
    """Renews the master's lease. Returns False if the lease had ended before."""
    row = connection.execute(
        "INSERT INTO log_master (id, alive_until) VALUES (%(id)s, now() + %(lease)s * interval '1 second') "
        "ON CONFLICT (id) DO UPDATE SET alive_until = EXCLUDED.alive_until "
        "RETURNING (SELECT alive_until > now() FROM log_master WHERE id = %(id)s)",
        {"id": master, "lease": LEASE_SECONDS},
    ).fetchone()
    return row[0] is not False


def leave(connection: Any, master: str) -> None:
    """Deletes the master's lease and releases its sessions for other masters."""
    connection.execute("DELETE FROM log_master WHERE id = %s", [master])
    connection.execute("UPDATE log_session SET holder = NULL WHERE holder = %s AND NOT finished", [master])
    _notify(connection, "free")


def create_again(connection: Any, owner: str, stream_id: str, master: str, fence: int) -> None:
    """Inserts the row of a session again, in case a crash of the database lost it. Does nothing if the
    master's lease has ended: another master may have taken the session over, finished it and removed it."""
    connection.execute(
        "INSERT INTO log_session (stream_id, owner, holder, fence) SELECT %s, %s, id, %s FROM log_master "
        "WHERE id = %s AND alive_until > now() ON CONFLICT DO NOTHING",
        [stream_id, owner, fence, master],
    )


def append(
    connection: Any,
    stream_id: str,
    master: str,
    fence: int,
    first: int,
    entries: Sequence[Entry],
    *,
    notify: bool = True,
    new_of: str | None = None,
) -> bool:
    """Stores a session's entries under the numbers from `first` on, skipping numbers that exist; returns
    whether this master still holds the session. One statement.

    With `new_of` (the owner) the session's row is inserted first unless it exists.

    `notify` must be False if the commit waits for the disk: PostgreSQL commits transactions that notify one
    after another, under one lock of the whole server, so that the packets of all masters would wait for the
    disk as well.
    """
    held = (
        "SELECT stream_id FROM log_session "
        "WHERE stream_id = %(stream)s AND holder = %(master)s AND fence = %(fence)s FOR SHARE"
    )
    sessions = f"held AS ({held})"
    if new_of is not None:
        sessions = (  # a row inserted by this statement is not visible to the SELECT beside it
            "made AS (INSERT INTO log_session (stream_id, owner, holder, fence) "  # noqa: S608 - of constants
            "VALUES (%(stream)s, %(owner)s, %(master)s, %(fence)s) "
            "ON CONFLICT DO NOTHING RETURNING stream_id), "
            f"there AS ({held}), held AS (SELECT stream_id FROM made UNION ALL SELECT stream_id FROM there)"
        )
    answer = "pg_notify(%(channel)s, stream_id)" if notify else "1"
    row = connection.execute(
        f"WITH {sessions}, "  # noqa: S608 - of constants
        "written AS (INSERT INTO log_entry (stream_id, number, kind, body) "
        "SELECT held.stream_id, entry.number, entry.kind, entry.body FROM held, "
        "unnest(%(numbers)s::integer[], %(kinds)s::text[], %(bodies)s::bytea[]) AS entry(number, kind, body) "
        "ON CONFLICT DO NOTHING) "
        f"SELECT {answer} FROM held",
        {
            "stream": stream_id,
            "owner": new_of,
            "master": master,
            "fence": fence,
            "numbers": list(range(first, first + len(entries))),
            "kinds": [entry.kind for entry in entries],
            "bodies": [entry.body for entry in entries],
            "channel": CHANNEL,
        },
    ).fetchone()
    return row is not None


def finish(connection: Any, stream_id: str, master: str, fence: int) -> None:
    """Marks the session as finished and notifies its readers of the last packet. The log can be read until it
    expires."""
    connection.execute(
        "WITH finished AS (UPDATE log_session SET finished = true, touched = now() "
        "WHERE stream_id = %s AND holder = %s AND fence = %s RETURNING stream_id) "
        "SELECT pg_notify(%s, stream_id) FROM finished",
        [stream_id, master, fence, CHANNEL],
    )


def remove(connection: Any, stream_id: str, master: str, fence: int) -> None:
    connection.execute(
        "DELETE FROM log_session WHERE stream_id = %s AND holder = %s AND fence = %s",
        [stream_id, master, fence],
    )
    connection.execute("DELETE FROM log_claim WHERE stream_id = %s", [stream_id])
    _notify(connection, stream_id)


def release(connection: Any, fences: Mapping[str, int], master: str) -> None:
    """Releases sessions for other masters. Each is released only under the given fence: this master may have
    taken it over again, with a higher one."""
    connection.execute(
        "UPDATE log_session SET holder = NULL "
        "FROM unnest(%s::text[], %s::bigint[]) AS given(stream_id, fence) "
        "WHERE log_session.stream_id = given.stream_id AND log_session.fence = given.fence "
        "AND holder = %s AND NOT finished",
        [list(fences), list(fences.values()), master],
    )
    _notify(connection, "free")


def inherit(connection: Any, earlier: Sequence[str], master: str) -> list[Taken]:
    """Takes over all sessions of `earlier` masters, which have ended although their leases may not, and those
    that were released. Another master may do so at the same time."""
    connection.execute("DELETE FROM log_master WHERE id = ANY(%s)", [list(earlier)])
    rows = connection.execute(
        "WITH taken AS (SELECT stream_id, touched FROM log_session "  # noqa: S608 - of constants
        "WHERE NOT finished AND (holder IS NULL OR holder = ANY(%(earlier)s)) "
        f"ORDER BY stream_id FOR UPDATE) {_TAKE}",
        {"earlier": list(earlier), "master": master},
    ).fetchall()
    return [tuple(row) for row in rows]


def take_over(connection: Any, master: str, held: Container[str]) -> list[Taken]:
    """Takes over this master's share of the sessions that no living master holds. Another master may take its
    share at the same time.

    `held` contains the sessions that this master holds. It is read after their rows: a session is in it
    before it has a row, so that a session that begins meanwhile does not count as unknown.
    """
    own = connection.execute(
        "SELECT stream_id FROM log_session WHERE holder = %s AND NOT finished", [master]
    ).fetchall()
    unknown = [stream_id for (stream_id,) in own if stream_id not in held]
    rows = connection.execute(
        "WITH alive AS (SELECT id FROM log_master WHERE alive_until > now()), "  # noqa: S608 - of constants
        "share AS (SELECT ceil(count(*)::numeric / greatest(1, (SELECT count(*) FROM alive)))::bigint "
        "AS size "
        f"FROM log_session WHERE {_ORPHANED}), "
        "taken AS (SELECT stream_id, touched FROM log_session "
        f"WHERE {_ORPHANED} "
        f"LIMIT (SELECT size FROM share) FOR UPDATE SKIP LOCKED) {_TAKE}",
        {"master": master, "unknown": unknown},
    ).fetchall()
    return [tuple(row) for row in rows]


def entries(connection: Any, firsts: Mapping[str, int]) -> dict[str, list[Entry]]:
    """The entries of each stream from its given number on. Streams without a log are left out.

    `OFFSET 0` keeps PostgreSQL from turning the two look-ups into joins: with one plan for any number of
    streams it would read a whole table even for one stream.
    """
    rows = connection.execute(
        "SELECT asked.stream_id, kind, body "
        "FROM unnest(%s::text[], %s::integer[]) AS asked(stream_id, first) "
        "CROSS JOIN LATERAL (SELECT FROM log_session WHERE stream_id = asked.stream_id OFFSET 0) AS known "
        "LEFT JOIN LATERAL (SELECT number, kind, body FROM log_entry WHERE stream_id = asked.stream_id "
        "AND number >= asked.first OFFSET 0) AS entry ON true ORDER BY number",
        [list(firsts), list(firsts.values())],
    ).fetchall()
    found: dict[str, list[Entry]] = {stream_id: [] for stream_id, _, _ in rows}
    for stream_id, kind, body in rows:
        if kind is not None:
            found[stream_id].append(Entry(kind, bytes(body)))
    return found


def photographs(connection: Any, *, unfinished: bool = False) -> bytes:
    """The facts that name photographs, a line of JSON each; with `unfinished` only those of unfinished
    sessions."""
    rows = connection.execute(
        "SELECT body FROM log_entry JOIN log_session USING (stream_id) WHERE kind = 'M' "
        "AND NOT (%s AND finished) AND position('\"sha256\"' in convert_from(body, 'UTF8')) > 0",
        [unfinished],
    )
    return b"\n".join(bytes(body) for (body,) in rows)


def cancel(connection: Any, stream_id: str) -> None:
    """Marks the session as cancelled, for the master that holds it now or takes it over, and notifies it."""
    connection.execute(
        "UPDATE log_session SET cancelled = true WHERE stream_id = %s AND NOT finished", [stream_id]
    )
    _notify(connection, f"cancel {stream_id}")


def cancelled(connection: Any, master: str) -> list[str]:
    """The cancelled sessions that this master holds and has not ended yet."""
    rows = connection.execute(
        "SELECT stream_id FROM log_session WHERE holder = %s AND cancelled AND NOT finished", [master]
    ).fetchall()
    return [stream_id for (stream_id,) in rows]


def claim(
    connection: Any, names: Sequence[bytes], fingerprint: str, stream_id: str
) -> tuple[str, str] | None:
    """Claims all `names` for a stream and returns None. If another stream has claimed one of them before,
    returns its id and fingerprint, and the claims of this stream are moved to it or removed."""
    # Sorted, because two uploads of the same photographs would deadlock with names in different orders.
    for name in sorted(names):
        connection.execute(
            "INSERT INTO log_claim (name, stream_id, fingerprint) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [name, stream_id, fingerprint],
        )
    row = connection.execute(
        "SELECT stream_id, fingerprint FROM log_claim WHERE name = ANY(%s) AND stream_id <> %s "
        "ORDER BY fingerprint = %s LIMIT 1",
        [list(names), stream_id, fingerprint],
    ).fetchone()
    if row is None:
        return None
    if row[1] == fingerprint:
        # An Idempotency-Key that came with a duplicate identifies the earlier upload from now on.
        connection.execute("UPDATE log_claim SET stream_id = %s WHERE stream_id = %s", [row[0], stream_id])
    else:
        connection.execute("DELETE FROM log_claim WHERE stream_id = %s", [stream_id])
    return row[0], row[1]


def forget(connection: Any, stream_id: str) -> None:
    """Removes the claims of a stream, so that no later upload counts as its duplicate."""
    connection.execute("DELETE FROM log_claim WHERE stream_id = %s", [stream_id])


def take_token(connection: Any, owner: str, per_minute: int) -> float:
    """Takes a token from the owner's bucket and returns 0; if there is none, returns the seconds until there
    is one."""
    (tokens,) = connection.execute(
        "INSERT INTO log_rate AS rate (owner, tokens, at) VALUES (%(owner)s, %(capacity)s - 1, now()) "
        "ON CONFLICT (owner) DO UPDATE SET at = now(), tokens = "
        "least(%(capacity)s, rate.tokens + extract(epoch FROM now() - rate.at) * %(capacity)s / 60) - 1 "
        "RETURNING tokens",
        {"owner": owner, "capacity": float(per_minute)},
    ).fetchone()
    if tokens >= 0:
        return 0.0
    connection.execute("UPDATE log_rate SET tokens = tokens + 1 WHERE owner = %s", [owner])
    return float(-tokens) * 60 / per_minute


def under_way(connection: Any, owner: str) -> int:
    """Number of unfinished sessions of the owner, on all masters."""
    (count,) = connection.execute(
        "SELECT count(*) FROM log_session WHERE owner = %s AND NOT finished", [owner]
    ).fetchone()
    return int(count)


def clean(connection: Any, replay: float) -> None:
    """Removes rows that have expired: finished sessions after `replay` seconds, claims after that time but at
    least an hour, and the rates and leases of owners and masters without activity for an hour."""
    old = "now() - %s * interval '1 second'"
    connection.execute(f"DELETE FROM log_session WHERE finished AND touched < {old}", [replay])  # noqa: S608 - our own text
    connection.execute(f"DELETE FROM log_claim WHERE at < {old}", [max(replay, 3600.0)])  # noqa: S608 - our own text
    connection.execute("DELETE FROM log_rate WHERE at < now() - interval '1 hour'")
    connection.execute("DELETE FROM log_master WHERE alive_until < now() - interval '1 hour'")


def _notify(connection: Any, payload: str) -> None:
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
