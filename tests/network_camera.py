"""A camera on the network, as many are: JPEG pictures one after the other, in an answer of HTTP that does not end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import cv2
import numpy as np

PERIOD = 0.02
"""Seconds from one picture to the next."""


def red(number: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """A picture (48, 64, 3) in RGB whose red grows with its number."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[..., 0] = 40 + number % 20 * 10
    return frame


@contextmanager
def network_camera(pictures: int | None = None) -> Iterator[str]:
    """URL of a camera that sends `pictures` to whoever asks, or sends until nobody listens any more."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            try:
                for number in count() if pictures is None else range(pictures):
                    data = cv2.imencode(".jpg", red(number)[..., ::-1])[1].tobytes()
                    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                    time.sleep(PERIOD)
            except OSError:  # whoever listened is gone
                return

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/stream.mjpg"
        finally:
            server.shutdown()
            thread.join()
