"""What the packet log says to PostgreSQL. Each function runs inside a transaction of its caller, on a thread.

A session's log is written by its holder alone: every write names the holder and the fence under which it took
the session, and comes to nothing once another master has taken it over with a higher one. The row's lock
makes sure that one of the two is first. Time is the database's: masters' clocks need not agree.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from pinactors.storage.logs.packet_logs import Entry

CHANNEL = "pinactors_log"
"""One channel for everything: a channel a session collapses at 1,000 listeners. The payload is a stream id,
or `cancel` and a stream id, or `free`."""

_ORPHANED = (
    "NOT finished AND (holder IS NULL OR holder NOT IN (SELECT id FROM alive) "
    "OR (holder = %(master)s AND stream_id = ANY(%(unknown)s::text[])))"
)
"""Nobody alive holds it; or this master does and does not know, as the database's answer was lost."""

LEASE_SECONDS = 3.0
"""How long a master that says nothing counts as alive."""


def beat(connection: Any, master: str) -> bool:
    """Renews the master's lease; whether it was still valid."""
    row = connection.execute(
        "INSERT INTO log_master (id, alive_until) VALUES (%(id)s, now() + %(lease)s * interval '1 second') "
        "ON CONFLICT (id) DO UPDATE SET alive_until = EXCLUDED.alive_until "
        "RETURNING (SELECT alive_until > now() FROM log_master WHERE id = %(id)s)",
        {"id": master, "lease": LEASE_SECONDS},
    ).fetchone()
    return row[0] is not False


def leave(connection: Any, master: str) -> None:
    """The master is gone: its sessions are anybody's."""
    connection.execute("DELETE FROM log_master WHERE id = %s", [master])
    connection.execute("UPDATE log_session SET holder = NULL WHERE holder = %s AND NOT finished", [master])
    _notify(connection, "free")


def create(connection: Any, owner: str, stream_id: str, master: str, fence: int) -> None:
    """Nothing happens where it is there already."""
    connection.execute(
        "INSERT INTO log_session (stream_id, owner, holder, fence) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT DO NOTHING",
        [stream_id, owner, master, fence],
    )


def create_again(connection: Any, owner: str, stream_id: str, master: str, fence: int) -> None:
    """Should a crash of the database have taken it. Not for a master whose lease has run out: then it may
    have been taken over, brought to its end, and removed."""
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
    notify: bool = True,
) -> bool:
    """Entries from number `first` on; those that are there already are these. Whether the log is still held.

    Not to `notify` where the commit waits for the disk: PostgreSQL commits whatever notifies one after the
    other, under a lock on the whole server, and all masters' packets would wait for that disk as well.
    """
    answer = "pg_notify(%(channel)s, stream_id)" if notify else "1"
    row = connection.execute(
        "WITH held AS (SELECT stream_id FROM log_session "  # noqa: S608 - of constants
        "WHERE stream_id = %(stream)s AND holder = %(master)s AND fence = %(fence)s FOR SHARE), "
        "written AS (INSERT INTO log_entry (stream_id, number, kind, body) "
        "SELECT held.stream_id, entry.number, entry.kind, entry.body FROM held, "
        "unnest(%(numbers)s::integer[], %(kinds)s::text[], %(bodies)s::bytea[]) AS entry(number, kind, body) "
        "ON CONFLICT DO NOTHING) "
        f"SELECT {answer} FROM held",
        {
            "stream": stream_id,
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
    """Nothing is left to be done: the log is there for readers, who are told of its last packet, until it is
    too old."""
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
    """Anybody may take these sessions over, each held under its fence: this master may hold it under a higher
    one by now."""
    connection.execute(
        "UPDATE log_session SET holder = NULL "
        "FROM unnest(%s::text[], %s::bigint[]) AS given(stream_id, fence) "
        "WHERE log_session.stream_id = given.stream_id AND log_session.fence = given.fence "
        "AND holder = %s AND NOT finished",
        [list(fences), list(fences.values()), master],
    )
    _notify(connection, "free")


def take_over(connection: Any, master: str, held: Container[str]) -> list[tuple[str, str, int, bool, float]]:
    """This master's share of the sessions nobody alive holds: stream id, owner, new fence, whether it was
    cancelled, and seconds since its last entry. Another master takes its share at the same time.

    `held` has those this master knows that it holds. It is looked at once their rows have been read: a
    session is in it before it has a row, so that none that begins meanwhile is taken for an unknown one.
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
        "LIMIT (SELECT size FROM share) FOR UPDATE SKIP LOCKED) "
        "UPDATE log_session SET holder = %(master)s, fence = fence + 1, touched = now() "
        "FROM taken WHERE log_session.stream_id = taken.stream_id "
        "RETURNING log_session.stream_id, log_session.owner, log_session.fence, log_session.cancelled, "
        "extract(epoch FROM now() - taken.touched)::double precision",
        {"master": master, "unknown": unknown},
    ).fetchall()
    return [tuple(row) for row in rows]


def entries(connection: Any, firsts: Mapping[str, int]) -> dict[str, list[Entry]]:
    """Of each stream those from the number on that is given for it. A stream without a log is left out.

    `OFFSET 0` keeps PostgreSQL from making joins of the two look-ups: planned once, for any number of
    streams, it would read all of a table for the sake of one.
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


def photographs(connection: Any) -> list[bytes]:
    """The facts in which photographs are named."""
    rows = connection.execute(
        "SELECT body FROM log_entry WHERE kind = 'M' "
        "AND position('\"sha256\"' in convert_from(body, 'UTF8')) > 0"
    )
    return [bytes(body) for (body,) in rows]


def cancel(connection: Any, stream_id: str) -> None:
    """Tells whoever holds the session, now or next."""
    connection.execute(
        "UPDATE log_session SET cancelled = true WHERE stream_id = %s AND NOT finished", [stream_id]
    )
    _notify(connection, f"cancel {stream_id}")


def claim(
    connection: Any, names: Sequence[bytes], fingerprint: str, stream_id: str
) -> tuple[str, str] | None:
    """Claims all `names` for a stream; the stream and the fingerprint that had one of them before it, if
    any."""
    for name in sorted(
        names
    ):  # in one order everywhere: two uploads of the same photographs would lock each other out
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
    if (
        row[1] == fingerprint
    ):  # an Idempotency-Key that came with a duplicate stands for these photographs from now on
        connection.execute("UPDATE log_claim SET stream_id = %s WHERE stream_id = %s", [row[0], stream_id])
    else:
        connection.execute("DELETE FROM log_claim WHERE stream_id = %s", [stream_id])
    return row[0], row[1]


def forget(connection: Any, stream_id: str) -> None:
    """The stream answers no other upload any more."""
    connection.execute("DELETE FROM log_claim WHERE stream_id = %s", [stream_id])


def take_token(connection: Any, owner: str, per_minute: int) -> float:
    """0 when the owner's bucket had a token, which is taken, else the seconds until it has one."""
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
    """Sessions of the owner, on all masters."""
    (count,) = connection.execute(
        "SELECT count(*) FROM log_session WHERE owner = %s AND NOT finished", [owner]
    ).fetchone()
    return int(count)


def clean(connection: Any, replay: float) -> None:
    """Removes what nobody may ask for any more."""
    old = "now() - %s * interval '1 second'"
    connection.execute(f"DELETE FROM log_session WHERE finished AND touched < {old}", [replay])  # noqa: S608 - our own text
    connection.execute(f"DELETE FROM log_claim WHERE at < {old}", [max(replay, 3600.0)])  # noqa: S608 - our own text
    connection.execute("DELETE FROM log_rate WHERE at < now() - interval '1 hour'")
    connection.execute("DELETE FROM log_master WHERE alive_until < now() - interval '1 hour'")


def _notify(connection: Any, payload: str) -> None:
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
