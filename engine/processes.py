"""What systems do differently about processes: sessions, groups, orphans, memory. Standard library only."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36

if sys.platform == "win32":

    def detached() -> dict[str, Any]:
        """What Popen needs for a process that outlives its starter and the starter's terminal."""
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}

    def leading_a_group() -> dict[str, Any]:
        """What Popen needs for a process that can be ended together with all it starts."""
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    def ask_group_to_end(leader: int) -> None:
        """Ask the process and all it started to end. One that is gone is no error."""
        with contextlib.suppress(OSError):
            os.kill(leader, signal.CTRL_BREAK_EVENT)

    def kill_group(leader: int) -> None:
        """End the process and all it started, at once. One that is gone is no error."""
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(leader)], check=False, capture_output=True)  # noqa: S603, S607 - a system tool, a number

    def outlive_terminal() -> None:
        """A detached process of Windows gets no signal when its terminal closes."""

else:

    def detached() -> dict[str, Any]:
        """What Popen needs for a process that outlives its starter and the starter's terminal."""
        return {"start_new_session": True}

    def leading_a_group() -> dict[str, Any]:
        """What Popen needs for a process that can be ended together with all it starts."""
        return {"start_new_session": True}

    def ask_group_to_end(leader: int) -> None:
        """Ask the process and all it started to end. One that is gone is no error."""
        _signal_group(leader, signal.SIGTERM)

    def kill_group(leader: int) -> None:
        """End the process and all it started, at once. One that is gone is no error."""
        _signal_group(leader, signal.SIGKILL)

    def _signal_group(leader: int, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            os.killpg(leader, number)
        with contextlib.suppress(OSError):
            # One that leads no group was started in somebody else's, which is left alone.
            if os.getpgid(leader) != leader:
                os.kill(leader, number)

    def outlive_terminal() -> None:
        """Go on when the terminal closes or Ctrl+C is pressed in it."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent dies, so that none is lost. Only Linux can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def prefer_to_be_ended(pid: int) -> None:
    """When memory runs out, have the system end this process before the desktop. Only Linux can."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("500")


def end_children(*, patience: float = 2.0) -> None:
    """Kill and reap what is left of this process's children, adopted ones too, for `patience` seconds."""
    if os.name != "posix":
        return
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for child in _children():
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def out_of_memory_kills() -> int:
    """How often the system ended a process of this control group for want of memory; 0 if nobody counts."""
    for file in (*_control_group_files(), Path("/proc/vmstat")):
        with contextlib.suppress(OSError, ValueError):
            for line in file.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


def _control_group_files() -> list[Path]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, group = line.split(":", 2)
            if number == "0" and not controllers:
                return [Path(f"/sys/fs/cgroup{group}/memory.events"), Path("/sys/fs/cgroup/memory.events")]
    return []
