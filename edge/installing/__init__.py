"""Laying the program out on a device, and taking it away again.

`layout` says what a device should have, `observe` what it has, `plan` what is to be done about it, and `carry_out`
does it; `manifest` keeps what was laid out, so that nothing that a person changed is ever overwritten or removed.
"""
