"""From a section of `config.toml` to a camera. Only the library of that camera is loaded."""

from importlib import import_module

from edge.camera_config import CameraConfig
from edge.cameras.camera import Camera

# A module of that name has the class, made by (name, config, config.trigger).
_CLASSES = {
    "simulated": "SimulatedCamera",
    "folder": "FolderCamera",
    "gige": "GigeCamera",
    "v4l2": "V4l2Camera",
    "stream": "StreamCamera",
    "pylon": "PylonCamera",
    "gentl": "GentlCamera",
}


def make_camera(name: str, config: CameraConfig) -> Camera:
    """The camera of this section, closed."""
    module = import_module(f"edge.cameras.{config.source}")
    camera: Camera = getattr(module, _CLASSES[config.source])(name, config, config.trigger)
    return camera
