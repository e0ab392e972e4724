"""TLS in the receiver itself: what clients may speak, and a certificate renewed in place."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from app.errors import ConfigError, Problem

LOOK_S = 10.0
# Forward secrecy and authenticated encryption only. TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

log = structlog.get_logger()


@dataclass(slots=True)
class Certificate:
    """A certificate with its chain, and its key, in PEM files that somebody renews.

    Connections that are open keep the certificate that they began with.
    """

    certificate: Path
    key: Path
    context: ssl.SSLContext = field(init=False)
    _seen: tuple[tuple[int, int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Raise ConfigError if the files are no certificate and key that belong together."""
        self._seen = self._stamps()
        try:
            self.context = self._loaded()
        except OSError as error:
            reason = f"can't be used with receiver.tls_key: {error.strerror or error}"
            raise ConfigError([Problem("receiver.tls_certificate", reason)]) from error

    def refresh(self) -> None:
        """Use the files as they are by now, for new connections.

        Files that are broken or half-written change nothing and are logged.
        """
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            self._seen = stamps
            self._loaded()  # into a context of its own, so that a wrong pair spoils nothing
            self.context.load_cert_chain(self.certificate, self.key)
        except OSError as error:
            log.error("certificate.refused", reason=error.strerror or type(error).__name__)  # noqa: TRY400 - no bug of ours
        else:
            log.info("certificate.renewed")

    async def kept_fresh(self) -> None:
        """Look every LOOK_S seconds whether the files have changed, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.refresh()

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.load_cert_chain(self.certificate, self.key)
        return context

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        """What differs once a file was written or replaced."""
        stats = (path.stat() for path in (self.certificate, self.key))
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
