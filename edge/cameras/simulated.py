"""A camera without hardware: renders the demo product, with pose jitter, lighting drift, noise and deviations."""

import numpy as np

from edge.camera_config import SimulatedCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras import scene
from edge.cameras.camera import CameraConfigError, CameraInfo
from edge.cameras.pacing import Clock, PacedCamera, Picture


class SimulatedCamera(PacedCamera):
    """Renders each picture when it is due, or repeats `prerendered` ones. The truth travels as the frame's label."""

    def __init__(self, name: str, config: Config, trigger: TriggerConfig) -> None:
        super().__init__(name, Clock(config.rate_hz, free_running=trigger.mode == "free", phase=config.phase))
        self._config, self._trigger = config, trigger.mode
        self._generator = np.random.default_rng(config.seed)
        self._pictures: list[tuple[Picture, str]] = []

    def open(self) -> CameraInfo:
        """Draws what every picture shares, and the prerendered ones, the first time. Raises CameraConfigError."""
        if self._trigger == "line":
            raise CameraConfigError(f'cameras.{self._name}.trigger.mode = "line": a simulated camera has no input')
        scene.prepare((self._config.width, self._config.height))
        while len(self._pictures) < self._config.prerendered:
            self._pictures.append(self._render())
        return self._opened("Simulated", (self._config.width, self._config.height))

    def _picture(self, number: int) -> tuple[Picture, str]:
        return self._pictures[(number - 1) % len(self._pictures)] if self._pictures else self._render()

    def _render(self) -> tuple[Picture, str]:
        deviates = self._generator.random() < self._config.deviation_rate
        kind = str(self._generator.choice(scene.DEVIATIONS)) if deviates else scene.GOOD
        return scene.render(kind, self._generator, (self._config.width, self._config.height))[0], kind
