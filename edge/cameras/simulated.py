"""A camera without hardware: renders the demo product, with pose jitter, lighting drift, noise and deviations."""

import time

import numpy as np
from numpy.typing import NDArray

from edge.cameras import scene
from edge.cameras.camera import CameraInfo, CameraStats, CapturedFrame
from edge.cameras.pacing import Buffers, Clock
from edge.config import SimulatedCamera as Config
from edge.config import TriggerConfig

Picture = tuple[NDArray[np.uint8], str]


class SimulatedCamera:
    """Renders each picture when it is due, or repeats `prerendered` ones. The truth travels as the frame's label."""

    def __init__(self, name: str, config: Config, trigger: TriggerConfig) -> None:
        self._name, self._config, self._trigger = name, config, trigger
        self._clock = Clock(config.rate_hz, free_running=trigger.mode == "free")
        self._free = Buffers()
        self._buffers: list[NDArray[np.uint8]] = []
        self._generator = np.random.default_rng(config.seed)
        self._pictures: list[Picture] = []
        self._frame_id = self._frames = self._lost = 0

    def open(self) -> CameraInfo:
        """Draws the prerendered pictures, the first time."""
        while len(self._pictures) < self._config.prerendered:
            self._pictures.append(self._render())
        width, height = self._config.width, self._config.height
        return CameraInfo(
            vendor="Goldline",
            model="Simulated",
            serial=self._name,
            width=width,
            height=height,
            pixel_format="BGR8",
            frame_bytes=width * height * 3,
            period_s=1 / self._config.rate_hz if self._trigger.mode == "free" else None,
            is_simulated=True,
        )

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into these."""
        size = (self._config.height, self._config.width, 3)
        self._buffers = [buffer[: size[0] * size[1] * 3].reshape(size) for buffer in buffers]
        self._free.lend(len(buffers))
        self._clock.start()

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The picture that is due, in the first free buffer; those it is too late for are lost and counted."""
        due = self._clock.wait(timeout_s) if self._buffers else 0
        if due == 0:
            return None
        slot = self._free.take()
        self._frame_id += due
        self._lost += due - (slot is not None)
        if slot is None:
            return None
        picture, label = self._picture()
        np.copyto(self._buffers[slot], picture)
        self._frames += 1
        return CapturedFrame(
            slot=slot,
            frame_id=self._frame_id,
            host_timestamp_ns=time.monotonic_ns(),
            host_timestamp_utc_ns=time.time_ns(),
            device_timestamp_ns=None,
            complete=True,
            label=label,
        )

    def _picture(self) -> Picture:
        return self._pictures[self._frame_id % len(self._pictures)] if self._pictures else self._render()

    def _render(self) -> Picture:
        deviates = self._generator.random() < self._config.deviation_rate
        kind = str(self._generator.choice(scene.DEVIATIONS)) if deviates else "good"
        return scene.render(kind, self._generator, (self._config.width, self._config.height))[0], kind

    def release(self, slot: int) -> None:
        """Lend a buffer back."""
        self._free.give(slot)

    def trigger(self) -> None:
        """Take one picture."""
        self._clock.fire()

    def stats(self) -> CameraStats:
        """Counters since `start`."""
        return CameraStats(frames=self._frames, incomplete=0, lost=self._lost)

    def stop(self) -> None:
        """No buffer is written from here on."""
        self._buffers = []

    def close(self) -> None:
        """Nothing to let go."""
