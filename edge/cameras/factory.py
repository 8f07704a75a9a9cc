"""From a section of `config.toml` to a camera. Only the library of that camera is loaded."""

from edge.cameras.camera import Camera
from edge.config import CameraConfig, FolderCamera, GigeCamera, SimulatedCamera


def make_camera(name: str, config: CameraConfig) -> Camera:
    """The camera of this section, closed."""
    match config:
        case SimulatedCamera():
            from edge.cameras import simulated  # noqa: PLC0415 - loads its library

            return simulated.SimulatedCamera(name, config, config.trigger)
        case FolderCamera():
            from edge.cameras import folder  # noqa: PLC0415 - loads its library

            return folder.FolderCamera(name, config, config.trigger)
        case GigeCamera():
            from edge.cameras import gige  # noqa: PLC0415 - loads its library

            return gige.GigeCamera(name, config, config.trigger)
