"""Letting a device of libaravis go while the library's own thread holds it."""

import ctypes
import threading
import time

from edge.cameras.aravis import Library
from edge.cameras.aravis_device import Device, _references


def test_a_device_is_let_go_only_when_the_heartbeat_thread_does_not_hold_it(stock: str) -> None:
    gobject = ctypes.CDLL("libgobject-2.0.so.0")
    gobject.g_object_ref.argtypes = gobject.g_object_unref.argtypes = (ctypes.c_void_p,)
    gobject.g_object_ref.restype = ctypes.c_void_p
    device = Device(Library(), stock)
    assert _references(device._device) == 1
    # What the heartbeat thread does while it tells of a loss.
    gobject.g_object_ref(device._device)
    assert _references(device._device) == 2
    held_s = 0.1
    letting_go = threading.Timer(held_s, gobject.g_object_unref, (device._device,))
    began_s = time.monotonic()
    letting_go.start()
    device.close()
    assert time.monotonic() - began_s >= held_s
    letting_go.join()
