"""The OPC UA server's own certificate: self-signed, as OPC 10000-6 section 6.2.2 wants an application's to be."""

import ipaddress
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import GoldlineError
from edge.key_files import give_to_owner_of

# What every policy with SHA-256 allows, and every PLC can compute.
KEY_BITS = 2048
# A certificate that runs out stops the line; ten years are a machine's life.
VALID_FOR = timedelta(days=3650)
# Clocks of PLCs go wrong: it counts as valid a day before it was made.
CLOCK_ERROR = timedelta(days=1)


def make(folder: Path, station_id: str, host: str, state_dir: Path) -> x509.Certificate:
    """Write own/cert.der and own/key.pem, and an empty trusted/. Raises GoldlineError where there is a key already.

    Run by root, they belong to the owner of the folder that it was given, or where that is root (as /etc is), to the
    owner of the state directory: the service's user.
    """
    key_path = folder / "own" / "key.pem"
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _certificate(key, station_id, host, datetime.now(UTC))
    try:
        keeper = _keeper(folder, state_dir)
        for directory in (folder, folder / "own", folder / "trusted"):
            _make_folder(directory, keeper)
        # Readable by its owner alone from its first byte on.
        with open(os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            give_to_owner_of(keeper, key_path)
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "own" / "cert.der").write_bytes(certificate.public_bytes(Encoding.DER))
        give_to_owner_of(keeper, folder / "own" / "cert.der")
    except FileExistsError:
        raise GoldlineError(f"{key_path}: there is a key already, and clients know it: move it away first") from None
    except OSError as failure:
        raise GoldlineError(f"{folder}: cannot be written: {failure.strerror}") from failure
    return certificate


def _keeper(folder: Path, state_dir: Path) -> Path:
    """Whose owner is to have the files: of the two, or what there is of their parents, the first that is not root's."""
    near = [
        next(one for one in (place.absolute(), *place.absolute().parents) if one.exists())
        for place in (folder, state_dir)
    ]
    return next((one for one in near if one.stat().st_uid != 0), near[0])


def _make_folder(directory: Path, keeper: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True)
        give_to_owner_of(keeper, directory)


def _certificate(key: rsa.RSAPrivateKey, station_id: str, host: str, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Goldline {station_id}")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .not_valid_before(now - CLOCK_ERROR)
        .not_valid_after(now + VALID_FOR)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
    )
    for extension, is_critical in _extensions(key.public_key(), station_id, host):
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(key, hashes.SHA256())


def _extensions(key: rsa.RSAPublicKey, station_id: str, host: str) -> list[tuple[x509.ExtensionType, bool]]:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        # OPC 10000-6 asks for it in a certificate that signs itself.
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return [
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key), False),
        (x509.SubjectAlternativeName(_names(station_id, host)), False),
        (x509.BasicConstraints(ca=False, path_length=None), False),
        (usage, False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ]


def _names(station_id: str, host: str) -> list[x509.GeneralName]:
    """The application's URI first, then what clients may call the machine."""
    machine = socket.gethostname()
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:{machine}:goldline:{station_id}"),
        x509.DNSName(machine),
    ]
    address = ipaddress.ip_address(host)
    return names if address.is_unspecified else [*names, x509.IPAddress(address)]


def fingerprint(certificate: x509.Certificate) -> str:
    """Its SHA-256 in hexadecimal, as clients show it."""
    return certificate.fingerprint(hashes.SHA256()).hex()
