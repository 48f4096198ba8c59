"""
How the servers of a runtime are spoken to, by its supervisor and by its children.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from txgear.errors import ConfigurationError
from txgear.runtime.config import RuntimeTable
from txgear.security.clienttls import ClientTLS


def peer_arguments(table: RuntimeTable) -> dict[str, Any]:
    """
    Whom to connect to, and how: arguments of a L{Worker<txgear.worker.Worker>}.

    @raise ConfigurationError: the file with the token cannot be read, or one of TLS not be used.
    """
    token = None
    if table.token_file:
        try:
            token = Path(table.token_file).read_bytes().strip()
        except OSError as error:
            raise ConfigurationError(f"token_file: {error}") from error
    tls: bool | ClientTLS = table.tls
    if table.ca_file or table.cert_file:
        try:
            tls = ClientTLS(
                ca=table.ca_file or None, certificate=table.cert_file or None, key=table.key_file or None
            )
        except ValueError as error:
            raise ConfigurationError(f"tls: {error}") from error
    return {"servers": table.servers, "tls": tls, "token": token}
