"""The simulated camera: the contract, and that what it shows is what it says."""

import time

import numpy as np
import pytest

from edge.camera_config import SimulatedCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras import scene
from edge.cameras.camera import CameraConfigError
from edge.cameras.pacing import Clock
from edge.cameras.simulated import SimulatedCamera
from tests.cameras.contract import CameraContract, MakeCamera, streaming

SIZE = (64, 64)


def maker(mode: str = "free", **changes: object) -> MakeCamera:
    values = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": 50.0, "prerendered": 3} | changes
    config, trigger = Config.model_validate(values), TriggerConfig.model_validate({"mode": mode})
    return lambda: SimulatedCamera("trunk", config, trigger)


class TestContract(CameraContract):
    """A simulated camera, repeating pictures."""

    @pytest.fixture
    def free_running(self) -> MakeCamera:
        return maker()

    @pytest.fixture
    def triggered(self) -> MakeCamera:
        return maker("software")


def pictures(make: MakeCamera, count: int) -> list[tuple[str | None, bytes]]:
    """Label and pixels of frames that were asked for one by one."""
    taken = []
    with streaming(make) as stream:
        for _ in range(count):
            stream.camera.trigger()
            frame = stream.wait()
            taken.append((frame.label, stream.slots[frame.slot][: stream.info.frame_bytes].tobytes()))
            stream.camera.release(frame.slot)
    return taken


def test_a_seed_gives_the_same_parts_again_and_another_gives_others() -> None:
    first, again, other = (pictures(maker("software", prerendered=0, seed=seed), 5) for seed in (7, 7, 8))
    assert first == again
    assert not {pixels for _, pixels in first} & {pixels for _, pixels in other}
    assert len({pixels for _, pixels in first}) == 5


def test_prerendered_pictures_repeat_in_order() -> None:
    taken = pictures(maker("software", prerendered=3), 7)
    assert len(set(taken)) == 3
    assert taken == (taken[:3] * 3)[:7]


@pytest.mark.parametrize(("rate", "expected"), [(0.0, {"good"}), (1.0, set(scene.DEVIATIONS))])
def test_the_share_of_deviations_is_as_configured(rate: float, expected: set[str]) -> None:
    labels = {label for label, _ in pictures(maker("software", prerendered=0, deviation_rate=rate), 60)}
    assert labels == expected


def test_the_label_is_the_truth() -> None:
    # The camera's own generator, read from outside: the kind is decided before the picture is drawn.
    generator = np.random.default_rng(4)
    for label, pixels in pictures(maker("software", prerendered=0, seed=4, deviation_rate=0.5), 6):
        deviates = generator.random() < 0.5
        kind = str(generator.choice(scene.DEVIATIONS)) if deviates else scene.GOOD
        assert label == kind
        assert pixels == scene.render(kind, generator, SIZE)[0].tobytes()


def test_cameras_of_different_phase_keep_their_distance() -> None:
    clocks = [Clock(20.0, free_running=True, phase=phase) for phase in (0.0, 0.5)]
    for clock in clocks:
        clock.start()
    due_ns = [clock._next_ns for clock in clocks]
    assert {abs(due_ns[1] - due_ns[0])} <= {25_000_000, 75_000_000}
    assert all(0 <= due - time.monotonic_ns() + 1_000_000 <= 51_000_000 for due in due_ns)
    assert all(clock.wait(0.2) == 1 for clock in sorted(clocks, key=lambda clock: clock._next_ns))


def test_it_has_no_input_for_a_line() -> None:
    with pytest.raises(CameraConfigError, match="a simulated camera has no input"):
        maker("line")().open()
