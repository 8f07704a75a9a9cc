"""The one exception a user is meant to read: what is wrong, and where."""


class GoldlineError(Exception):
    """Something the user can put right. The command line prints it on one line and exits 2."""


class ConfigError(GoldlineError):
    """A configuration or recipe that is refused: one problem a line, each naming its file, section, key and value."""

    @property
    def problems(self) -> list[str]:
        """The lines."""
        return str(self).splitlines()
