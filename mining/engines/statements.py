"""The relational part of mining, in the SQL that DuckDB and Spark both speak: the one definition of which lines count,
in which order, and how people's rows are summed.

Statements name views, which the engines define: `turns`, `mined`, `grouped`, `chosen`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mining.engines import columns, rows

TURN_ORDER = ("bucket", "user_id", "timestamp_ms", "interaction_id")
ROW_ORDER = ("bucket", "user_id", "name", "key")
"""The order in which people are read: each one's turns, or rows, together."""

_TOUCHED = "SELECT user_id FROM turns WHERE sequence >= {since}"


def turns_of_people(since: int = 0, chosen: bool = False) -> str:
    """Of each id of a user the line that was read last. `since`: of users alone that have a line of this sequence or a
    later one; 0: of all. `chosen`: of those alone that the view `chosen` names."""
    wanted = ", ".join(("bucket", *columns.TURN_COLUMNS))
    touched = f" AND user_id IN ({_TOUCHED.format(since=since)})" if since else ""
    named = " WHERE user_id IN (SELECT user_id FROM chosen)" if chosen else ""
    return (
        f"SELECT {wanted} FROM (SELECT *, ROW_NUMBER() OVER "
        f"(PARTITION BY user_id, interaction_id ORDER BY sequence DESC) AS nth FROM turns{named}) AS numbered "
        f"WHERE nth = 1{touched}"
    )


def rows_of_untouched(since: int) -> str:
    """The rows of users who have no line of this sequence or a later one."""
    return f"SELECT {', '.join(rows.SCHEMA.names)} FROM mined WHERE user_id NOT IN ({_TOUCHED.format(since=since)})"


def rows_named(name: str) -> str:
    """Everybody's rows of one table."""
    return f"SELECT {', '.join(rows.SCHEMA.names)} FROM mined WHERE name = '{name}'"


def rows_in_time(name: str) -> str:
    """Everybody's rows of one table, the earliest `latest` first."""
    return f"{rows_named(name)} ORDER BY latest, key, user_id"


def sums(names: Iterable[str], least_people: int = 0, most_rows: int = 0) -> str:
    """Everybody's rows of some tables, summed by key, table by table. `least_people`: only keys that so many people
    have. `most_rows`: of each table only so many, of the greatest `latest`; 0: all."""
    amounts = ", ".join(f"SUM(amount_{n}) AS amount_{n}" for n in range(rows.AMOUNTS))
    having = f" HAVING SUM(people) >= {least_people}" if least_people else ""
    summed = (
        f"SELECT name, key, {amounts}, CAST(SUM(people) AS BIGINT) AS people, MAX(latest) AS latest "
        f"FROM mined WHERE name IN ({_quoted(names)}) GROUP BY name, key{having}"
    )
    if most_rows:
        numbered = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY name ORDER BY latest DESC, key) AS nth FROM ({summed})"
        wanted = ", ".join(rows.SUMMED.names)
        summed = f"SELECT {wanted} FROM ({numbered} AS summed) AS numbered WHERE nth <= {most_rows}"
    return f"{summed} ORDER BY name, key"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


PEOPLE_OF_GROUPS = (
    "SELECT grouped.number AS number, COUNT(DISTINCT mined.user_id) AS people FROM mined "
    "JOIN grouped ON mined.key = grouped.key WHERE mined.name = 'readings' AND mined.amount_4 > 0 "
    "GROUP BY grouped.number ORDER BY number"
)
"""How many different people have any of the readings of each group; `grouped`: key of a reading, number of a group."""

USERS = (
    "SELECT bucket, user_id, MIN(timestamp_ms) AS first_ms, COUNT(*) AS turns FROM turns GROUP BY bucket, user_id"
)
"""Who is in a log, from when on, and with how many lines."""
