"""How many threads NumPy's matrix products take.

Teaching makes thousands of small products. OpenBLAS gives each of them to every core and lets the threads spin until
all are done: where another process has one of the cores, 300 references took 132 s instead of 3.
"""

import importlib
from contextlib import AbstractContextManager
from typing import Any


def one_thread() -> AbstractContextManager[object]:
    """Within it, a product runs on the thread that asks for it."""
    threadpoolctl: Any = importlib.import_module("threadpoolctl")  # it declares no types
    return threadpoolctl.threadpool_limits(limits=1, user_api="blas")
