"""The CHILD_SAs of an IKE SA: which is current, and which one sends."""

from plutino.ike.child import Child


class Children(list[Child]):
    """In the order in which they came about."""

    def current(self, name: str) -> Child | None:
        """The newest child of a configuration that is neither replaced nor about to go."""
        found = (one for one in reversed(self) if one.config.name == name)
        return next((one for one in found if one.is_current), None)

    def by_outbound(self, spi: bytes) -> Child | None:
        """The child whose inbound SPI at the peer is this."""
        known = (one for one in self if one.is_known_to_peer)
        return next((one for one in known if one.spi_out == spi), None)

    def prefer(self, child: Child) -> None:
        """This child sends, and none of its kin does."""
        for one in self:
            if one.config.name == child.config.name:
                one.outbound, one.outbound_at = one is child, None

    def prefer_newest(self, name: str) -> None:
        """Another child sends where the one that did is gone."""
        kin = [one for one in self if one.config.name == name]
        child = self.current(name)
        if child is not None and not any(one.outbound and one.is_known_to_peer for one in kin):
            self.prefer(child)

    def missing(self, wanted: dict[str, float]) -> dict[str, float]:
        """Those of the wanted names that have no current child."""
        return {name: time for name, time in wanted.items() if self.current(name) is None}
