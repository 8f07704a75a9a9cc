"""A camera that serves MJPEG over HTTP as IP cameras do (multipart/x-mixed-replace): `mjpeg_server.py PORT RATE_HZ [FOLDER]`.

Its pictures say when they were made, in blocks that survive the compression: CLOCK_MONOTONIC in ms. What a path has
after the number n: /end/n closes the connection after n pictures, /cut/n in the middle of the next, /resize/n goes on with
another size; /locked wants user and password. With a FOLDER the images in it are shown again and again instead. It prints
its port once it listens.
"""

import base64
import contextlib
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

BITS, BLOCK_PX, ROWS_PX = 32, 8, 64
SIZE = (BITS * BLOCK_PX, ROWS_PX)
USER, PASSWORD = "inspector", "p4ss"
AUTHORIZATION = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"


def draw(millis: int) -> np.ndarray:
    """Black and white columns of 8 px: the number's bits, lowest first."""
    bits = (millis >> np.arange(BITS)) & 1
    return np.broadcast_to(np.repeat(bits * 255, BLOCK_PX).astype(np.uint8)[None, :, None], (ROWS_PX, SIZE[0], 3))


def read(picture: np.ndarray) -> int:
    """The number that was drawn. Works on what is left of it after compression."""
    columns = picture[..., 1].mean(axis=0).reshape(BITS, BLOCK_PX).mean(axis=1)
    return int(((columns > 127).astype(np.int64) << np.arange(BITS)).sum())


class Handler(BaseHTTPRequestHandler):
    rate_hz = 25.0
    images: list[np.ndarray] = []

    def do_GET(self) -> None:
        what, _, number = self.path.partition("?")[0].strip("/").partition("/")
        if what not in ("cam", "end", "cut", "resize", "locked"):
            self.send_error(404)
        elif what == "locked" and self.headers.get("Authorization") != AUTHORIZATION:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._serve(what, int(number or 0))

    def _serve(self, what: str, number: int) -> None:
        due_s = time.monotonic()
        sent = 0
        while True:
            due_s += 1 / self.rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
            millis = time.monotonic_ns() // 1_000_000 % (1 << BITS)
            picture = self.images[sent % len(self.images)] if self.images else draw(millis)
            if what == "resize" and sent >= number:
                picture = picture[:, : SIZE[0] // 2]
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            self.wfile.write(b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
            if what in ("cut", "end") and sent >= number:
                self.wfile.write(jpeg[: len(jpeg) // 2] if what == "cut" else b"")
                return
            self.wfile.write(jpeg + b"\r\n")
            sent += 1

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    Handler.rate_hz = float(sys.argv[2])
    Handler.images = (
        [cv2.imread(str(path)) for path in sorted(Path(*sys.argv[3:4]).glob("*.png"))] if sys.argv[3:] else []
    )
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
