"""An RTSP camera that has nothing of ours: GStreamer's server. `rtsp_server.py PORT RATE_HZ`, run by Debian's python3.

H.264 as cameras send it, a key frame each second, at /cam; the same as MJPEG over RTP at /jpeg. It prints its port once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions come first


def factory(launch: str) -> GstRtspServer.RTSPMediaFactory:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {launch} name=pay0 )")
    made.set_shared(True)
    return made


def serve(port: str, rate_hz: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    source = (
        f"videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=160,height=120,framerate={rate_hz}/1"
    )
    h264 = f"x264enc tune=zerolatency speed-preset=ultrafast key-int-max={rate_hz} ! rtph264pay"
    mounts = server.get_mount_points()
    mounts.add_factory("/cam", factory(f"{source} ! {h264}"))
    mounts.add_factory("/jpeg", factory(f"{source} ! jpegenc ! rtpjpegpay"))
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(*sys.argv[1:])
