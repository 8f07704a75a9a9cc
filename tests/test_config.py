"""The station: read whole, or refused with every problem named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera_config import FolderCamera, GigeCamera, SimulatedCamera
from edge.config import Station, load_station, runtime_directory
from edge.errors import ConfigError, GoldlineError


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """The problems of a config.toml with this text, without the folder's name."""
    file = folder / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_station(file, environ or {})
    return [line.replace(f"{folder}/", "") for line in caught.value.problems]


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Station:
    file = folder / "config.toml"
    file.write_text(text)
    return load_station(file, environ or {})


SIMULATED = '[cameras.left]\nsource = "simulated"\n'


def camera(name: str, role: str, trigger: str) -> str:
    return f'[cameras.{name}]\nsource = "simulated"\nrole = "{role}"\ntrigger = {{{trigger}}}\n'


GROUPED = "".join(
    (
        camera("top", "top", 'mode = "software", deadline_ms = 400'),
        camera("side", "side", 'mode = "software", deadline_ms = 300'),
        camera("twin", "top", 'mode = "software"'),
        camera("clock", "clock", 'mode = "software", period_ms = 50'),
        camera("free", "free", 'mode = "free"'),
        "[groups.box]\n",
    )
)


def shots(name: str, *views: str, role: str | None = None) -> str:
    """A camera with a shot for each `name:role`."""
    own = "" if role is None else f'role = "{role}"\n'
    tables = [view.split(":") for view in views]
    lines = [f'[[cameras.{name}.shot]]\nname = "{shot}"\nrole = "{of}"\n' for shot, of in tables]
    head = f'[cameras.{name}]\nsource = "gige"\naddress = "a"\n{own}trigger = {{mode = "software"}}\n'
    return head + "".join(lines)


ELSEWHERE = "must name an IP address of this machine, or * for all: who answers to a name is not ours to say"
REFUSED = [
    ('station_id = "Line 4"', 'config.toml: station_id = "Line 4": must match ^[a-z0-9][a-z0-9_-]{0,62}$'),
    ('porduct = "trunk"', 'config.toml: porduct = "trunk": unknown key; did you mean product?'),
    ("[metrics]\nport = 99999", "config.toml: [metrics] port = 99999: must be at most 65535"),
    ("[metrics]\nport = 0", "config.toml: [metrics] port = 0: must be at least 1"),
    ('[metrics]\nport = "x"', 'config.toml: [metrics] port = "x": must be a whole number'),
    ("metrics = 3", "config.toml: metrics = 3: must be a table"),
    (
        '[inference]\nprovider = "gpu"',
        "config.toml: [inference] provider = \"gpu\": must be 'cpu', 'cuda' or 'tensorrt'",
    ),
    ("[inference]\nallow_fallback = 7", "config.toml: [inference] allow_fallback = 7: must be true or false"),
    ("[cameras.left]\nrole = 'top'", "config.toml: [cameras.left] source: is missing"),
    (
        "[cameras.left]\nsource = 'webcam'",
        "config.toml: [cameras.left] source = \"webcam\": must be one of 'simulated', 'folder', 'gige', 'v4l2', 'stream', 'pylon', 'gentl'",
    ),
    ("[cameras.left]\nsource = 'folder'", "config.toml: [cameras.left] path: is missing"),
    (SIMULATED + "rate = 4", "config.toml: [cameras.left] rate = 4: unknown key; did you mean rate_hz?"),
    (SIMULATED + "path = 'x'", 'config.toml: [cameras.left] path = "x": unknown key'),
    (SIMULATED + "rate_hz = inf", "config.toml: [cameras.left] rate_hz = Infinity: must be a finite number"),
    (
        SIMULATED + "[cameras.left.trigger]\ndeadline_ms = -5",
        "config.toml: [cameras.left.trigger] deadline_ms = -5: must be greater than 0",
    ),
    (
        SIMULATED + "[cameras.left.trigger]\nperiod_ms = 40",
        'config.toml: [cameras.left.trigger]: period_ms needs mode = "software"',
    ),
    (
        "[cameras.Left]\nsource = 'simulated'",
        "config.toml: [cameras] Left: the name must match ^[a-z0-9][a-z0-9_-]{0,62}$",
    ),
    (
        "[cameras.g]\nsource = 'gige'\naddress = '1'\nfeatures.Gain = [1]",
        "config.toml: [cameras.g.features] Gain = [1]: must be true or false or a whole number or a number or text",
    ),
    (
        "[events]\nlive = 'tcp://somewhere:5556'",
        f'config.toml: [events] live = "tcp://somewhere:5556": {ELSEWHERE}',
    ),
    (GROUPED + 'cameras = ["top"]', 'config.toml: [groups.box] cameras = ["top"]: must name 2 to 8 cameras'),
    (GROUPED + 'cameras = "top"', 'config.toml: [groups.box] cameras = "top": must be a list'),
    (
        GROUPED + 'cameras = ["top", "top"]',
        'config.toml: [groups.box] cameras = ["top", "top"]: names top twice',
    ),
    (
        GROUPED + 'cameras = ["top", "sidd"]',
        "config.toml: [groups.box] cameras: sidd is no camera; did you mean side?",
    ),
    (
        GROUPED + 'cameras = ["top", "free"]',
        'config.toml: [groups.box] cameras: free has trigger.mode = "free"; a group needs "software", or "line" for all',
    ),
    (
        GROUPED.replace("[groups", camera("wire", "wire", 'mode = "line"') + "[groups") + 'cameras = ["wire", "top"]',
        'config.toml: [groups.box] cameras: wire has trigger.mode = "line" and top "software"; a group has one',
    ),
    (
        camera("a", "a", 'mode = "line"')
        + camera("b", "b", 'mode = "line"')
        + '[groups.box]\ncameras = ["a", "b"]\nperiod_ms = 5',
        "config.toml: [groups.box] period_ms: the line triggers its cameras",
    ),
    (
        camera("a", "a", 'mode = "line"')
        + shots("b", "bright:lid", "dark:rim").replace("software", "line")
        + '[groups.box]\ncameras = ["a", "b"]',
        "config.toml: [groups.box] cameras: b has shots; in a group on the line each camera takes one picture for each pulse",
    ),
    (
        GROUPED + 'cameras = ["top", "clock"]',
        "config.toml: [groups.box] cameras: clock has a trigger.period_ms of its own; set that of the group",
    ),
    (
        GROUPED + 'cameras = ["top", "twin"]',
        'config.toml: [groups.box] cameras: top and twin both have role = "top"; each view of a part needs its own',
    ),
    (
        GROUPED + 'cameras = ["top", "side"]\n[groups.lid]\ncameras = ["twin", "side"]',
        "config.toml: [groups.lid] cameras: side is in group box already",
    ),
    (
        GROUPED.replace("box", "side") + 'cameras = ["top", "side"]',
        "config.toml: [groups.side]: a camera has this name",
    ),
    (
        shots("left", "bright:lid"),
        "config.toml: [cameras.left]: shot: one picture for a trigger needs no [[shot]]; two or more do",
    ),
    (
        shots("left", "bright:lid", "bright:rim"),
        'config.toml: [cameras.left]: shot: two have name = "bright"',
    ),
    (
        shots("left", *(f"s{number}:r{number}" for number in range(9))),
        "config.toml: [cameras.left]: shot: 9 pictures for a trigger; must be at most 8",
    ),
    (
        shots("left", "bright:lid", "dark:rim").replace("software", "free"),
        'config.toml: [cameras.left]: shot: a free-running camera has none; set trigger.mode to "software" or "line"',
    ),
    (
        shots("left", "bright:lid", "dark:rim")
        + shots("right", "dark:rim", "side:side")
        + '[groups.box]\ncameras = ["left", "right"]',
        'config.toml: [groups.box] cameras: left.dark and right.dark both have role = "rim"; each view of a part needs its own',
    ),
    (
        shots("left", *(f"s{number}:r{number}" for number in range(7)))
        + shots("right", "dark:rim", "side:side")
        + '[groups.box]\ncameras = ["left", "right"]',
        "config.toml: [groups.box] cameras: 9 views with their shots; must be at most 8",
    ),
    ("[metrics]\nport = 5556", "config.toml: [events] live and [metrics] port are both 5556"),
]


@pytest.mark.parametrize(("text", "line"), REFUSED)
def test_a_refusal_names_file_section_key_value_and_bound(tmp_path, text, line):
    assert refusal(tmp_path, text) == [line]


def test_every_problem_is_named_at_once(tmp_path):
    text = 'porduct = "x"\n[metrics]\nport = 0\n[inference]\nthreads = -1'
    problems = refusal(tmp_path, text, {"GOLDLINE_STATION": "y"})
    assert len(problems) == 4
    assert all(any(word in line for line in problems) for word in ("porduct", "port = 0", "threads = -1", "STATION"))


def test_a_long_value_is_cut(tmp_path):
    (line,) = refusal(tmp_path, f'station_id = "{"X" * 500}"')
    assert len(line) < 200
    assert "…" in line


@pytest.mark.parametrize(
    ("text", "says"), [("a = = 1", "line 1, column 5"), ("[metrics\n", "line 1"), ("a = 1\na = 2\n", "line 2")]
)
def test_what_is_not_toml_is_refused_with_line_and_column(tmp_path, text, says):
    (line,) = refusal(tmp_path, text)
    assert line.startswith("config.toml: not valid TOML: ")
    assert says in line


def test_what_is_not_text_is_refused(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"station_id = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8 text, at byte 14"):
        load_station(tmp_path / "config.toml", {})


def test_a_named_file_that_is_not_there_is_not_replaced_by_defaults(tmp_path):
    with pytest.raises(GoldlineError, match=r"nowhere\.toml: no such file"):
        load_station(tmp_path / "nowhere.toml", {})


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    station = load_station(None, {})
    assert station.state_dir == tmp_path / "state"
    assert station.cameras == {}


def test_the_file_of_the_current_directory_or_of_the_variable_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text('station_id = "here"')
    Path("other.toml").write_text('station_id = "other"')
    assert load_station(None, {}).station_id == "here"
    assert load_station(None, {"GOLDLINE_CONFIG": "other.toml"}).station_id == "other"
    assert load_station(Path("config.toml"), {"GOLDLINE_CONFIG": "other.toml"}).station_id == "here"


def test_paths_are_relative_to_the_file_and_those_of_variables_to_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "etc"
    folder.mkdir()
    text = 'state_dir = "s"\npipelines_dir = "/p"\n[cameras.c]\nsource = "folder"\npath = "images"'
    station = load(folder, text, {"GOLDLINE_RUNTIME_DIR": "run"})
    assert station.state_dir == folder / "s"
    assert station.pipelines_dir == Path("/p")
    assert station.runtime_dir == tmp_path / "run"
    camera = station.cameras["c"]
    assert isinstance(camera, FolderCamera)
    assert camera.path == folder / "images"


def test_two_directories_make_a_station(tmp_path):
    station = load(tmp_path, 'state_dir = "a"\npipelines_dir = "b"')
    assert station == Station(state_dir=tmp_path / "a", pipelines_dir=tmp_path / "b")


def test_every_field_can_be_set_by_a_variable(tmp_path):
    station = load(
        tmp_path,
        "",
        {
            "GOLDLINE_STATION_ID": "press-4",
            "GOLDLINE_METRICS__PORT": "9000",
            "GOLDLINE_INFERENCE__ALLOW_FALLBACK": "true",
            "GOLDLINE_CAMERAS__LEFT__SOURCE": "simulated",
            "GOLDLINE_CAMERAS__LEFT__TRIGGER__DEADLINE_MS": "12.5",
            "GOLDLINE_CAMERAS__G__SOURCE": "gige",
            "GOLDLINE_CAMERAS__G__ADDRESS": "10.0.0.7",
            "GOLDLINE_CAMERAS__G__FEATURES__ExposureTime": "800",
            "GOLDLINE_CAMERAS__G__FEATURES__Gain": "1.5",
            "GOLDLINE_CAMERAS__G__FEATURES__GammaEnable": "true",
            "GOLDLINE_CAMERAS__G__FEATURES__ExposureAuto": "Off",
        },
    )
    assert (station.station_id, station.metrics.port, station.inference.allow_fallback) == ("press-4", 9000, True)
    left, gige = station.cameras["left"], station.cameras["g"]
    assert isinstance(left, SimulatedCamera)
    assert left.trigger.deadline_ms == 12.5
    assert isinstance(gige, GigeCamera)
    assert gige.features == {"ExposureTime": 800, "Gain": 1.5, "GammaEnable": True, "ExposureAuto": "Off"}
    assert type(gige.features["ExposureTime"]) is int
    assert gige.features["GammaEnable"] is True


def test_a_group_is_triggered_as_one_within_its_shortest_deadline(tmp_path):
    station = load(tmp_path, GROUPED + 'cameras = ["side", "top"]\nperiod_ms = 80')
    assert station.triggered == ("top", "side", "twin", "clock", "free", "box")
    assert (station.cameras_of("box"), station.cameras_of("top")) == (("side", "top"), ("top",))
    assert (station.group_of("side"), station.group_of("twin")) == ("box", None)
    assert (station.deadline_ms("box"), station.deadline_ms("top"), station.deadline_ms("free")) == (300, 400, 1000)
    assert [station.period_ms(name) for name in ("box", "clock", "free")] == [80, 50, None]
    assert Station.model_validate_json(station.model_dump_json()) == station


def test_a_group_can_be_set_by_variables(tmp_path):
    text = GROUPED.removesuffix("[groups.box]\n")
    station = load(tmp_path, text, {"GOLDLINE_GROUPS__BOX__CAMERAS": "top, side"})
    assert station.groups["box"].cameras == ("top", "side")
    assert refusal(tmp_path, text, {"GOLDLINE_GROUPS__BOX__CAMERAS": "top"}) == [
        'GOLDLINE_GROUPS__BOX__CAMERAS = ["top"]: must name 2 to 8 cameras'
    ]
    numbered = {"GOLDLINE_GROUPS__BOX__CAMERAS": "top,side", "GOLDLINE_GROUPS__BOX__CAMERAS__0": "top"}
    assert refusal(tmp_path, text, numbered)[0].startswith("GOLDLINE_GROUPS__BOX__CAMERAS__0: unknown variable")


def test_a_variable_beats_the_file_and_leaves_its_neighbours(tmp_path):
    station = load(tmp_path, "[metrics]\nhost = '0.0.0.0'\nport = 1000", {"GOLDLINE_METRICS__PORT": "2000"})
    assert (station.metrics.host, station.metrics.port) == ("0.0.0.0", 2000)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("GOLDLINE_STATON_ID", "GOLDLINE_STATON_ID: unknown variable; did you mean GOLDLINE_STATION_ID?"),
        ("GOLDLINE_METRICS_PORT", "GOLDLINE_METRICS_PORT: unknown variable; did you mean GOLDLINE_METRICS__PORT?"),
        (
            "GOLDLINE_CAMERAS__LEFT__RATE",
            "GOLDLINE_CAMERAS__LEFT__RATE: unknown variable; did you mean GOLDLINE_CAMERAS__LEFT__RATE_HZ?",
        ),
        ("GOLDLINE_PRODUCT__X", "GOLDLINE_PRODUCT__X: unknown variable; did you mean GOLDLINE_PRODUCT?"),
        ("GOLDLINE_QQQQQQ", "GOLDLINE_QQQQQQ: unknown variable"),
        ("GOLDLINE_METRICS", "GOLDLINE_METRICS: is a section, set its keys one by one, as in GOLDLINE_METRICS__HOST"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(tmp_path, name, line):
    assert refusal(tmp_path, SIMULATED, {name: "1"}) == [line]


def test_a_bad_value_of_a_variable_names_the_variable(tmp_path):
    environ = {"GOLDLINE_METRICS__PORT": "x", "GOLDLINE_CAMERAS__LEFT__SLOTS": "3"}
    assert refusal(tmp_path, SIMULATED, environ) == [
        'GOLDLINE_CAMERAS__LEFT__SLOTS = "3": must be at least 4',
        'GOLDLINE_METRICS__PORT = "x": must be a whole number',
    ]


def test_other_variables_of_the_prefix_and_of_the_machine_are_left_alone(tmp_path):
    assert load(tmp_path, "", {"GOLDLINE_TEST_DATA": "/data", "PATH": "/bin", "goldline_x": "1"})


def test_a_station_sent_to_a_worker_takes_nothing_from_the_environment(tmp_path, monkeypatch):
    station = load(tmp_path, SIMULATED)
    monkeypatch.setenv("GOLDLINE_STATION_ID", "elsewhere")
    assert Station.model_validate_json(station.model_dump_json()) == station


@pytest.mark.parametrize(
    ("address", "is_accepted"),
    [
        ("tcp://127.0.0.1:5560", True),
        ("tcp://localhost:5560", True),
        ("tcp://[::1]:5560", True),
        ("tcp://127.0.0.1:*", True),
        ("ipc:///run/goldline/live", True),
        ("tcp://*:5560", True),
        ("tcp://10.0.0.1:5560", True),
        ("tcp://somewhere:5560", False),
        ("tcp://127.0.0.1", False),
        ("tcp://127.0.0.1:0", False),
        ("tcp://127.0.0.1:65535", True),
        ("tcp://127.0.0.1:65536", False),
        ("tcp://127.0.0.1:556\u0663", False),
        ("127.0.0.1:5560", False),
        ("TCP://127.0.0.1:5560", False),
        ("IPC:///run/goldline/live", False),
        ("", False),
    ],
)
def test_only_what_can_be_listened_on_is_accepted(tmp_path, address, is_accepted):
    text = f'[events]\nlive = "{address}"'
    if is_accepted:
        assert load(tmp_path, text).events.live == address
    else:
        assert refusal(tmp_path, text)[0].startswith(f'config.toml: [events] live = "{address}": ')


def test_the_runtime_directory_is_the_stations_else_systemds_else_below_the_state():
    station = Station(state_dir=Path("/var/lib/goldline"))
    assert runtime_directory(station, {}) == Path("/var/lib/goldline/run")
    assert runtime_directory(station, {"RUNTIME_DIRECTORY": "/run/goldline"}) == Path("/run/goldline")
    own = Station(runtime_dir=Path("/mine"))
    assert runtime_directory(own, {"RUNTIME_DIRECTORY": "/run/goldline"}) == Path("/mine")


KEYS = st.sampled_from(["cameras", "metrics", "left", "source", "port", "x", "trigger", "features", "events", "live"])
SCALARS = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["gige", "folder"]))
TABLES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=12
)


@given(data=st.dictionaries(KEYS, TABLES, max_size=5))
def test_whatever_a_file_holds_it_is_a_station_or_a_list_of_lines(data):
    from pydantic import ValidationError

    from edge import validation

    try:
        Station(**data)
    except ValidationError as error:
        lines = validation.problems(error, Station, validation.Document("config.toml", data))
        assert lines
        assert all(line.startswith("config.toml: ") and "\n" not in line for line in lines)


def test_the_views_of_a_trigger_are_its_cameras_or_their_shots_each_with_its_role(tmp_path):
    text = camera("top", "top", 'mode = "software"') + shots("side", "bright:lid", "dark:rim")
    station = load(tmp_path, text + '[groups.box]\ncameras = ["side", "top"]')
    assert station.views == ("top", "side.bright", "side.dark")
    assert station.views_of("top") == ("top",)
    assert station.views_of("side") == ("side.bright", "side.dark")
    assert station.views_of("box") == ("side.bright", "side.dark", "top")
    assert [station.role_of(view) for view in station.views] == ["top", "lid", "rim"]
    for unknown in ("bottom", "side", "side.blue", "top.bright"):
        with pytest.raises(KeyError):
            station.role_of(unknown)
    assert Station.model_validate_json(station.model_dump_json()) == station


def test_the_first_camera_of_a_group_opens_what_the_line_triggers(tmp_path):
    text = "".join(camera(name, name, 'mode = "line"') for name in ("top", "side", "alone"))
    station = load(tmp_path, text + '[groups.box]\ncameras = ["side", "top"]')
    assert [station.opens(name) for name in ("side", "top", "alone")] == ["box", None, "alone"]
