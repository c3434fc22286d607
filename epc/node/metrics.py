"""Metrics that every node has, named ``epc_<node>_<what>``; labels never hold an IMSI or a TEID.

One registry a node, so that several nodes in one process stay apart. What is counted at every message is kept as plain numbers, since a
node has one thread, and becomes samples when somebody scrapes: prometheus_client's own counters lock a mutex at every increment and
would take a twentieth of a node's time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from epc.procedure import Outcome

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, that nobody reads
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BUCKET_NAMES = [*map(floatToGoString, _BUCKETS), "+Inf"]

# What 3GPP calls the most interesting of a node's procedures: TS 32.426 clause 4.1.1 for the MME, TS 32.425 clause 4.2.1 for the eNodeB.
_MEASUREMENTS = {
    "mme": ("; attach: MM.EpsAttachAtt", "; attach: MM.EpsAttachSucc", "; attach: MM.EpsAttachFail"),
    "enb": ("; initial_context_setup: ERAB.EstabInitAttNbr", "; initial_context_setup: ERAB.EstabInitSuccNbr",
            "; initial_context_setup: ERAB.EstabInitFailNbr"),
}


class _Counts(Collector):
    """A counter for each combination of label values that has occurred."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name, self._help, self._labels = name, help, labels
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, *labels: str, number: int = 1) -> None:
        self._counts[labels] = self._counts.get(labels, 0) + number

    def describe(self) -> Iterable[Metric]:
        return (CounterMetricFamily(self._name, self._help, labels=self._labels),)

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return (family,)


class _Distribution:
    """How often a duration fell into each bucket (the last: longer than all), and the sum of all."""

    __slots__ = ("in_bucket", "sum_s")

    def __init__(self) -> None:
        self.in_bucket = [0] * len(_BUCKET_NAMES)
        self.sum_s = 0.0

    def add(self, duration_s: float) -> None:
        self.in_bucket[bisect_left(_BUCKETS, duration_s)] += 1
        self.sum_s += duration_s


class _Durations(Collector):
    """A histogram for each combination of label values that has occurred."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name, self._help, self._labels = name, help, labels
        self._distributions: dict[tuple[str, ...], _Distribution] = {}
        registry.register(self)

    def add(self, duration_s: float, *labels: str) -> None:
        distribution = self._distributions.get(labels)
        if distribution is None:
            distribution = self._distributions[labels] = _Distribution()
        distribution.add(duration_s)

    def describe(self) -> Iterable[Metric]:
        return (HistogramMetricFamily(self._name, self._help, labels=self._labels),)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for labels, distribution in self._distributions.items():
            up_to = accumulate(distribution.in_bucket)
            family.add_metric(labels, list(zip(_BUCKET_NAMES, up_to, strict=True)), distribution.sum_s)
        return (family,)


class _ReadAtScrape(Collector):
    """Figures that are asked for when they are scraped."""

    def __init__(
        self, family: Callable[[], GaugeMetricFamily | CounterMetricFamily], read: Callable[[], Mapping[tuple[str, ...], float]],
        registry: CollectorRegistry,
    ) -> None:
        self._family = family
        self._read = read
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return (self._family(),)

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        return (family,)


class NodeMetrics:
    """The counters of one node; an :class:`epc.procedure.Observer`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.registry = CollectorRegistry()

        def counts(what: str, help: str, *labels: str) -> _Counts:
            return _Counts(f"epc_{kind}_{what}", help, labels, self.registry)

        def durations(what: str, help: str, *labels: str) -> _Durations:
            return _Durations(f"epc_{kind}_{what}_seconds", help, labels, self.registry)

        attempted, succeeded, failed = _MEASUREMENTS.get(kind, ("", "", ""))
        self._attempts = counts("procedure_attempts", f"Procedures started{attempted}", "procedure")
        self._successes = counts("procedure_successes", f"Procedures that succeeded{succeeded}", "procedure")
        self._failures = counts("procedure_failures", f"Procedures that failed, by outcome and cause{failed}", "procedure", "result", "cause")
        self._duration = durations("procedure_duration", "Duration of procedures", "procedure")
        self._step_duration = durations("step_duration", "Duration of the numbered steps of procedures", "procedure", "step")
        self._messages = counts("messages", "Messages by reference point, direction and type", "interface", "direction", "type")
        self._retransmissions = counts("retransmissions", "Messages sent again after a timer ran out", "interface", "type")
        self._errors = counts("protocol_errors", "Messages that could not be used, by reference point and cause", "interface", "cause")

    # what transports and procedures tell

    def message_sent(self, interface: str, type: str) -> None:
        self._messages.add(interface, "sent", type)

    def message_received(self, interface: str, type: str) -> None:
        self._messages.add(interface, "received", type)

    def retransmission(self, interface: str, type: str) -> None:
        self._retransmissions.add(interface, type)

    def protocol_error(self, interface: str, cause: str) -> None:
        self._errors.add(interface, cause)

    def procedure_started(self, name: str) -> None:
        self._attempts.add(name)
        self._successes.add(name, number=0)         # a rate needs the series before the first success

    def step_finished(self, name: str, step: str, duration_s: float) -> None:
        self._step_duration.add(duration_s, name, step)

    def procedure_finished(self, name: str, outcome: Outcome, cause: str, duration_s: float) -> None:
        self._duration.add(duration_s, name)
        if outcome is Outcome.SUCCESS:
            self._successes.add(name)
        else:
            self._failures.add(name, outcome.value, cause)

    # what a node adds

    def gauge(self, what: str, help: str, value: Callable[[], float]) -> None:
        """A figure read at scrape time: ``gauge("registered_ues", ..., lambda: len(...))``."""
        Gauge(f"epc_{self.kind}_{what}", help, registry=self.registry).set_function(value)

    def gauges(self, what: str, help: str, labels: tuple[str, ...], read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Figures read at scrape time, by their labels' values."""
        _ReadAtScrape(lambda: GaugeMetricFamily(f"epc_{self.kind}_{what}", help, labels=labels), read, self.registry)

    def counters(self, what: str, help: str, labels: tuple[str, ...], read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """As :meth:`gauges`, for what somebody else counts and what only grows."""
        _ReadAtScrape(lambda: CounterMetricFamily(f"epc_{self.kind}_{what}", help, labels=labels), read, self.registry)

    def counter(self, what: str, help: str, labels: tuple[str, ...] = ()) -> Counter:
        """A counter of the node's own; bind its label children once."""
        return Counter(f"epc_{self.kind}_{what}", help, list(labels), registry=self.registry)

    def value(self, name: str, **labels: str) -> float:
        """One sample's value, 0.0 if it does not exist yet: ``value("procedure_failures_total", procedure="attach", ...)``."""
        return self.registry.get_sample_value(f"epc_{self.kind}_{name}", labels) or 0.0

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
