"""What the machine says of itself: processor, memory, disks, temperatures, accelerator. Nothing a verdict rests on.

    processor  disks  temperatures  nvidia  jetson     each a function, or an object with `read`, that yields samples
    watch                                              reads each on a thread of its own, and shows what was read last

A disk that is dying or a driver that hangs may never answer: then that thread waits, and nothing else does.
"""
