"""`stop`: ask a run to end, wait until it has, and for `--now` take stronger means when nobody else does."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine import processes
from engine.contract import commands, locks
from engine.contract.run_dir import RunDir
from engine.contract.status import engine_pid, is_alive
from engine.supervisor import GRACE_SECONDS, seconds_from_environment

POLL_SECONDS = 0.1
#: Words of comfort come this often while a long step ends.
REMINDER_SECONDS = 10.0


def stop(run: RunDir, *, now: bool, say: Callable[[str], None]) -> bool:
    """Ask the run to stop and wait. Returns False if there was nothing to stop. Raises OSError."""
    if not is_alive(run):
        return False
    ask: commands.Ask = "stop_now" if now else "stop"
    commands.send(run.commands, ask)
    say(f"asked to {commands.MEANING[ask]} …")
    escalation = Escalation(run) if now else None
    reminded = time.monotonic()
    while is_alive(run):
        if escalation is not None:
            escalation.look(time.monotonic())
        if time.monotonic() - reminded > REMINDER_SECONDS:
            reminded = time.monotonic()
            hint = "" if now else "; `stop --now` does not wait for the step"
            say(f"still at work on its step{hint} …")
        time.sleep(POLL_SECONDS)
    return True


@dataclass
class Escalation:
    """What the supervisor would do for `stop_now`, done here when it is gone: SIGTERM after a while, then SIGKILL."""

    run: RunDir
    grace: float = field(default_factory=lambda: seconds_from_environment("PLUMBLINE_GRACE_SECONDS", GRACE_SECONDS))
    since: float = field(default_factory=time.monotonic)
    asked: bool = False

    def look(self, now: float) -> None:
        """Take the next means if its time has come."""
        # While the lock is held a supervisor does this itself, unless the holder is the engine: see under_launcher.
        since = self.since + (3 * self.grace if locks.is_held(self.run.lock) else 0.0)
        # Verified by its start time: the number alone may belong to a stranger by now.
        pid = engine_pid(self.run)
        if pid is None:
            return
        waited = now - since
        if waited > 2 * self.grace:
            processes.kill_group(pid)
        elif waited > self.grace and not self.asked:
            self.asked = True
            processes.ask_group_to_end(pid)
