"""What is wrong with a gateway, told once: to the log, and to the service manager."""

from plutino.daemon.log import log
from plutino.daemon.service_manager import notify
from plutino.model.errors import PlutinoError

ALL_IS_SET_UP = "STATUS=all tunnels are set up"


class ProblemLog:
    """``problems`` are those that the last pass has found, or why there was no pass.

    ``failures`` counts the passes in a row that could not be made.
    """

    def __init__(self) -> None:
        self.problems: tuple[str, ...] = ()
        self.failures = 0

    def passed(self, problems: tuple[str, ...]) -> None:
        """A pass was made, and has found these."""
        for problem in problems:
            if problem not in self.problems:
                log(f"warning: {problem}")
        if self.problems and not problems:
            log("all is well again")
            notify(ALL_IS_SET_UP)
        self.problems = problems
        self.failures = 0

    def failed(self, error: PlutinoError) -> None:
        """A pass could not be made."""
        self.failures += 1
        words = str(error)
        if self.problems != (words,):
            log(f"error: {words}")
            if error.hint:
                log(f"hint: {error.hint}")
        self.problems = (words,)
        notify(f"STATUS=degraded: {words.splitlines()[0]}")
