"""The runtime of procedures: dialogues, slots, collisions, outcomes."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from epc.procedure import Collision, Dialogue, Outcome, Procedure, Reject, Runner, Slot, Timer, TimerExpired, procedure, step, table
from epc.wire.errors import WireError

pytestmark = pytest.mark.virtual_clock
T = Timer("T3460", 6.0, retries=4)


@dataclass(frozen=True)
class Hello:
    n: int = 0


@dataclass(frozen=True)
class Answer:
    n: int = 0


@dataclass(frozen=True)
class Bye:
    pass


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def procedure_started(self, name: str) -> None:
        self.events.append(("started", name))

    def step_finished(self, name: str, step: str, duration_s: float) -> None:
        self.events.append(("step", name, step, duration_s))

    def procedure_finished(self, name: str, outcome: Outcome, cause: str, duration_s: float) -> None:
        self.events.append(("finished", name, outcome, cause))


async def test_request_retransmits_until_the_last_timer_then_raises(seconds) -> None:
    sent: list[tuple[float, object]] = []
    dialogue = Dialogue(lambda message: sent.append((seconds(), message)))
    with pytest.raises(TimerExpired) as caught:
        await dialogue.request(Hello(), Answer, timer=T)
    assert caught.value.timer is T
    assert [round(at - sent[0][0]) for at, _ in sent] == [0, 6, 12, 18, 24]
    assert dialogue.waits == 0


async def test_answer_given_from_inside_send_is_not_lost() -> None:
    dialogue: Dialogue
    dialogue = Dialogue(lambda message: dialogue.feed(Answer(7)))
    assert await dialogue.request(Hello(), Answer, timer=T) == Answer(7)


async def test_a_late_reply_of_an_earlier_request_is_not_taken_for_the_answer() -> None:
    dialogue = Dialogue(lambda message: None)
    dialogue.feed(Answer(1), keep=True)
    waiting = asyncio.ensure_future(dialogue.request(Hello(), Answer, timer=T))
    await asyncio.sleep(1)
    assert not waiting.done()
    assert dialogue.feed(Answer(2))
    assert await waiting == Answer(2)


async def test_a_message_for_nobody_is_refused_and_a_kept_one_waits() -> None:
    dialogue = Dialogue(lambda message: None)
    assert not dialogue.feed(Answer())
    assert dialogue.feed(Answer(3), keep=True)
    assert await dialogue.expect(Answer) == Answer(3)


async def test_wait_sends_nothing_and_times_out() -> None:
    sent: list[object] = []
    dialogue = Dialogue(sent.append)
    with pytest.raises(TimerExpired):
        await dialogue.wait(Answer, timer=T)
    assert sent == []


async def test_close_wakes_waiters_with_the_error() -> None:
    dialogue = Dialogue(lambda message: None)
    waiting = asyncio.ensure_future(dialogue.request(Hello(), Answer, timer=T))
    await asyncio.sleep(0)
    dialogue.close(ConnectionError("S1 lost"))
    with pytest.raises(ConnectionError, match="S1 lost"):
        await waiting


def make(collision: Collision, log: list[str]) -> tuple[Slot, Dialogue, Runner]:
    @procedure(starts_on=Hello, accepts=(Answer,), spec="-", collisions={Bye: collision})
    async def greet(dialogue: Dialogue, message: Hello) -> None:
        async with AsyncExitStack() as undo:
            log.append("begin")
            undo.callback(log.append, "undone")
            await dialogue.request(Hello(1), Answer, timer=T)
            undo.pop_all()
            log.append("end")

    @procedure(starts_on=Bye, spec="-")
    async def leave(dialogue: Dialogue, message: Bye) -> None:
        log.append("leave")

    runner = Runner()
    return Slot(runner, table([greet, leave])), Dialogue(lambda message: None), runner


@pytest.mark.parametrize(("collision", "expected"), [
    (Collision.IGNORE, ["begin", "end"]),
    (Collision.REPLACE, ["begin", "undone", "leave"]),
    (Collision.QUEUE, ["begin", "end", "leave"]),
])
async def test_collision(collision: Collision, expected: list[str]) -> None:
    log: list[str] = []
    slot, dialogue, runner = make(collision, log)
    assert slot.receive(dialogue, Hello(), dialogue)
    await asyncio.sleep(1)
    assert slot.receive(dialogue, Bye(), dialogue)
    await asyncio.sleep(1)
    slot.receive(dialogue, Answer(), dialogue)
    await slot.idle()
    assert log == expected
    assert slot.running is None
    assert len(runner) == 0


async def test_a_message_no_procedure_starts_on_is_refused() -> None:
    slot, dialogue, _ = make(Collision.IGNORE, [])
    assert not slot.receive(dialogue, Answer(), dialogue)


async def test_outcomes_and_steps_are_told_to_the_observer() -> None:
    async def run(what: str) -> None:
        step(1, "first")
        await asyncio.sleep(2)
        step(2, "second")
        match what:
            case "reject":
                raise Reject(15, "no suitable cells")
            case "timeout":
                raise TimerExpired(T)
            case "link":
                raise ConnectionError("lost")
            case "defect":
                raise ZeroDivisionError

    declared: Procedure = procedure(spec="-")(run)
    recorder = Recorder()
    runner = Runner(recorder)
    outcomes = [await runner.start(declared, what) for what in ("good", "reject", "timeout", "link", "defect")]
    assert outcomes == [Outcome.SUCCESS, Outcome.REJECTED, Outcome.TIMEOUT, Outcome.ABORTED, Outcome.ERROR]
    assert recorder.events[:4] == [
        ("started", "run"), ("step", "run", "01-first", 2.0), ("step", "run", "02-second", 0.0), ("finished", "run", Outcome.SUCCESS, "")]
    assert [event[3] for event in recorder.events if event[0] == "finished"] == ["", "15", "T3460", "link lost", "internal error"]


async def test_answer_that_cannot_be_read_is_no_defect_of_ours() -> None:
    @procedure(spec="")
    async def ask() -> None:
        raise WireError("truncated")

    recorder = Recorder()
    assert await Runner(recorder).start(ask) is Outcome.REJECTED
    assert recorder.events[-1] == ("finished", "ask", Outcome.REJECTED, "unreadable answer")


async def test_stop_cancels_and_waits_for_undo() -> None:
    log: list[str] = []
    slot, dialogue, runner = make(Collision.IGNORE, log)
    slot.receive(dialogue, Hello(), dialogue)
    await asyncio.sleep(1)
    await runner.stop()
    assert log == ["begin", "undone"]
    assert len(runner) == 0


async def test_a_procedure_leaves_no_cyclic_garbage() -> None:
    slot, dialogue, _ = make(Collision.IGNORE, [])

    async def once() -> None:
        slot.receive(dialogue, Hello(), dialogue)
        await asyncio.sleep(1)
        slot.receive(dialogue, Answer(), dialogue)
        await slot.idle()

    await once()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await once()
        assert gc.collect() <= 20      # what the test's own loop leaves, far below one object a procedure step
    finally:
        gc.enable()


async def test_who_never_runs_is_dropped_with_its_arguments() -> None:
    """Queued behind a procedure that is replaced, or replaced before its first step; one that has begun sees its cancellation itself."""
    dropped: list[str] = []
    begun: list[str] = []

    @procedure(spec="none", dropped=dropped.append)
    async def polite(name: str) -> None:
        begun.append(name)
        await asyncio.sleep(1)

    slot = Slot(Runner(), {})
    slot.start(polite, "replaced at once")
    slot.start(polite, "queued")
    slot.start(polite, "second", collision=Collision.REPLACE)
    assert dropped == ["queued", "replaced at once"]
    await asyncio.sleep(0.1)
    assert begun == ["second"]
    slot.start(polite, "queued again")
    slot.cancel()
    await slot.idle()
    assert dropped == ["queued", "replaced at once", "queued again"]
    assert begun == ["second"]
