"""Asks a silent USB3 Vision device whether it is there, over the one control channel that it has."""

from edge.cameras.aravis import AravisError
from edge.cameras.aravis_device import Device
from edge.cameras.bounded import Errand

# Asked after this much silence and then so often; one that has not answered by then is gone.
_PROBE_NS, _PATIENCE_NS = 500_000_000, 1_000_000_000


class UsbProbe:
    """`edge.cameras.gvcp.Probe` for a device without a network: the questions go on a thread of their own."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._errand: Errand[str | None] | None = None
        self._asked_ns = 0

    def close(self) -> None:
        """Nothing is held."""

    def look(self, now_ns: int, heard_ns: int) -> str | None:
        """Why the device is lost, or None. To be called again and again; `heard_ns` is when a frame last came."""
        if self._errand is not None:
            if not self._errand.is_over:
                is_late = now_ns - max(heard_ns, self._asked_ns) > _PATIENCE_NS
                return "it answers no question" if is_late else None
            why, self._errand = self._errand.answer(), None
            if why is not None:
                return why
        if now_ns - max(heard_ns, self._asked_ns) >= _PROBE_NS:
            self._asked_ns, self._errand = now_ns, Errand(self._ask)
        return None

    def _ask(self) -> str | None:
        try:
            self._device.ask_version()
        except AravisError as error:
            return f"it answers no question: {error}"
        return None
