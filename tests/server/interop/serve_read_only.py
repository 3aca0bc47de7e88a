"""The published server without ``--writable``: it has that mode, but 2.1.0 fails to start in it.

It hands a connection parameter to a function of peewee's that takes none; without this parameter it
opens the file read-only, as it is meant to.
"""

from __future__ import annotations

from typing import Any

import database

init = database.db_init


def init_without(*arguments: Any, connection_parameters: object = None, **options: Any) -> None:
    init(*arguments, **options)


database.db_init = init_without
database.main()
