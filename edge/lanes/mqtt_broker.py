"""One connection to the broker, from connecting to its end. What it has to say comes out of a queue, as `Said`.

paho's thread does the network. It never connects again by itself: after an end, all that was not acknowledged is
published anew from the outbox, so nothing that paho remembers counts.
"""

import queue
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.border_config import MqttConfig
from edge.errors import GoldlineError
from edge.lanes.mqtt_size import PACKET_TOO_LARGE, Limit, packet_bytes

PLAIN_PORT, TLS_PORT = 1883, 8883
# Under way at once. Ten thousand a second over a network of 2 ms are 20; a slow broker is not buried. A broker that
# takes fewer says so, and hangs up on who sends more: every message counts, those that are kept as well.
WINDOW = 64
# Half of it without a word, and the broker says that this lane is offline.
KEEPALIVE_S = 10
# Shorter than the patience of the supervisor with a loop that does not come round.
CONNECT_S = 2.0
# How long the last word may take to leave at a clean stop.
LAST_WORD_S = 0.2
ONLINE, OFFLINE = b"online", b"offline"


@dataclass(frozen=True)
class Said:
    """What came of the connection: it stands, it has ended (`text` says why), the broker has a message.

    `is_too_large`: it has ended over a message that is larger than the broker takes.
    """

    what: Literal["connected", "ended", "acknowledged"]
    message: int = 0
    text: str = ""
    is_too_large: bool = False


class Broker:
    """Owns paho's client and its thread. Use as a context."""

    def __init__(self, config: MqttConfig, topic: str, client_id: str, limit: Limit) -> None:
        """Raises GoldlineError: a file that the configuration names cannot be used."""
        self._topic, self.limit = topic, limit
        self._url = urlsplit(config.broker)
        self.said: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self.window = WINDOW
        # Of one packet, bytes; None: it has not said.
        self.most: int | None = None
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.max_inflight_messages_set(WINDOW)
        client.connect_timeout = CONNECT_S
        client.will_set(f"{topic}/available", OFFLINE, qos=1, retain=True)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_publish = self._on_disconnect, self._on_publish
        if config.username is not None:
            client.username_pw_set(config.username, _password(config.password_file))
        if self._url.scheme == "mqtts":
            _secure(client, config)
        self._client = client

    def __enter__(self) -> Self:
        port = self._url.port or (TLS_PORT if self._url.scheme == "mqtts" else PLAIN_PORT)
        self._client.connect_async(self._url.hostname or "", port, keepalive=KEEPALIVE_S, clean_start=True)
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Without the will, the broker would go on saying `online` of a lane that cannot deliver.
        said = None if kind is None else ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
        self._client.disconnect(said)
        self._client.loop_stop()
        # paho closes its sockets when it is freed; through its callbacks it holds us, who hold it.
        client = self._client
        client.on_connect = client.on_connect_fail = client.on_disconnect = client.on_publish = None

    def publish(self, path: str, body: bytes, properties: dict[str, str] | None = None) -> int:
        """Give a message to the broker, QoS 1; its number comes back with the acknowledgement. Raises TooLarge."""
        made: Any = Properties(PacketTypes.PUBLISH)
        made.ContentType = "application/cloudevents+json" if properties is not None else "application/json"
        made.PayloadFormatIndicator = 1
        if properties:
            made.UserProperty = list(properties.items())
        return self._give(path, body, made, is_kept=False)

    def keep(self, path: str, body: bytes) -> int:
        """Give a message that the broker keeps for those who come later; its number as of any other. Raises TooLarge."""
        return self._give(path, body, Properties(PacketTypes.PUBLISH), is_kept=True)

    def _give(self, path: str, body: bytes, properties: Any, *, is_kept: bool) -> int:
        topic = f"{self._topic}/{path}"
        size = packet_bytes(topic, len(properties.pack()), len(body))
        self.limit.check(size)
        message = self._client.publish(topic, body, qos=1, retain=is_kept, properties=properties).mid
        self.limit.sent(message, size)
        return message

    def leave(self) -> None:
        """Say that this lane goes, and give that a moment to get out."""
        info = self._client.publish(f"{self._topic}/available", OFFLINE, qos=1, retain=True)
        until = time.monotonic() + LAST_WORD_S
        while not info.is_published() and time.monotonic() < until:
            time.sleep(0.01)

    # --- paho's thread

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self.said.put(Said("ended", text=f"refused: {code}"))
            return
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.most = getattr(properties, "MaximumPacketSize", None)
        self.said.put(Said("connected"))

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self.said.put(Said("ended", text="cannot be reached, or its certificate is not accepted"))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        is_too_large = code.value == PACKET_TOO_LARGE
        self.said.put(Said("ended", text=f"connection lost: {code}", is_too_large=is_too_large))

    def _on_publish(self, _client: Any, _data: Any, message: int, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self.said.put(Said("ended", text=f"a message was refused: {code}"))
        else:
            self.said.put(Said("acknowledged", message=message))


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as failure:
        raise GoldlineError(f"[lanes.mqtt] password_file: {path} cannot be read: {failure}") from failure


def _secure(client: paho.Client, config: MqttConfig) -> None:
    """TLS, with the broker's certificate always checked against `ca_file`, or else the system's authorities."""
    try:
        context = ssl.create_default_context(cafile=None if config.ca_file is None else str(config.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.certificate_file is not None:
            context.load_cert_chain(config.certificate_file, config.key_file)
    except OSError as failure:  # ssl.SSLError is one
        raise GoldlineError(
            f"[lanes.mqtt] ca_file, certificate_file, key_file: cannot be used: {failure.strerror or failure}"
        ) from failure
    with_tls: Any = client
    with_tls.tls_set_context(context)
