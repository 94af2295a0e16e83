"""How the daemon of a peer ends."""

import subprocess


def kill(process: "subprocess.Popen[bytes]") -> None:
    """At once, without a word."""
    process.kill()
    process.wait()


def terminate(process: "subprocess.Popen[bytes]", patience: float) -> None:
    """By itself, or after so many seconds all the same."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        kill(process)
