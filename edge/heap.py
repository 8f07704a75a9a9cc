"""Memory that nothing uses any more goes back to the system.

glibc keeps what was freed for the next time, in pieces between what is still used: a process that has loaded one product
after the other holds several times what one takes (`benchmarks/prepare.py`).
"""

import ctypes
import threading
import weakref


def trim() -> None:
    """Give back what is free. Some tens of milliseconds, in which other threads go on; nothing where libc is not glibc."""
    if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        malloc_trim(0)


def trim_after(thing: object) -> None:
    """Once this is let go, by whichever thread; another gives its memory back."""
    weakref.finalize(thing, _trim_aside).atexit = False


def _trim_aside() -> None:
    threading.Thread(target=trim, name="trim", daemon=True).start()
