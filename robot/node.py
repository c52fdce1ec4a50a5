"""The lifecycle node: parameters, topics and transitions. The one file that imports ROS."""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Sequence
from importlib import import_module
from threading import Event, Thread
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from advcal_edge.errors import ConfigError, first_line
from advcal_edge.robot.condition import Condition
from advcal_edge.robot.diagnosis import Diagnosis, Level
from advcal_edge.robot.input_kind import input_kind, make_reader, queue_depth
from advcal_edge.robot.intake import Answer, Intake
from advcal_edge.robot.opening import open_engine
from advcal_edge.robot.publishers import BEST_EFFORT, RELIABLE, Publisher, Wanted
from advcal_edge.robot.running import Watch
from advcal_edge.robot.settings import NodeSettings
from advcal_edge.runtime.messages.fields import NANOSECONDS, seconds_text

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError
try:
    import vision_msgs.msg as vision
except ImportError:  # no wheel has it; on a robot: apt install ros-$ROS_DISTRO-vision-msgs
    vision = None

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
NAME, INPUT = "advcal_edge", "input"
REPORT_SECONDS = 1.0


class EmbedNode(LifecycleNode):  # type: ignore[misc]
    """Sensor messages in; embeddings, labels and diagnostics out."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        super().__init__(NAME, parameter_overrides=list(overrides))
        loose = ParameterDescriptor(dynamic_typing=True)  # types are checked by `NodeSettings`, which says what fits
        for name, value in NodeSettings.defaults().items():
            self.declare_parameter(name, value, loose)
        self.condition = Condition(self.get_fully_qualified_name())
        self._told = ""
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._stopping = Event()
        # a thread, since the executor is busy while an engine is opened or runs, and diagnostics must not stop then
        self._reporter = Thread(target=self._report_on, name="diagnostics", daemon=True)
        self._reporter.start()

    def setting(self, name: str) -> Any:
        """The value of a parameter now."""
        return self.get_parameter(name).value

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the engine; what is wrong with it is said now, not at the first frame."""
        condition, started = self.condition, time.monotonic()
        condition.loading, condition.refusal = started, None
        try:
            settings = NodeSettings.of({name: self.setting(name) for name in NodeSettings.defaults()})
            opened = open_engine(settings)
            kind = input_kind(opened.embedder.modality, settings)
            reader = make_reader(opened.embedder.modality, kind, settings)
            self._message = message_class(kind)
        except Exception as error:
            condition.loading = None
            self._tell(condition.refuse(error))
            return FAILURE
        condition.loading, condition.opened = None, opened
        self._kind, self._depth = kind, queue_depth(reader)
        self._embeddings = self.create_lifecycle_publisher(Image, "~/embedding", 10)
        self._labels = self.create_lifecycle_publisher(vision.Classification if vision else String, "~/labels", 10)
        self._identity = self._publish_identity()
        embedder = opened.embedder
        self.get_logger().info(
            f"{embedder.fingerprint}, {'verified' if embedder.verified else 'not verified'},"
            f" ready in {time.monotonic() - started:.1f} s"
        )
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe. A window of the time before is not continued."""
        opened = self.condition.opened
        if opened is None:
            return FAILURE
        settings = opened.settings
        reader = make_reader(opened.embedder.modality, self._kind, settings)
        self._intake = Intake(opened.embedder, reader, settings)
        reliability = ReliabilityPolicy.RELIABLE if settings.reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=self._depth, reliability=reliability)
        # before the subscription: its first message may come at once
        topic = self.resolve_topic_name(INPUT)
        self.condition.watch = Watch(opened, self._intake, Wanted(topic, self._kind, settings.reliable))
        callbacks = SubscriptionEventCallbacks(
            incompatible_qos=self._on_incompatible, message_lost=lambda event: self._intake.miss(event.total_count)
        )
        try:
            made = self.create_subscription(self._message, INPUT, self._on_message, qos, event_callbacks=callbacks)
        except UnsupportedEventTypeError:  # of some middlewares; the publishers' QoS is compared in any case
            made = self.create_subscription(self._message, INPUT, self._on_message, qos)
        self._subscription = made
        self.get_logger().info(f"takes {self._kind} from {topic}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more messages."""
        self._unsubscribe()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the engine."""
        for publisher in (self._embeddings, self._labels):
            self.destroy_lifecycle_publisher(publisher)
        for latched in self._identity:
            self.destroy_publisher(latched)
        self.condition.opened = None
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more messages, in whatever state."""
        self._unsubscribe()
        self.condition.opened = None
        return SUCCESS

    def close(self) -> None:
        """Stop the diagnostics, then the node."""
        self._stopping.set()
        self._reporter.join()
        self.destroy_node()

    def _unsubscribe(self) -> None:
        if self.condition.watch is not None:
            self.condition.watch = None
            self.destroy_subscription(self._subscription)

    def _on_message(self, message: Any) -> None:
        answer = self._intake.take(message, self.get_clock().now().nanoseconds)
        if answer is not None:
            self._publish(answer)

    def _on_incompatible(self, event: Any) -> None:
        if self.condition.watch is not None:
            self.condition.watch.incompatible = qos_policy_name_from_kind(event.last_policy_kind)

    def _publish(self, answer: Answer) -> None:
        header = Header(frame_id=answer.frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(answer.stamp, NANOSECONDS)
        data = array("B", answer.z.astype("<f4").tobytes())
        shape = {"height": 1, "width": len(answer.z), "step": len(data)}
        self._embeddings.publish(Image(header=header, encoding="32FC1", data=data, **shape))
        if vision:
            results = [vision.ObjectHypothesis(class_id=one.label, score=one.score) for one in answer.matches]
            self._labels.publish(vision.Classification(header=header, results=results))
            return
        labels = [{"label": one.label, "score": one.score} for one in answer.matches]
        about = {"stamp": seconds_text(answer.stamp), "frame_id": answer.frame_id, "sure": answer.sure}
        said = {**about, "labels": labels}
        self._labels.publish(String(data=json.dumps(said)))

    def _publish_identity(self) -> list[Any]:
        """What runs, kept by the middleware for whoever subscribes later."""
        opened = self.condition.opened
        assert opened is not None  # noqa: S101  # called while configuring
        if vision is None:
            publisher = self.create_publisher(String, "~/engine", LATCHED)
            publisher.publish(String(data=opened.identity_text()))
            return [publisher]
        header = Header(stamp=self.get_clock().now().to_msg())
        labels = self.create_publisher(vision.LabelInfo, "~/label_info", LATCHED)
        names = [vision.VisionClass(class_id=at, class_name=one) for at, one in enumerate(opened.embedder.labels)]
        labels.publish(vision.LabelInfo(header=header, class_map=names, threshold=opened.settings.min_score))
        about = self.create_publisher(vision.VisionInfo, "~/vision_info", LATCHED)
        what = {name: value for name, value in opened.identity().items() if name != "labels"}
        about.publish(
            vision.VisionInfo(header=header, method=json.dumps(what), database_location=opened.settings.bundle)
        )
        return [labels, about]

    def _report_on(self) -> None:
        while not self._stopping.wait(REPORT_SECONDS):
            try:
                self._report()
            except Exception as error:  # diagnostics must not end while the node lives
                if not self._stopping.is_set() and rclpy.ok():
                    self.get_logger().error(f"no diagnostics: {error!r}", throttle_duration_sec=10.0)

    def _report(self) -> None:
        publishers = self._input_publishers()
        diagnosis = self.condition.diagnose(publishers)
        facts = {"to mend it": diagnosis.mend or "-", **self.condition.facts(publishers)}
        status = DiagnosticStatus(
            level=bytes([diagnosis.level]),
            name=f"{self.condition.node}: embedding",
            message=diagnosis.reason,
            hardware_id="" if self.condition.opened is None else self.condition.opened.embedder.runner.sha256[:12],
            values=[KeyValue(key=key, value=value) for key, value in facts.items()],
        )
        said = DiagnosticArray(status=[status])
        said.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(said)
        self._tell(diagnosis)

    def _input_publishers(self) -> list[Publisher]:
        watch = self.condition.watch
        if watch is None:
            return []
        kinds = {ReliabilityPolicy.RELIABLE: RELIABLE, ReliabilityPolicy.BEST_EFFORT: BEST_EFFORT}
        found = self.get_publishers_info_by_topic(watch.wanted.topic)
        return [
            Publisher(
                f"{one.node_namespace.rstrip('/')}/{one.node_name}",
                one.topic_type,
                kinds.get(one.qos_profile.reliability, "unknown"),
            )
            for one in found
        ]

    def _tell(self, diagnosis: Diagnosis) -> None:
        """Log what is wrong when it begins, and when it is over; figures in it may change without a new line."""
        kind = f"{diagnosis.level.name} {diagnosis.mend or diagnosis.level.name}"
        if kind == self._told:
            return
        self._told = kind
        if diagnosis.level == Level.OK:  # three lines, since rclpy ties a line to one severity
            self.get_logger().info(str(diagnosis))
        elif diagnosis.level == Level.ERROR:
            self.get_logger().error(str(diagnosis))
        else:
            self.get_logger().warning(str(diagnosis))


def message_class(kind: str) -> Any:
    """The class of the messages of a type like `sensor_msgs/Image`.

    Raises:
        ConfigError: its package is not installed.
    """
    package, _, name = kind.partition("/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the input has messages of type `{kind}`, and the package `{package}` is not installed",
            hint=f"`sudo apt install ros-$ROS_DISTRO-{package.replace('_', '-')}`, or another type: `-p input_type:=`",
        ) from error


def main(arguments: Sequence[str] | None = None, bundle: str | None = None) -> int:
    """Run the node until it is told to stop; `arguments` are those of ROS, `bundle` wins over its parameter.

    A node that could not be configured stays, and says why in its diagnostics.

    Raises:
        ConfigError: arguments that ROS does not understand.
    """
    try:
        rclpy.init(args=None if arguments is None else list(arguments))
    except Exception as error:  # of several types, which no module exports in all distributions
        raise ConfigError(
            f"ROS does not start with the arguments `{' '.join(arguments or ())}`: {first_line(error)}",
            hint="`--ros-args -r input:=/camera/image_raw -p engine:=int8 --params-file FILE`",
        ) from error
    node = EmbedNode([] if bundle is None else [Parameter("bundle", value=bundle)])
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.setting("autostart") and node.trigger_configure() == SUCCESS:
            node.trigger_activate()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:  # Jazzy's executor may meet the context that SIGINT has just shut down
        if rclpy.ok():
            raise
    finally:
        node.close()
        rclpy.try_shutdown()
    return 0
