"""A closed world for a lab: processes, mounts and networks that vanish with their supervisor.

```
supervisor ── fork ── keeper (new user, mount and PID namespaces) ── fork ── init (runs the lab)
```
When the supervisor ends, in whatever way, the kernel kills the keeper; when the keeper ends, the
init; and with the init of a PID namespace goes every process in it. Networks without a name and the
private tmpfs go with their last process.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from plutino.dataplane.scratch import unshare
from plutino.dataplane.tun import DEVICE
from plutino.lab.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    end_with_parent,
    make_mounts_private,
    mount,
)
from plutino.model.errors import PlaneError, PlutinoError
from plutino.netlink.namespaces import CLONE_NEWNET

FOLDER: Final = Path("/run")
"""A private tmpfs inside the world."""
_BROKEN: Final = 70


Tell = Callable[[dict[str, Any]], None]
"""How the world tells its supervisor something while it runs; it must fit JSON."""
Work = Callable[[Tell], Any]
OnEvent = Callable[[int, dict[str, Any]], None]
"""Called with the init's process id, as the outside sees it, and what the world tells."""


def run_world(work: Work, *, on_event: OnEvent | None = None, needs_tun: bool = True) -> Any:
    """Run ``work`` as the first process of a world, and give its result, which must fit JSON.

    Raises what ``work`` raised as PlaneError, with its hint; PlaneError also if a world cannot be
    made here. Nothing of the world is left afterwards. For a program of one thread.
    """
    if needs_tun:
        _check_rights()
    reader, writer = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(reader)
        _keep(work, writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as lines:
            return _read_answers(lines, on_event)
    finally:
        with suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGTERM)
        os.waitpid(keeper, 0)


def _read_answers(lines: BinaryIO, on_event: OnEvent | None) -> Any:
    """Lines of JSON: the init's process id, events, and the result at the end."""
    init = 0
    answer: dict[str, Any] = {}
    for line in lines:
        answer = json.loads(line)
        if "init" in answer:
            init = answer["init"]
        elif "event" in answer and on_event is not None:
            on_event(init, answer["event"])
    if "error" in answer:
        raise PlaneError(answer["error"], answer["hint"])
    if "result" not in answer:
        raise PlaneError("the lab was ended from outside before it was done")
    return answer["result"]


def outer_pid(init: int, inner: int) -> int | None:
    """The process id, outside, of a process that has ``inner`` inside the world of ``init``."""
    world = os.readlink(f"/proc/{init}/ns/pid")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            if os.readlink(entry / "ns" / "pid") != world:
                continue
            for line in (entry / "status").read_text().splitlines():
                if line.startswith("NSpid:") and line.split()[-1] == str(inner):
                    return int(entry.name)
    return None


def _check_rights() -> None:
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        missing = "is not there" if not os.path.exists(DEVICE) else "cannot be opened by this user"
        hint = (
            "load the module `tun`, or give a container the device (`--device /dev/net/tun`)"
            if not os.path.exists(DEVICE)
            else f"run as root, or `chmod 666 {DEVICE}`"
        )
        raise PlaneError(f"{DEVICE} {missing}", hint)


def _keep(work: Work, writer: int) -> None:
    """The keeper: makes the namespaces, forks the init, waits for it. Does not return."""
    status = _BROKEN
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides
        _enter_namespaces()
        end_with_parent(signal.SIGKILL)  # after a change of user, which resets it
        init = os.fork()
        if init == 0:
            _be_init(work, writer)
        # With the init's end every process of the world has ended.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(init, signal.SIGKILL))
        _write(writer, {"init": init})
        os.close(writer)
        os.waitpid(init, 0)
        status = 0
    except PlutinoError as error:
        _write(writer, {"error": str(error), "hint": error.hint})
    finally:
        os._exit(status)


def _enter_namespaces() -> None:
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
    try:
        if user == 0:
            unshare(flags)
        else:
            unshare(flags | CLONE_NEWUSER)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        make_mounts_private()
    except OSError as error:
        hint = "run as root" if user else "give the container CAP_SYS_ADMIN"
        why = "user namespaces are not allowed here" if user else "namespaces are not allowed here"
        raise PlaneError(f"{why}: {error.strerror}", hint) from error


def _be_init(work: Work, writer: int) -> None:
    """The first process of the world. Does not return."""
    answer: dict[str, Any]
    try:
        end_with_parent(signal.SIGKILL)
        mount("tmpfs", str(FOLDER), "tmpfs")
        with suppress(OSError):  # some containers forbid it; only process ids look odd then
            mount("proc", "/proc", "proc")
        answer = {"result": work(lambda event: _write(writer, {"event": event}))}
    except PlutinoError as error:
        answer = {"error": str(error), "hint": error.hint}
    except Exception as error:  # whatever it is, the supervisor must hear of it
        answer = {"error": f"the lab failed: {type(error).__name__}: {error}", "hint": None}
    sys.stderr.flush()
    _write(writer, answer)
    os._exit(0)


def _write(writer: int, answer: dict[str, Any]) -> None:
    octets = json.dumps(answer).encode() + b"\n"
    while octets:
        octets = octets[os.write(writer, octets) :]
