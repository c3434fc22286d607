"""``epclab mme --config FILE`` and likewise for every kind of node: one node in this process until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from pathlib import Path

from epc.lab.kinds import KINDS, config_model, default_config, node_class
from epc.node import ConfigError, NodeConfig, load_config, serve
from epc.node.log import configure_logging
from epc.node.resolve import resolve_hosts
from epc.transport.capture import PcapngCapture
from epc.transport.sockets import SocketTransport


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    kind = KINDS[name]
    parser = commands.add_parser(name, help=f"run: {kind.what}", description=kind.what)
    parser.add_argument("--config", type=Path, default=Path(default_config(name)), metavar="FILE",
                        help=f"YAML; `epclab config schema {name}` tells what may stand in it (default {default_config(name)})")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="instead of the file's log.level")
    parser.set_defaults(run=run, kind=name)
    gc.disable()            # until the node's modules are loaded: a tenth of the time that takes


def run(options: argparse.Namespace) -> int:
    config = load_config(options.config, config_model(options.kind))
    if config.kind not in (None, options.kind):
        raise ConfigError([f"{options.config}: kind: this is the configuration of a {config.kind}, not of a {options.kind}"])
    if options.log_level:
        config = config.model_copy(update={"log": config.log.model_copy(update={"level": options.log_level})})
    configure_logging(config.log)
    import uvloop

    # Steady state makes no cyclic garbage to speak of: collect rarely, and never walk what start-up left behind.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
    return uvloop.run(_serve(options.kind, config))


async def _serve(kind: str, config: NodeConfig) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    config = await resolve_hosts(config)
    capture = PcapngCapture(config.capture) if config.capture else None
    transport = SocketTransport(config.name, tap=capture, sctp=config.sctp.settings(), impairments=config.link_impairments())
    node = node_class(kind)(config, transport)
    try:
        await serve(node, stopped)
    except OSError as error:
        print(f"epclab: {config.name}: {error}", file=sys.stderr)
        return 1
    finally:
        if capture is not None:
            capture.close()
    return 0
