"""Make the certificate that the OPC UA server shows its clients."""

import argparse

EXAMPLE = "example: goldline opcua && cp plc.der certificates/trusted/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = (
        "Make a key and a certificate for [lanes.opcua] in its folder of certificates. Give own/cert.der to the "
        "clients, and put the certificate of each client that may enter into trusted/."
    )
    parser.epilog = EXAMPLE
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """0 when it was made. Raises GoldlineError: nothing to make it for, or there is one already."""
    import msgspec

    from edge.addresses import host_and_port
    from edge.config import load_station
    from edge.errors import GoldlineError

    station = load_station(arguments.config)
    lane = station.lanes.opcua
    if lane is None or lane.certificates is None:
        raise GoldlineError('config.toml has no [lanes.opcua] with certificates = "FOLDER"')
    try:
        from edge.lanes import opcua_certificate
    except ModuleNotFoundError as missing:
        raise GoldlineError(f"needs {missing.name}, which is not installed: pip install 'goldline[opcua]'") from missing
    host = host_and_port(lane.listen)[0]
    made = opcua_certificate.make(lane.certificates, station.station_id, host, station.state_dir)
    facts = {
        "certificate": str(lane.certificates / "own" / "cert.der"),
        "trusted": str(lane.certificates / "trusted"),
        "fingerprint_sha256": opcua_certificate.fingerprint(made),
        "valid_until": made.not_valid_after_utc.isoformat(),
    }
    if arguments.json:
        print(msgspec.json.encode(facts).decode())
    else:
        print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0
