"""structlog set up once for a process: facts with keys, as console lines or JSON."""

from __future__ import annotations

import logging
import sys

import orjson
import structlog

from epc.node.config import LogConfig


def _json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()


class _Forwarding(logging.Handler):
    """What modules below the nodes log with the standard library, as an event like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name)


def configure_logging(config: LogConfig) -> None:
    """Logs go to standard error. A filtered level costs a fraction of a microsecond."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_json) if config.format == "json"
        else structlog.dev.ConsoleRenderer(
            # Never with the values of local variables: subscribers' keys are among them, and to render them takes a tenth of a second.
            colors=sys.stderr.isatty(), pad_event_to=28, exception_formatter=structlog.dev.plain_traceback,
        )
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if config.format == "json":
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, config.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for package in ("epc", "ran"):
        logger = logging.getLogger(package)
        logger.setLevel(config.level.upper())
        if not any(isinstance(handler, _Forwarding) for handler in logger.handlers):
            logger.addHandler(_Forwarding())
