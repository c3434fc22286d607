"""One node as a service: start it with its admin API, run until told to stop."""

from __future__ import annotations

import asyncio
from typing import Any

from epc.node.admin import AdminServer
from epc.node.node import Node


async def serve(node: Node[Any], stopped: asyncio.Event) -> None:
    """Run ``node`` with its admin API until ``stopped`` is set."""
    admin = AdminServer(node)
    await admin.start()
    try:
        await node.start()
        node.started_at = node.clock()
        node.log.info("node.started", admin=str(admin.address) if admin.address else None)
        await stopped.wait()
    finally:
        await node.stop()
        await node.transport.close()
        await admin.stop()
        node.log.info("node.stopped")
