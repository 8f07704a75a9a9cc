"""The languages of PLCs and brokers: a module for each, which `lane.py` runs in a process of its own.

`station_link.py` is what each has of the station, `result_lane.py` the handshake that all of them speak, `kept.py` what
a lane remembers over its own death.
"""
