"""One file a kind of camera, all behind the protocol in `camera.py`."""
