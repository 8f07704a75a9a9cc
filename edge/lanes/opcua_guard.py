"""Who may speak to the OPC UA server, and how much anybody can make it do.

Without certificates the server has one endpoint, unencrypted, and listens on loopback only (`border_config.py` sees to
that). With certificates every endpoint signs and encrypts, and the certificate that a client's channel was opened with
must lie in `trusted/`, byte for byte; being signed by somebody is not enough.

asyncua opens an unencrypted channel to anybody who wants to ask for the endpoints. Nothing more must come of it:
1. a session is activated only for the certificate of its channel (`Clients.get_user`); such a channel has none;
2. no other channel takes a session over: its token is a small number that anybody could guess (`lookup_external_session`),
   and of those that nobody activates nothing stays (`register_external_session`);
3. nobody registers servers here (`register_server`);
4. it takes no place from clients for long (`opcua_door.py`).
"""

import asyncio
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import GoldlineError
from edge.lanes import opcua_connection, opcua_subscriptions
from edge.lanes.opcua_door import MOST_CONNECTIONS, Door
from edge.lanes.opcua_subscriptions import Subscriptions
from edge.lanes.opcua_types import words

MAX_SUBSCRIPTIONS = 64
# Messages that wait behind one that is being answered. Clients that look the whole address space up send hundreds at once.
MAX_PENDING = 512
# What a client that has stopped reading leaves waiting for it: 1000 results of a few KiB.
MAX_QUEUE = 1000
MAX_UNACKNOWLEDGED = 100


class Clients:
    """The certificates in a folder: those whom the server lets in. Without a folder everybody is let in."""

    def __init__(self, folder: Path | None) -> None:
        """Nothing is read yet."""
        self._folder = folder
        self._trusted: dict[bytes, x509.Certificate] = {}

    def read(self) -> None:
        """Take up what lies in the folder now. A file that is no certificate is named in the log and let be."""
        if self._folder is None:
            return
        found: dict[bytes, x509.Certificate] = {}
        for path in sorted(self._folder.glob("*.der")):
            try:
                certificate = x509.load_der_x509_certificate(path.read_bytes())
            except (ValueError, OSError) as problem:
                structlog.get_logger().warning("not a client's certificate", file=str(path), problem=str(problem))
                continue
            found[certificate.public_bytes(Encoding.DER)] = certificate
        self._trusted = found

    def may_enter(self, certificate: bytes | None, now: datetime) -> bool:
        """Whether a channel that was opened with this certificate (DER) may have a session."""
        if self._folder is None:
            return True
        known = self._trusted.get(certificate or b"")
        return known is not None and known.not_valid_before_utc <= now <= known.not_valid_after_utc

    async def validate(self, certificate: x509.Certificate, _description: ua.ApplicationDescription) -> None:
        """A hook of asyncua at CreateSession. Raises ServiceError, which tells the client."""
        await asyncio.to_thread(self.read)
        if self.may_enter(certificate.public_bytes(Encoding.DER), datetime.now(UTC)):
            return
        structlog.get_logger().warning("a client is refused: its certificate is not in trusted/", **_names(certificate))
        raise ServiceError(words.StatusCodes.BadCertificateUntrusted)

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: bytes | None = None,
    ) -> User | None:
        """A hook of asyncua at ActivateSession; `certificate` is that of the channel. None: refused."""
        if not self.may_enter(certificate, datetime.now(UTC)):
            return None
        return User(role=UserRole.User, name=hashlib.sha256(certificate).hexdigest() if certificate else None)


def _names(certificate: x509.Certificate) -> dict[str, str]:
    return {"subject": certificate.subject.rfc4514_string(), "serial": f"{certificate.serial_number:x}"}


class GuardedServer(InternalServer):
    """asyncua's server with the doors shut that the module text names."""

    def __init__(self, clients: Clients, door: Door) -> None:
        super().__init__(user_manager=clients)  # pyright: ignore[reportArgumentType] - a protocol in all but name
        self.certificate_validator = clients.validate
        self.supported_tokens = (ua.AnonymousIdentityToken,)
        self.allow_remote_admin = False
        self.door = door
        # The door decides; those that it hangs up on are counted by asyncua for a moment more.
        self.max_connections, self.max_pending_activation_seconds = 2 * MOST_CONNECTIONS, 0
        self.max_subscriptions = MAX_SUBSCRIPTIONS
        self.max_pending_messages_per_connection = MAX_PENDING
        self.max_monitored_item_queue_size = MAX_QUEUE
        self.max_unacked_messages_per_subscription = MAX_UNACKNOWLEDGED
        self.subscription_service = Subscriptions(self.aspace, iserver=self)
        self.isession.subscription_service = self.subscription_service
        opcua_connection.install()
        opcua_subscriptions.install()

    async def stop(self) -> None:
        """At once: asyncua waits for its clock to strike the next second, which is longer than a worker is given."""
        clock, self.time_task = self.time_task, None
        if clock is not None:
            clock.cancel()
        await super().stop()

    def lookup_external_session(self, auth_token: ua.NodeId) -> None:
        """No channel takes over another's session."""

    def register_external_session(self, session: Any) -> None:
        """So nothing is looked up, and nothing is kept: each CreateSession, by whomever, would stay here for ever."""

    def register_server(self, server: Any, conf: Any = None) -> None:
        """This is no discovery server."""
        raise ServiceError(words.StatusCodes.BadServiceUnsupported)


def own_files(folder: Path) -> tuple[Path, Path]:
    """The server's certificate and its key. Raises GoldlineError where one cannot be read."""
    files = folder / "own" / "cert.der", folder / "own" / "key.pem"
    for path in files:
        if not os.access(path, os.R_OK):
            mend = "must belong to the user of the service" if path.exists() else "goldline opcua makes it"
            raise GoldlineError(f"[lanes.opcua] certificates: {path} cannot be read: {mend}")
    return files


def application_uri(certificate: Path) -> str:
    """The name that the server's certificate is made out to. Raises GoldlineError where it has none."""
    try:
        loaded = x509.load_der_x509_certificate(certificate.read_bytes())
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, OSError, x509.ExtensionNotFound) as problem:
        raise GoldlineError(f"{certificate}: not a certificate of an OPC UA application: {problem}") from problem
    return uri
