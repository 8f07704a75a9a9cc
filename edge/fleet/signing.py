r"""Signed documents of the fleet: one line that says who signed, then what was signed.

    goldline-signed 1 <kind> <key id> <signature, base64>\n<payload>

The signature is Ed25519 (RFC 8032) over the line up to the signature and the payload, so that a document of one kind is
never taken for one of another. It is checked before anything of the payload is parsed. Keys are PEM files as OpenSSL
writes them: the secret one PKCS 8 with mode 0600, the public ones in a folder, one `*.pub` for each that is trusted.
"""

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from edge.errors import GoldlineError

# What a document is: a product to be judged by, or what a station is wanted to have.
Kind = Literal["bundle", "wanted"]
_HEAD = re.compile(rb"goldline-signed 1 ([a-z]{1,16}) ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)")
# The longest first line there is: a longer one is not looked at.
MAX_HEAD_BYTES = 256
# 64 bits of the public key's SHA-256 tell the keys of a plant apart; the whole key is what is trusted.
ID_DIGITS = 16
# A key file is some 120 bytes; a folder that holds something else is said to.
MAX_KEY_BYTES = 4096
PUBLIC = ".pub"


class SignatureError(GoldlineError):
    """A document that is not signed by a key that is trusted here."""


Trusted = Mapping[str, Ed25519PublicKey]


@dataclass(frozen=True)
class Signer:
    """Who rolls out: the secret key, and its name in documents."""

    key: Ed25519PrivateKey
    id: str

    def sign(self, kind: Kind, payload: bytes) -> bytes:
        """The document: its first line, and the payload."""
        head = _head(kind, self.id)
        return head + base64.b64encode(self.key.sign(head + b"\n" + payload)) + b"\n" + payload


def verified(kind: Kind, document: bytes, trusted: Trusted) -> bytes:
    """The payload of a document that was signed by a key in `trusted`. Raises SignatureError."""
    head, newline, payload = document[: MAX_HEAD_BYTES + 1].partition(b"\n")
    if not newline:
        raise SignatureError("not a signed document: it has no first line that says who signed it")
    payload = memoryview(document)[len(head) + 1 :].tobytes()
    verify(kind, head, payload, trusted)
    return payload


def verify(kind: Kind, head: bytes, payload: bytes, trusted: Trusted) -> str:
    """The id of the key that signed this payload as such a document; `head` is its first line. Raises SignatureError."""
    found = _HEAD.fullmatch(head) if len(head) <= MAX_HEAD_BYTES else None
    if found is None:
        raise SignatureError("not a signed document: its first line does not say who signed it")
    said, identity = found[1].decode(), found[2].decode()
    if said != kind:
        raise SignatureError(f"signed as {said}, and used as {kind}")
    if identity not in trusted:
        known = ", ".join(sorted(trusted)) or "no key"
        raise SignatureError(f"signed by key {identity}, which is not trusted here: {known} is")
    try:
        trusted[identity].verify(base64.b64decode(found[3]), _head(kind, identity) + b"\n" + payload)
    except InvalidSignature:
        raise SignatureError(f"its signature by key {identity} does not fit: it was changed on the way") from None
    return identity


def _head(kind: str, identity: str) -> bytes:
    return f"goldline-signed 1 {kind} {identity} ".encode()


def key_id(public: Ed25519PublicKey) -> str:
    """How documents name this key."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:ID_DIGITS]


def new_key(path: Path) -> str:
    """Write a fresh secret key to `path`, and the public one beside it; returns its id. Raises GoldlineError."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _create(path, secret, 0o600)
    _create(path.with_suffix(PUBLIC), public, 0o644)
    return key_id(key.public_key())


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as failure:
        raise GoldlineError(f"{path}: cannot be written: {failure.strerror}") from failure


def load_signer(path: Path) -> Signer:
    """The secret key of that file. Raises GoldlineError: it is not there, is no such key, or others may read it."""
    content = _read(path)
    if path.stat().st_mode & 0o077:
        raise GoldlineError(f"{path}: others may read this secret key: chmod 600 {path}")
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise GoldlineError(f"{path}: not a secret key in PEM without a password: {problem}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise GoldlineError(f"{path}: not an Ed25519 key: goldline fleet key new FILE")
    return Signer(key, key_id(key.public_key()))


def load_trusted(folder: Path) -> Trusted:
    """The public keys of a folder, by id; none where there is no folder. Raises GoldlineError naming a bad file."""
    keys = [_public(path) for path in sorted(folder.glob(f"*{PUBLIC}"))]
    return {key_id(key): key for key in keys}


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise GoldlineError(f"{path}: not a public key in PEM: {problem}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise GoldlineError(f"{path}: not an Ed25519 key")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as failure:
        raise GoldlineError(f"{path}: cannot be read: {failure.strerror}") from failure
