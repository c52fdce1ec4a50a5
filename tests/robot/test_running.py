"""The diagnosis of an active node: the worst of what is wrong lately, its reason and its mending command."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ros import NANOSECONDS, image, warm_scene
from tiny import Linear, write_bundle
from verified import intake, opened

from advcal_edge.robot import Level, NodeSettings
from advcal_edge.robot.condition import Condition
from advcal_edge.robot.counts import Counts, Recent
from advcal_edge.robot.opening import open_engine
from advcal_edge.robot.publishers import BEST_EFFORT, RELIABLE, Publisher, Wanted
from advcal_edge.robot.running import Watch
from advcal_edge.spec import thermal

CAMERA = Publisher("/camera", "sensor_msgs/msg/Image", BEST_EFFORT)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Of a node that has been active for five seconds."""
    taking = intake(tmp_path, thermal(8))
    found = open_engine(taking.settings)
    return Watch(found, taking, Wanted("/input", "sensor_msgs/Image", False), time.monotonic() - 5)


def show(watch: Watch, count: int = 1, age: float = 0.0, broken: bool = False, stamped: bool = True) -> None:
    for _ in range(count):
        now = time.time_ns()
        message = image(warm_scene(24, 32), "16UC1", stamp=now - round(age * NANOSECONDS) if stamped else 0)
        if broken:
            message.data = message.data[:100]
        watch.intake.take(message, now)


def test_all_is_well(watch: Watch) -> None:
    show(watch, 10)
    found = watch.look([CAMERA])
    assert (found.level, found.mend) == (Level.OK, "")
    assert found.reason == "2.0 answers per second"
    facts = watch.facts([CAMERA])
    assert facts["received"] == facts["embedded"] == "10"
    assert facts["verified"] == "yes"
    assert facts["publishers"] == "/camera sensor_msgs/msg/Image best effort"
    assert float(facts["ms p50"]) <= float(facts["ms p99"])


def test_silence_of_no_publisher_and_of_one(watch: Watch) -> None:
    assert watch.look([]).reason == "nobody publishes `/input`"
    found = watch.look([CAMERA])
    assert (found.level, found.reason) == (Level.STALE, "no message yet on `/input`, though `/camera` publishes it")
    assert "advcal-edge doctor" in found.mend
    show(watch)
    watch.intake.arrived = time.monotonic() - 7
    found = watch.look([CAMERA])
    assert found.reason == "no message for 7 s on `/input`, though `/camera` publishes it"
    assert found.mend == "does it publish at all? `ros2 topic hz /input`"


def test_a_node_that_has_just_begun_waits(watch: Watch) -> None:
    watch.since = time.monotonic()
    assert watch.look([]).reason == "waits for the first message on `/input`"


@pytest.mark.parametrize(("age", "reason", "mend"), [
    (0.5, "10 of the last 10 messages were older than 0.2 s and dropped, the last one 0.50 s", "max_age:=1.00"),
    (7200, "the last one 120 minutes", "use_sim_time:=true"),
    (400000, "the last one 4.6 days", "use_sim_time:=true"),
])  # fmt: skip
def test_stale_messages(watch: Watch, age: float, reason: str, mend: str) -> None:
    show(watch, 10, age)
    found = watch.look([CAMERA])
    assert found.level == Level.WARN
    assert reason in found.reason
    assert mend in found.mend


def test_clocks_that_differ_and_stamps_that_are_missing(watch: Watch) -> None:
    show(watch, age=-3)
    found = watch.look([CAMERA])
    assert (found.level, "3.00 s ahead of this clock" in found.reason) == (Level.WARN, True)
    show(watch, stamped=False)
    assert watch.look([CAMERA]).level == Level.OK  # one of two
    watch.intake.counts = Counts()
    show(watch, 20, stamped=False)
    watch._recent = Recent(time.monotonic() - 5)
    found = watch.look([CAMERA])
    assert (found.level, "no stamp" in found.reason) == (Level.WARN, True)


def test_rejected_messages_are_an_error_or_a_warning_by_their_share(watch: Watch) -> None:
    show(watch, 3, broken=True)
    found = watch.look([CAMERA])
    assert found.level == Level.ERROR
    assert found.reason.startswith("3 of the last 3 messages gave no answer: ")
    assert found.mend
    show(watch, 9)
    found = watch.look([CAMERA])
    assert (found.level, found.reason.startswith("3 of the last 12 messages: ")) == (Level.WARN, True)


def test_lost_messages(watch: Watch) -> None:
    show(watch, 10)
    watch.intake.miss(1)
    assert watch.look([CAMERA]).level == Level.OK
    watch.intake.miss(12)
    found = watch.look([CAMERA])
    assert (found.level, found.reason) == (Level.WARN, "12 messages were lost on their way while 10 came")


def test_an_engine_without_a_report_is_a_warning_with_the_command(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(thermal(8)), ("fp32",), {})
    taking = intake(tmp_path / "verified", thermal(8))
    unverified = open_engine(NodeSettings(str(bundle.path), require_verified=False))
    watch = Watch(unverified, taking, Wanted("/input", "sensor_msgs/Image", False))
    show(watch)
    found = watch.look([CAMERA])
    assert (found.level, found.reason) == (Level.WARN, "the engine `forward.fp32.onnx` has no passing report")
    assert found.mend.startswith("`advcal-edge verify ")


def test_what_is_over_is_forgotten_after_ten_seconds() -> None:
    recent = Recent(0.0)
    assert recent.add(Counts(received=5, rejected=5), 1.0) == (Counts(received=5, rejected=5), 1.0)
    for second in range(2, 11):
        recent.add(Counts(received=5 + second, rejected=5), float(second))
    added, span = recent.add(Counts(received=16, rejected=5), 11.0)
    assert (added.rejected, added.received, span) == (0, 11, 10.0)


def test_every_state_of_the_node_has_its_diagnosis(tmp_path: Path, watch: Watch) -> None:
    condition = Condition("/advcal_edge")
    assert condition.diagnose([]).mend == "`ros2 lifecycle set /advcal_edge configure`"
    condition.loading = time.monotonic() - 12
    assert condition.diagnose([]).reason == "reading and checking the engine for 12 s"
    condition.loading = None
    condition.refuse(RuntimeError("first line\nsecond"))
    found = condition.diagnose([])
    assert (found.level, found.reason) == (Level.ERROR, "RuntimeError: first line")
    condition.refusal, condition.opened = None, opened(tmp_path / "other", thermal(8))
    assert condition.diagnose([]).mend == "`ros2 lifecycle set /advcal_edge activate`"
    assert condition.facts([])["verified"] == "yes"
    condition.watch = watch
    assert condition.diagnose([]).reason == "nobody publishes `/input`"
    reliable = Publisher("/camera", "sensor_msgs/msg/Image", RELIABLE)
    assert condition.facts([reliable])["publishers"].endswith("reliable")
