"""
The command that takes over what a gearmand has left in the database of a server's store.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import join
from typing import Final

from txgear.stores import sqlite_path

SECRETS: Final = ("password", "passfile", "sslpassword")
"""Options of a URL that are shown to nobody."""


def takeover_line(
    url: str,
    table: str,
    prefix: bytes | None = None,
    password_file: str | None = None,
    has_password: bool = False,
) -> str:
    """
    The command, as it can be given to a shell.

    @param url: the store's, which is the source as well.
    @param table: gearmand's.
    @param prefix: what handles start with, where the server was told that.
    @param password_file: where the store's password is, or C{None}.
    @param has_password: whether there is a password that stands in no file: it has to be in the environment.
    """
    return join(_words(url, table, prefix, password_file)) + (
        " (the password in TXGEAR_IMPORT_PASSWORD and TXGEAR_STORE_PASSWORD)" if has_password else ""
    )


def _words(url: str, table: str, prefix: bytes | None, password_file: str | None) -> Iterator[str]:
    shown = _without_secrets(url)
    # It is read at one host.
    source = _without_secrets(url, most_hosts=1)
    yield from ("txgear", "import", f"--from={source}", f"--table={table}", f"--store={shown}")
    if password_file is not None:
        yield from (f"--from-password-file={password_file}", f"--store-password-file={password_file}")
    if prefix is not None:
        yield f"--job-handle-prefix={prefix.decode('ascii')}"


def _without_secrets(url: str, most_hosts: int | None = None) -> str:
    if sqlite_path(url) is not None:
        return url
    from sqlalchemy import URL, make_url

    from txgear.stores.hosts import split

    rest, hosts = split(url)
    parts = make_url(rest)
    query = {name: value for name, value in parts.query.items() if name not in SECRETS}
    shown = URL.create(parts.drivername, parts.username, None, None, None, parts.database, query)
    scheme, _, text = shown.render_as_string().partition("://")
    user, slash, path = text.partition("/")
    return f"{scheme}://{user}{','.join(map(str, hosts[:most_hosts]))}{slash}{path}"
