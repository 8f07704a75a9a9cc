"""URLs of streams: which can be opened at all, and what of one may be shown."""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def without_secrets(url: str) -> str:
    """The URL as it may be shown: neither user, password nor query, which holds them for many cameras.

    Of one in which nobody can tell where the host begins, as by a `/` in the password, only the scheme is shown.
    """
    scheme, slashes, rest = url.partition("://")
    parts = _split(url)
    if parts is None or ("@" not in parts.netloc and "@" in rest and ":" in rest):
        return f"{scheme}://***" if slashes else "***"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def may_be_shown(value: str) -> str:
    """Any text of a configuration, as `without_secrets` where it looks like a URL that has some."""
    return without_secrets(value) if "://" in value and ("@" in value or "?" in value) else value


def openable(url: str) -> str:
    """The URL, if it names a host and a port that there can be. Raises ValueError, which tells nothing of the URL."""
    if _split(url) is None:
        raise ValueError(
            "must name a host, and a port from 1 to 65535; in a password, / ? # are %2F %3F %23, a space %20"
        )
    return url


def broker(url: str) -> str:
    """The URL of an MQTT broker. Raises ValueError."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("mqtt", "mqtts") or "@" in parts.netloc:
        raise ValueError(
            'must be "mqtt://HOST:PORT", or "mqtts://HOST:PORT" with TLS; who connects is said by username'
        )
    return url


def own_nats(url: str) -> str:
    """The URL of a NATS server on this machine. Raises ValueError."""
    parts = _split(url)
    if parts is None or parts.scheme != "nats" or "@" in parts.netloc or not _is_loopback(parts.hostname or ""):
        raise ValueError('must be "nats://127.0.0.1:PORT": the server on this machine, which alone speaks with the hub')
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        is_one = bool(parts.hostname) and parts.port != 0 and not any(map(str.isspace, parts.netloc))
    except ValueError:
        return None
    return parts if is_one else None
