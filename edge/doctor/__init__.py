"""What on this machine keeps cameras or the station from working well: each check a small function."""
