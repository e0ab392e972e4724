"""What the demo's administrator makes by hand: tables with a few rows, accounts, roles and grants.

Written out as statements, as an administrator would type them; no name is put into SQL here.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from app.sandbox.session import Row

TABLES = (
    "CREATE DATABASE IF NOT EXISTS analytics",
    "CREATE DATABASE IF NOT EXISTS crm",
    "CREATE DATABASE IF NOT EXISTS finance",
    "CREATE TABLE analytics.calendar (day Date, holiday String) ENGINE = MergeTree ORDER BY day",
    (
        "CREATE TABLE analytics.orders (id UInt32, day Date, country String, eur UInt32)"
        " ENGINE = MergeTree ORDER BY id"
    ),
    (
        "CREATE TABLE crm.customers (id UInt32, name String, country String, email String)"
        " ENGINE = MergeTree ORDER BY id"
    ),
    (
        "CREATE TABLE finance.invoices (id UInt32, customer UInt32, eur UInt32)"
        " ENGINE = MergeTree ORDER BY id"
    ),
    (
        "CREATE TABLE finance.payroll (employee String, eur UInt32)"
        " ENGINE = MergeTree ORDER BY employee"
    ),
)

ROWS: dict[str, list[Row]] = {
    "INSERT INTO analytics.calendar (day, holiday) VALUES": [
        (date(2026, 1, 1), "New Year"),
        (date(2026, 5, 1), "Labour Day"),
    ],
    "INSERT INTO analytics.orders (id, day, country, eur) VALUES": [
        (1, date(2026, 3, 2), "DE", 1200),
        (2, date(2026, 3, 2), "FR", 800),
        (3, date(2026, 3, 3), "DE", 450),
        (4, date(2026, 3, 4), "IN", 2100),
        (5, date(2026, 3, 4), "FR", 90),
    ],
    "INSERT INTO crm.customers (id, name, country, email) VALUES": [
        (1, "Kiosk Krause", "DE", "hallo@krause.example"),
        (2, "Café Étoile", "FR", "bonjour@etoile.example"),
    ],
    "INSERT INTO finance.invoices (id, customer, eur) VALUES": [(1, 1, 1650), (2, 2, 890)],
    "INSERT INTO finance.payroll (employee, eur) VALUES": [("E-1", 4200), ("E-2", 5100)],
}

# Accounts, roles and grants from before; nothing of it may change.
BY_HAND = (
    (
        "CREATE USER reporting_bot IDENTIFIED WITH sha256_password BY 'by hand' HOST LOCAL"
        " SETTINGS max_memory_usage = 5000000000"
    ),
    "CREATE USER `o'hara \\`the DBA\\`` IDENTIFIED WITH no_password HOST IP '10.0.0.0/8'",
    "CREATE ROLE on_call SETTINGS max_threads = 4",
    "GRANT SELECT ON analytics.* TO reporting_bot",
    "GRANT SELECT ON *.* TO on_call",
    "REVOKE SELECT ON finance.payroll FROM on_call",
    "GRANT on_call TO `o'hara \\`the DBA\\`` WITH ADMIN OPTION",
)

SHOWN = (
    "SHOW CREATE USER reporting_bot",
    "SHOW GRANTS FOR reporting_bot",
    "SHOW CREATE USER `o'hara \\`the DBA\\``",
    "SHOW GRANTS FOR `o'hara \\`the DBA\\``",
    "SHOW CREATE ROLE on_call",
    "SHOW GRANTS FOR on_call",
)


class Squatter(NamedTuple):
    """An account made by hand under the ClickHouse name that somebody of the stories will need."""

    name: str
    make: tuple[str, ...]
    show: tuple[str, ...]
    rename: str
    new_name: str
    show_renamed: tuple[str, ...]


SQUATTER = Squatter(
    name="acme__imogen.clarke@acme.example",
    make=(
        "CREATE USER `acme__imogen.clarke@acme.example` IDENTIFIED WITH no_password",
        "GRANT SELECT ON finance.invoices TO `acme__imogen.clarke@acme.example`",
    ),
    show=(
        "SHOW CREATE USER `acme__imogen.clarke@acme.example`",
        "SHOW GRANTS FOR `acme__imogen.clarke@acme.example`",
    ),
    rename="ALTER USER `acme__imogen.clarke@acme.example` RENAME TO `imogen.by-hand`",
    new_name="imogen.by-hand",
    show_renamed=("SHOW CREATE USER `imogen.by-hand`", "SHOW GRANTS FOR `imogen.by-hand`"),
)
