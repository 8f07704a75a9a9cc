"""One station at a glance, for `goldline status` and `goldline top`.

scraped.py   what /metrics says, as values        look.py     every source asked once, each within its time
report.py    pure: two looks in, an overview out   screen.py   the overview on a terminal
"""
