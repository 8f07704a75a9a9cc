"""The commands of `goldline`, one file each: `add_arguments(parser)` and `run(arguments) -> exit code`."""
