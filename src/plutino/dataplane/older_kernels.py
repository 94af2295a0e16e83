"""SAs in the form that kernels before 6.10 want and show, which know no direction of an SA."""

from dataclasses import replace

from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation


def for_older_kernels(sa: SecurityAssociation) -> SecurityAssociation | None:
    """The SA as kernels before 6.10 want it, or None if that makes no difference.

    With ESN they want a replay window for outbound SAs too, whose direction they do not know;
    later ones refuse it ("Replay window should be 0 for output SA").
    """
    if sa.direction is not SaDirection.OUT or not sa.esn or sa.replay.window:
        return None
    return replace(sa, replay=replace(sa.replay, window=1))


def without_outbound_window(sa: SecurityAssociation) -> SecurityAssociation:
    """An outbound SA checks no numbers: the window that older kernels want tells nothing."""
    if sa.direction is SaDirection.IN:
        return sa
    return replace(sa, replay=ReplayState(oseq=sa.replay.oseq))
