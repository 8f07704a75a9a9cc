"""Goldline: real-time visual inspection at the edge. `docs/the-life-of-a-frame.md` is the way in."""

__version__ = "0.1.0"
