"""
TLS as libgearman has it: three files, which the environment names.

Each of them must be there. libgearman loads the authorities, but lets any server pass; here they have to have
signed its certificate, and where it is strict that has to be for the server's name as well.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

FILES: Final = {
    "GEARMAND_CA_CERTIFICATE": "/etc/ssl/certs/gearmand-ca.pem",
    "GEARMAN_CLIENT_PEM": "/etc/ssl/certs/gearman.pem",
    "GEARMAN_CLIENT_KEY": "/etc/ssl/certs/gearman.key",
}
"""The variables, and the files where they are not set: the authorities, the certificate and its key."""


class TLSFailure(Exception):
    """
    A file cannot be used; the text is libgearman's.

    @ivar short: the text of gearadmin.
    """

    def __init__(self, text: str, short: str) -> None:
        super().__init__(text)
        self.short = short


def context(environ: Mapping[str, str], strict: bool) -> ssl.SSLContext:
    """
    What a client speaks TLS with.

    @param strict: whether the server's certificate has to be for its name.
    @raise TLSFailure: a file cannot be used.
    """
    authorities, certificate, key = (environ.get(name, default) for name, default in FILES.items())
    for what, path in (
        ("CA certificate", authorities),
        ("certificate", certificate),
        ("certificate key", key),
    ):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            short = {"CA certificate": "CA file", "certificate key": "private key file"}.get(
                what, f"{what} file"
            )
            raise TLSFailure(
                f"Failed to open {what} {path} ({error.errno}: {error.strerror})",
                f"Error loading {short} {path}",
            ) from error
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = strict
    try:
        made.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise TLSFailure(
            f"Failed to load CA certificate {authorities}", f"Error loading CA file {authorities}"
        ) from error
    try:
        made.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TLSFailure("Failed to check private key", "Error checking private key") from error
        raise TLSFailure(
            f"Failed to load certificate {certificate}", f"Error loading certificate file {certificate}"
        ) from error
    return made
