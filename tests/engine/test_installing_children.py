"""CHILD_SAs into the engine, without a pass over the whole gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from plutino.config.load import load_text
from plutino.daemon import rekeying
from plutino.daemon.passes import pass_lock
from plutino.daemon.rekeying import Settled, install_children
from plutino.daemon.sequence_store import save_sequences
from plutino.dataplane.choice import SO_CONFIGURED, USERSPACE, PlaneChoice
from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.compile import compile_gateway
from plutino.desired.keying import Rekeying, compile_rekeying
from plutino.desired.sequences import SaIdentity, SavedSequence
from plutino.model.numbers import Spi
from plutino.model.policy import Direction
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.engine import engine_process
from tests.support.roaming import CHILD, text_of

QUIET = replace(CHILD, outbound=False)
INBOUND: SaIdentity = (CHILD.local, CHILD.spi_in, 50)


@pytest.mark.root
def test_numbers_count_that_others_have_saved_while_it_waited_for_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what was received before would be accepted once more."""
    runtime = RuntimePaths(tmp_path, tmp_path)

    @contextmanager
    def after_another(runtime: RuntimePaths) -> Iterator[None]:
        with pass_lock(runtime):
            save_sequences(runtime.sequences, {INBOUND: SavedSequence(seq=77, by_ike=True)})
        with pass_lock(runtime):
            yield

    monkeypatch.setattr(rekeying, "pass_lock", after_another)
    gateway = load_text(text_of(str(CHILD.remote)), "paris.toml")
    ways = compile_gateway(gateway, {}, sequences={}).ways
    settled = Settled(gateway, PlaneChoice(USERSPACE, SO_CONFIGURED), ways, {"berlin": ()})
    with engine_process(tmp_path) as path:
        assert install_children(settled, runtime, {"berlin": (QUIET,)}, lambda: None).is_all
        client = EngineClient(path)
        ((sa, _),) = XfrmClient(client.socket).list_sas()
        client.close()
    assert (sa.identity, sa.replay.seq) == (INBOUND, 77)


@pytest.mark.root
def test_a_peer_from_anywhere_is_back_elsewhere_before_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policies that have stayed are changed; there is no interface here that could wake."""
    compiled = compile_rekeying

    def without_interface(*given: Any, **more: Any) -> Rekeying:
        return replace(compiled(*given, **more), woken=())

    monkeypatch.setattr(rekeying, "compile_rekeying", without_interface)
    runtime = RuntimePaths(tmp_path, tmp_path)
    gateway = load_text(text_of("any", 'start = "listen"'), "paris.toml")
    ways = compile_gateway(gateway, {}, sequences={}).ways
    settled = Settled(gateway, PlaneChoice(USERSPACE, SO_CONFIGURED), ways, {"berlin": ()})
    elsewhere = replace(
        CHILD, remote=ip_address("203.0.113.77"), spi_in=Spi(0x1003), spi_out=Spi(0x2003)
    )
    with engine_process(tmp_path) as path:
        for children in ((CHILD,), (), (), (elsewhere,), (), (CHILD,)):
            assert install_children(settled, runtime, {"berlin": children}, lambda: None).is_all
            client = EngineClient(path)
            found = XfrmClient(client.socket)
            out = [one for one in found.list_policies() if one.direction is Direction.OUT]
            there = {one.templates[0].destination for one in out}
            count = len(list(found.list_sas()))
            client.close()
            assert count == 2 * len(children)
            if children:
                assert there == {children[0].remote}
