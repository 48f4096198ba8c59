"""
gearmand's options for TLS, translated.

With C{--ssl} gearmand's port itself speaks TLS. It loads the authorities of C{--ssl-ca-file}, but asks no
client for a certificate; C{--tls-client}, which is txgear's own, does.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from txgear.errors import ConfigurationError
from txgear.protocol.constants import DEFAULT_PORT
from txgear.server.values import HTTP_PORT

if TYPE_CHECKING:
    from txgear.security.tlsfiles import TlsFiles

VARIABLES: Final = {
    "ssl-certificate": "GEARMAND_SERVER_PEM",
    "ssl-key": "GEARMAND_SERVER_KEY",
    "ssl-ca-file": "GEARMAND_CA_CERTIFICATE",
}
"""gearmand's options for files, and the environment variables that win over them."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    add = parser.add_argument
    add("--ssl", action="store_true", help="speak TLS, on the port of the http protocol as well")
    add("--ssl-ca-file", metavar="FILE", help="authorities of clients' certificates, for --tls-client")
    add("--ssl-certificate", metavar="FILE", help="the server's certificate, and its chain")
    add("--ssl-key", metavar="FILE", help="the key of that certificate")
    add("--tls-client", metavar="HOW", help="ask clients for a certificate, or require one [neither]")


def _file(given: argparse.Namespace, name: str, environ: Mapping[str, str]) -> str | None:
    chosen: str | None = environ.get(VARIABLES[name]) or getattr(given, name.replace("-", "_"))
    return chosen


def files(given: argparse.Namespace, environ: Mapping[str, str]) -> TlsFiles | None:
    """
    The files of TLS; C{None} where nothing speaks it.

    @raise ConfigurationError: one is missing, or an option says nothing without C{--ssl}.
    """
    if not given.ssl:
        for name in (*VARIABLES, "tls-client"):
            if getattr(given, name.replace("-", "_")) is not None:
                # gearmand would speak plain text to those who asked for something else.
                raise ConfigurationError(f"--{name}: without --ssl nothing speaks TLS")
        return None
    from txgear.security.tlsfiles import TlsFiles

    cert, key, ca = (_file(given, name, environ) for name in VARIABLES)
    for name, path in (("ssl-certificate", cert), ("ssl-key", key)):
        if path is None:
            raise ConfigurationError(
                f"--ssl: --{name} is wanted as well; gearmand's own default depends on how it was built"
            )
    if given.tls_client is not None and ca is None:
        raise ConfigurationError("--tls-client: whose certificates are good? --ssl-ca-file is wanted")
    return TlsFiles(str(cert), str(key), None if given.tls_client is None else ca, given.tls_client)


def words(
    given: argparse.Namespace, files: TlsFiles, places: Sequence[str], environ: Mapping[str, str]
) -> list[str]:
    """
    Options of the server: where it speaks TLS, and with which files.

    @param places: where to listen.
    """
    port = DEFAULT_PORT if given.port is None else given.port
    found = [f"--tls-listen={with_port(place, port)}" for place in places]
    found += [f"--tls-cert={files.cert}", f"--tls-key={files.key}"]
    if files.ca is not None:
        found += [f"--tls-ca={files.ca}", f"--tls-client={files.client}"]
    elif _file(given, "ssl-ca-file", environ) is not None:
        found.append("--ignored=--ssl-ca-file without --tls-client")
    if given.protocol == "http":
        found.append(f"--http-tls-port={HTTP_PORT if given.http_port is None else given.http_port}")
    return found


def with_port(place: str, port: int | str) -> str:
    """A value of gearmand's C{--listen}, with a port; an endpoint string has its own."""
    if re.fullmatch(r"\[[^]]*\]", place) or ":" not in place:
        return f"{place}:{port}"
    if re.fullmatch(r"[0-9A-Fa-f:.]+(%[^:]+)?", place) and place.count(":") > 1:
        return f"[{place}]:{port}"
    return place
