"""Metrics that every node has, named ``epc_<node>_<what>``; labels never hold an IMSI or a TEID.

One registry a node, so that several nodes in one process stay apart. Label children are bound once and kept.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from epc.procedure import Outcome

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, that nobody reads
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class NodeMetrics:
    """The counters of one node; an :class:`epc.procedure.Observer`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.registry = CollectorRegistry()
        prefix = f"epc_{kind}"
        self._attempts = Counter(
            f"{prefix}_procedure_attempts", "Procedures started (TS 32.426: attempted ...)", ["procedure"], registry=self.registry)
        self._successes = Counter(
            f"{prefix}_procedure_successes", "Procedures that succeeded (TS 32.426: successful ...)", ["procedure"], registry=self.registry)
        self._failures = Counter(
            f"{prefix}_procedure_failures", "Procedures that failed, by outcome and cause (TS 32.426: failed ...)",
            ["procedure", "result", "cause"], registry=self.registry)
        self._duration = Histogram(
            f"{prefix}_procedure_duration_seconds", "Duration of procedures", ["procedure"], buckets=_BUCKETS, registry=self.registry)
        self._step_duration = Histogram(
            f"{prefix}_step_duration_seconds", "Duration of the numbered steps of procedures", ["procedure", "step"],
            buckets=_BUCKETS, registry=self.registry)
        self._messages = Counter(
            f"{prefix}_messages", "Messages by reference point, direction and type", ["interface", "direction", "type"], registry=self.registry)
        self._retransmissions = Counter(
            f"{prefix}_retransmissions", "Messages sent again after a timer ran out", ["interface", "type"], registry=self.registry)
        self._errors = Counter(
            f"{prefix}_protocol_errors", "Messages that could not be used, by reference point and cause", ["interface", "cause"],
            registry=self.registry)
        self._message_children: dict[tuple[str, str, str], Counter] = {}
        self._procedure_children: dict[str, tuple[Counter, Counter, Histogram]] = {}
        self._step_children: dict[tuple[str, str], Histogram] = {}

    # what transports and procedures tell

    def message_sent(self, interface: str, type: str) -> None:
        self._message(interface, "sent", type)

    def message_received(self, interface: str, type: str) -> None:
        self._message(interface, "received", type)

    def _message(self, interface: str, direction: str, type: str) -> None:
        key = (interface, direction, type)
        child = self._message_children.get(key)
        if child is None:
            child = self._message_children[key] = self._messages.labels(*key)
        child.inc()

    def retransmission(self, interface: str, type: str) -> None:
        self._retransmissions.labels(interface, type).inc()

    def protocol_error(self, interface: str, cause: str) -> None:
        self._errors.labels(interface, cause).inc()

    def procedure_started(self, name: str) -> None:
        self._procedure(name)[0].inc()

    def step_finished(self, name: str, step: str, duration_s: float) -> None:
        key = (name, step)
        child = self._step_children.get(key)
        if child is None:
            child = self._step_children[key] = self._step_duration.labels(*key)
        child.observe(duration_s)

    def procedure_finished(self, name: str, outcome: Outcome, cause: str, duration_s: float) -> None:
        _, successes, duration = self._procedure(name)
        duration.observe(duration_s)
        if outcome is Outcome.SUCCESS:
            successes.inc()
        else:
            self._failures.labels(name, outcome.value, cause).inc()

    def _procedure(self, name: str) -> tuple[Counter, Counter, Histogram]:
        children = self._procedure_children.get(name)
        if children is None:
            children = self._procedure_children[name] = (
                self._attempts.labels(name), self._successes.labels(name), self._duration.labels(name))
        return children

    # what a node adds

    def gauge(self, what: str, help: str, value: Callable[[], float]) -> None:
        """A figure read at scrape time: ``gauge("registered_ues", ..., lambda: len(...))``."""
        Gauge(f"epc_{self.kind}_{what}", help, registry=self.registry).set_function(value)

    def counter(self, what: str, help: str, labels: tuple[str, ...] = ()) -> Counter:
        """A counter of the node's own; bind its label children once."""
        return Counter(f"epc_{self.kind}_{what}", help, list(labels), registry=self.registry)

    def value(self, name: str, **labels: str) -> float:
        """One sample's value, 0.0 if it does not exist yet: ``value("procedure_failures_total", procedure="attach", ...)``."""
        return self.registry.get_sample_value(f"epc_{self.kind}_{name}", labels) or 0.0

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
