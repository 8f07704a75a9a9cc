"""A plant of stations: events to the hub, and products rolled out from it (`docs/fleet.md`)."""
