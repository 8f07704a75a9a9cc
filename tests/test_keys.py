"""Keys: made, handed out, listed; files that are wrong or open to others are refused without repeating a secret."""

import json
import os
import sys
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from edge import __main__, key_files
from edge.addresses import reached
from edge.config import Station
from edge.errors import GoldlineError
from edge.keys import (
    ALPHABET,
    CLIENTS_FILE,
    PUBLIC_FILE,
    STATION_FILE,
    Client,
    Clients,
    StationKey,
    key_text,
    load_client_keys,
    load_clients,
    load_station_key,
    load_station_public,
    new_pair,
    own_keys,
    secured,
)

PAIR = new_pair()
OTHER = new_pair()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def station(**events: str) -> Station:
    return Station.model_validate({"events": events})


# --- what a key is


@given(st.binary(min_size=32, max_size=32))
def test_every_32_bytes_are_a_key(data):
    from zmq.utils import z85

    text = z85.encode(data).decode()
    assert key_text(text) == text


@given(st.text(max_size=60) | st.text(ALPHABET, min_size=40, max_size=40))
def test_what_libzmq_does_not_take_is_no_key(text):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        try:
            socket.setsockopt(zmq.CURVE_SERVERKEY, text.encode())
            is_taken = len(text.encode()) == 40
        except (zmq.ZMQError, UnicodeEncodeError):
            is_taken = False
    if is_taken:
        assert key_text(text) == text
    else:
        with pytest.raises(ValueError, match=r"^must be a CURVE key: 40 characters of Z85$"):
            key_text(text)


def test_no_key_of_ours_looks_like_an_option():
    assert not any(new_pair()[0].startswith("-") for _ in range(200))


# --- the list

NAMES = st.sampled_from(["mes", "scada", "line-2"])
ZONE_SETS = st.sampled_from([("events",), ("orders",), ("events", "orders")])
PUBLICS = [new_pair()[0] for _ in range(3)]


@given(st.lists(st.tuples(st.booleans(), NAMES, st.sampled_from(PUBLICS), ZONE_SETS), max_size=12))
def test_the_list_is_what_was_allowed_and_not_denied(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("list") / "keys"
    expected: dict[str, tuple[str, tuple[str, ...]]] = {}
    for is_allowed, name, public, zones in steps:
        others = {key for other, (key, _) in expected.items() if other != name}
        try:
            if is_allowed:
                key_files.allow(folder, name, public, zones)
            else:
                key_files.deny(folder, name)
        except GoldlineError:
            has_other_key = name in expected and expected[name][0] != public
            assert has_other_key or public in others if is_allowed else name not in expected
        else:
            if is_allowed:
                expected[name] = (public, zones)
            else:
                del expected[name]
        listed = load_clients(folder)
        assert {one: (client.public, client.zones) for one, client in listed.clients.items()} == expected
    for public in PUBLICS:
        for zone in ("events", "orders", ""):
            owners = [name for name, (key, zones) in expected.items() if key == public and zone in zones]
            assert listed_name(folder, zone, public) == (owners[0] if owners else None)


def listed_name(folder: Path, zone: str, public: str) -> str | None:
    listed = load_clients(folder)
    name = listed.named(zone, public)
    assert (name is not None) == any(key == public for _, key in listed.admitted(zone))
    return name


def test_a_key_is_one_client_and_a_name_one_key(folder):
    key_files.allow(folder, "mes", PAIR[0], ("events",))
    with pytest.raises(GoldlineError, match="mes and scada have the same key"):
        key_files.allow(folder, "scada", PAIR[0], ("events",))
    with pytest.raises(GoldlineError, match="mes: is let in with another key; --replace"):
        key_files.allow(folder, "mes", OTHER[0], ("events",))
    key_files.allow(folder, "mes", OTHER[0], ("events",), is_replaced=True)
    assert load_clients(folder).clients == {"mes": Client(public=OTHER[0])}


def test_without_a_list_nobody_is_let_in(folder):
    assert load_clients(folder) == Clients()


LISTS = [
    ("clients = 3", "clients = 3: must be a table"),
    ("[clients.mes]", "[clients.mes] public: is missing"),
    ('[clients.mes]\npublic = "abc"', '[clients.mes] public = "abc": must be a CURVE key: 40 characters of Z85'),
    (f'[clients.mes]\npublic = "{PAIR[0]}"\nzones = ["all"]', "must be 'events' or 'orders'"),
    (f'[clients.mes]\npublic = "{PAIR[0]}"\nzones = []', "[clients.mes] zones"),
    (f'[clients.Mes]\npublic = "{PAIR[0]}"', "[clients] Mes: the name must match"),
    (f'[clients.mes]\npublic = "{PAIR[0]}"\nhost = "10.0.0.1"', "host = "),
    ("[clients.mes", "not valid TOML"),
    (f"clients = {'[' * 10_000}", "not valid TOML"),
    (f"clients = {'1' * 10_000}", "not valid TOML"),
]


# A test has the same name in every run: not that of a key.
@pytest.mark.parametrize(("text", "words"), LISTS, ids=range(len(LISTS)))
def test_a_wrong_list_is_refused_with_its_place(folder, text, words):
    folder.mkdir()
    path = folder / CLIENTS_FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(GoldlineError) as refusal:
        load_clients(folder)
    assert str(path) in str(refusal.value)
    assert words in str(refusal.value)


# --- files


def test_what_is_made_is_read_back_and_is_for_nobody_else(folder):
    made = key_files.new_station_key(folder, is_replaced=False)
    assert load_station_key(folder) == made
    assert zmq.curve_public(made.secret.encode()).decode() == made.public
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / STATION_FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(GoldlineError, match="is there already; --replace"):
        key_files.new_station_key(folder, is_replaced=False)
    assert load_station_key(folder) == made
    assert key_files.new_station_key(folder, is_replaced=True) != made
    assert sorted(path.name for path in folder.iterdir()) == [STATION_FILE, PUBLIC_FILE], (
        "something is left of the writing"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_may_read_is_refused(folder, mode):
    made = key_files.new_station_key(folder, is_replaced=False)
    (folder / STATION_FILE).chmod(mode)
    with pytest.raises(GoldlineError, match=r"others may read its secret .*: chmod 600") as refusal:
        load_station_key(folder)
    assert made.secret not in str(refusal.value)


def test_a_list_that_others_may_write_is_refused(folder):
    key_files.allow(folder, "mes", PAIR[0], ("events",))
    (folder / CLIENTS_FILE).chmod(0o646)
    with pytest.raises(GoldlineError, match=r"others may add keys to it .*: chmod 644"):
        load_clients(folder)


def loaded_or_refused(folder: Path, made: StationKey) -> str:
    """The refusal; "" where the key is what it was."""
    try:
        assert load_station_key(folder) == made
    except GoldlineError as refusal:
        return str(refusal)
    return ""


@given(st.data())
def test_a_damaged_secret_is_refused_and_never_repeated(tmp_path_factory, data):
    """Every cut and every changed byte of a station's key is either still the key or one line without a secret."""
    folder = tmp_path_factory.mktemp("damaged")
    made = key_files.new_station_key(folder, is_replaced=False)
    path = folder / STATION_FILE
    text = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(text) - 1), max_size=3)):
        text[at] = data.draw(st.integers(0, 255))
    path.write_bytes(text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text)
    said = loaded_or_refused(folder, made)
    assert "\n" not in said
    assert made.secret[:20] not in said
    assert made.secret[20:] not in said


def test_a_credential_goes_before_the_file(folder, tmp_path):
    key_files.new_station_key(folder, is_replaced=False)
    other = key_files.new_station_key(tmp_path / "other", is_replaced=False)
    given_by_systemd = tmp_path / "credentials"
    given_by_systemd.mkdir()
    (tmp_path / "other" / STATION_FILE).rename(given_by_systemd / "goldline-curve")
    (given_by_systemd / "goldline-curve").chmod(0o440)
    assert load_station_key(folder, {"CREDENTIALS_DIRECTORY": str(given_by_systemd)}) == other
    assert load_station_key(folder, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) != other


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_keys_of_another_user_are_one_line(folder):
    key_files.new_station_key(folder, is_replaced=False)
    key_files.allow(folder, "mes", PAIR[0], ("events",))
    os.seteuid(65534)
    try:
        for load in (load_station_key, load_clients, load_station_public):
            with pytest.raises(GoldlineError, match="cannot be read: Permission denied"):
                load(folder)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_makes_belongs_to_the_owner_of_the_state(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12345, 12346)
    key_files.new_station_key(state / "keys", is_replaced=False)
    for path in (state / "keys", state / "keys" / STATION_FILE):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(GoldlineError, match="keys: cannot be written: Not a directory"):
        key_files.new_station_key(tmp_path / "keys", is_replaced=False)


# --- which addresses need them

REMOTE, LOOPBACK, IPC = "tcp://*:5556", "tcp://127.0.0.1:5557", "ipc:///run/x"


@pytest.mark.parametrize(
    ("curve", "events", "needy"),
    [
        ("auto", {}, {}),
        ("auto", {"live": REMOTE}, {"live": "events", "sync": "events"}),
        ("auto", {"live": IPC, "sync": "tcp://0.0.0.0:1"}, {"sync": "events"}),
        ("auto", {"command": "tcp://10.0.0.1:1"}, {"command": "orders"}),
        ("auto", {"command": "tcp://[::]:1"}, {"command": "orders"}),
        ("auto", {"command": "tcp://[::1]:1"}, {}),
        ("always", {"live": IPC}, {"sync": "events", "command": "orders"}),
    ],
)
def test_beyond_loopback_or_always_and_never_in_the_file_system(curve, events, needy):
    one = Station.model_validate({"events": events, "security": {"curve": curve}})
    assert secured(one) == needy


def test_the_station_itself_opens_what_needs_keys_with_its_own(tmp_path):
    one = Station.model_validate({"state_dir": tmp_path, "events": {"live": REMOTE}})
    made = key_files.new_station_key(one.keys_dir, is_replaced=False)
    assert own_keys(one, "orders") is None
    own = own_keys(one, "events")
    assert own is not None
    assert (own.server_public, own.secret) == (made.public, made.secret)


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("tcp://*:5556", "tcp://127.0.0.1:5556"),
        ("tcp://0.0.0.0:5556", "tcp://127.0.0.1:5556"),
        ("tcp://[::]:5556", "tcp://[::1]:5556"),
        ("tcp://10.1.2.3:5556", "tcp://10.1.2.3:5556"),
        ("ipc:///run/live", "ipc:///run/live"),
    ],
)
def test_where_this_machine_reaches_what_it_listens_at(address, where):
    assert reached(address) == where


# --- the command


class Shell:
    """`goldline` with these words, in a station's folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)
        (folder / "config.toml").write_text(f'[events]\nlive = "{REMOTE}"\n')

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["goldline", *words])
        code = __main__.main()
        return code, *self._capsys.readouterr()


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    return Shell(tmp_path, monkeypatch, capsys)


def test_from_no_key_to_a_client_and_back(shell):
    code, said, _ = shell("check")
    assert code == 1
    assert "NO   [events] live: peers at tcp://*:5556 need keys, and this station has none: goldline keys new" in said
    code, _, problem = shell("keys", "client", "mes")
    assert (code, problem.count("\n")) == (2, 1)
    assert "this station has no key yet: goldline keys new" in problem

    assert shell("keys", "new")[0] == 0
    code, said, _ = shell("check")
    assert code == 0
    assert "nobody is let in yet: goldline keys client NAME" in said

    code, said, _ = shell("keys", "client", "mes", "--for", "orders, events")
    assert code == 0
    assert "tcp://*:5556" in said
    file = shell.folder / "mes.key"
    assert file.stat().st_mode & 0o777 == 0o600
    keys = load_client_keys(file)
    assert keys.secret not in said

    listed = json.loads(shell("keys", "list", "--json")[1])
    assert listed["clients"] == {"mes": {"public": keys.public, "zones": ["events", "orders"]}}
    assert listed["station"]["public"] == keys.server_public

    assert shell("keys", "deny", "mes")[0] == 0
    assert json.loads(shell("keys", "list", "--json")[1])["clients"] == {}
    assert shell("keys", "allow", "mes", keys.public)[0] == 0
    assert json.loads(shell("keys", "list", "--json")[1])["clients"]["mes"]["zones"] == ["events"]
    assert "mes" in shell("keys", "list")[1]


def test_where_the_service_alone_has_the_secret_clients_are_made_by_the_public_key(shell):
    shell("keys", "new")
    public = json.loads(shell("keys", "list", "--json")[1])["station"]["public"]
    (shell.folder / "state" / "keys" / STATION_FILE).unlink()
    assert shell("keys", "client", "mes")[0] == 0
    assert load_client_keys(shell.folder / "mes.key").server_public == public
    code, said, _ = shell("check")
    assert code == 0
    assert "note [events] live: peers at" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("new",), "--replace makes another"),
        (("client", "mes"), "mes: is let in already; --replace"),
        (("client", "Mes"), "Mes: a client's name has lower-case letters"),
        (("client", "../mes"), "../mes: a client's name has lower-case letters"),
        (("client", "b", "--for", "all"), "--for all: 'all' is no zone: events, orders"),
        (("allow", "b", "short"), "the public key must be 40 characters of Z85"),
        (("allow", "b", "--", PAIR[1][:-1]), "the public key must be 40 characters of Z85"),
        (("deny", "mess"), "mess: is not on the list; did you mean mes?"),
    ],
)
def test_what_cannot_be_done_is_one_line_without_a_key(shell, words, line):
    shell("keys", "new")
    shell("keys", "client", "mes")
    before = {path: path.read_bytes() for path in (shell.folder / "state" / "keys").iterdir()}
    code, _, problem = shell("keys", *words)
    assert code == 2
    assert line in problem
    assert problem.count("\n") == 1
    assert PAIR[1][:-1] not in problem
    assert {path: path.read_bytes() for path in (shell.folder / "state" / "keys").iterdir()} == before
