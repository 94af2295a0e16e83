"""Live VTIs as values to a gateway file and the steps to it."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest

from plutino.config.load import load_text
from plutino.migration.live import LiveSystem, live_vtis
from plutino.migration.steps import next_steps
from plutino.migration.text import encode_gateway, free_instance, problems_of
from plutino.migration.vti import ImportedVti, free_interface, import_vti, peers_of
from plutino.model.algorithms import SeparateKeys
from plutino.model.interface import VtiEnds
from plutino.model.link import Address, Link
from plutino.model.numbers import IfId, Mark, ReqId
from plutino.model.sa import UdpEncapsulation
from plutino.model.secret import Secret
from tests.support.live_vtis import (
    EVERYTHING,
    LINK,
    LOCAL,
    REMOTE,
    ROME,
    SECRET,
    policies,
    route,
    sas,
    system,
)


def imported(live: LiveSystem) -> ImportedVti:
    (vti,) = live_vtis(live)
    return import_vti(vti, live, free_interface(vti, live), {})


def text_of(one: ImportedVti, instance: str = "default") -> str:
    files = {tunnel.name: f"{tunnel.name}.keys" for tunnel in one.tunnels}
    return encode_gateway([one], instance, files)


GATEWAY = """\
# Made by `plutino import vti`. Each XFRM interface takes the place of a VTI; both run side by side
# until the VTI's routes are gone. The keys are new: those of the VTI would repeat its nonces.
data-plane = "kernel"

# vti1: vti from 192.0.2.1 to 192.0.2.2, key 5
# Its MTU 1480 does not leave room for ESP; plutino computes 1446.
[tunnels.vti1]
interface = "ipsec5"
local = "192.0.2.1"
remote = "192.0.2.2"
addresses = ["10.255.0.0/31"]
routes = ["10.2.0.0/16", "2001:db8:2::/48"]
replay-window = 32
static.key-file = "vti1.keys"
"""
STEPS = """\
1. Hand over: bring the peer's keys to it by a safe way, and give them to its import:
     plutino import vti --keys vti1-peer.keys
2. Prepare: vti1 lets the new SAs' packets in, and keeps the traffic:
     ip xfrm policy update src 0.0.0.0/0 dst 0.0.0.0/0 dir in mark 0x5 mask 0xffffffff tmpl src \
192.0.2.2 dst 192.0.2.1 proto esp mode tunnel
     ip xfrm policy update src ::/0 dst ::/0 dir in mark 0x5 mask 0xffffffff tmpl src 192.0.2.2 \
dst 192.0.2.1 proto esp mode tunnel
     ip -6 route add 2001:db8:2::/48 dev vti1 metric 1
     sysctl -w net.ipv4.conf.vti1.rp_filter=2
3. Start; the traffic stays where it is:
     plutino plan gateway.toml
     plutino apply gateway.toml
4. Move, when BOTH ends have started; what this end sends changes its way:
     ip route del 10.2.0.0/16 dev vti1
     ip -6 route del 2001:db8:2::/48 dev vti1 metric 1
     ip -6 route del 2001:db8:2::/48 dev vti1 metric 1024
     ip route del 10.255.0.0/31 dev vti1
5. Remove, when both ends have moved and nothing is sent by vti1 any more:
     ip link del vti1
"""


def test_a_usual_vti() -> None:
    one = imported(system())
    assert one.problems == ()
    assert text_of(one) == GATEWAY
    assert problems_of(GATEWAY, "gateway.toml") == ()
    assert load_text(GATEWAY, "gateway.toml").tunnels["vti1"].interface == "ipsec5"
    assert one.tunnels[0].algorithm == "aes128gcm16"


def test_the_steps_of_a_usual_vti() -> None:
    steps = next_steps(
        [imported(system())],
        "gateway.toml",
        strict=frozenset({"vti1"}),
        handed_over=["vti1-peer.keys"],
    )
    assert steps.startswith(STEPS)
    removing = steps[len(STEPS) :].splitlines()
    assert len(removing) == 6 + 2 + 1
    assert removing[6].strip() == (
        "ip xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x101 mark 0x5 mask "
        "0xffffffff"
    )
    assert removing[-1].strip().startswith("What an IKE daemon has made")


def test_a_policy_of_a_daemon_stays_and_gets_a_wider_one_before_it() -> None:
    some = policies(EVERYTHING[0], EVERYTHING[0], priority=375423)
    steps = next_steps(
        [imported(system(policies=some))], "gateway.toml", strict=frozenset(), handed_over=[]
    )
    assert (
        "ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir in mark 0x5 mask 0x7fffffff priority "
        "375422 tmpl src 192.0.2.2 dst 192.0.2.1 proto esp mode tunnel\n"
    ) in steps
    name = "src 0.0.0.0/0 dst 0.0.0.0/0 dir in mark 0x5 mask"
    for mask in ("0x7fffffff", "0xffffffff"):
        assert f"ip xfrm policy delete {name} {mask}\n" in steps
    without = tuple(
        replace(one, templates=(replace(one.templates[0], reqid=ReqId(0)),)) for one in some
    )
    steps = next_steps(
        [imported(system(policies=without))], "gateway.toml", strict=frozenset(), handed_over=[]
    )
    assert "policy add" not in steps
    assert "policy update" not in steps


def test_no_key_of_the_vti_is_anywhere() -> None:
    one = imported(system())
    steps = next_steps([one], "gateway.toml", strict=frozenset(), handed_over=[])
    assert SECRET.reveal().hex() not in text_of(one) + steps


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"routes": (route("10.3.0.0/16", protocol=12),)},
            "route 10.3.0.0/16 comes from a routing daemon (protocol 12): let that use ipsec5",
        ),
        ({"routes": (route("10.3.0.0/16", table=100),)}, "route 10.3.0.0/16 is in table 100"),
        ({"routes": (route("0.0.0.0/0"),)}, "route 0.0.0.0/0 holds the peer's outer address"),
        (
            {"addresses": (Address("vti1", ip_interface("192.0.2.9/24")),), "routes": ()},
            "address 192.0.2.9/24: its network holds the peer's outer address",
        ),
        ({"sas": ()}, "there is no SA to 192.0.2.2"),
        ({"policies": ()}, "no outbound policy to 192.0.2.2 has its key as mark"),
        ({"links": (replace(LINK, mtu=1200),)}, "its MTU 1200 is below 1280"),
        (
            {"links": (replace(LINK, master=9), Link(9, "br0", "bridge", 1500, up=True))},
            "it belongs to br0, which is no VRF (but bridge)",
        ),
        (
            {
                "policies": policies(EVERYTHING[0], EVERYTHING[0])[:1]
                + policies(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16"))[1:]
            },
            "inbound policies from 192.0.2.2 have other selectors than outbound ones",
        ),
        (
            {
                "policies": policies(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16"))
                + policies(ip_network("10.3.0.0/16"), ip_network("10.4.0.0/16"))
            },
            "pair their networks",
        ),
        (
            {
                "sas": tuple(
                    replace(
                        one,
                        keys=SeparateKeys(
                            "cbc(des3_ede)", Secret(bytes(24)), "hmac(sha1)", Secret(bytes(20)), 96
                        ),
                    )
                    for one in sas()
                )
            },
            "plutino has no algorithm cbc(des3_ede) 192 hmac(sha1); the new SAs use aes256gcm16",
        ),
        (
            {"sas": tuple(replace(one, encapsulation=UdpEncapsulation(500, 500)) for one in sas())},
            "ESP in UDP uses other ports than 4500",
        ),
    ],
)
def test_what_is_left_out_is_told(changes: dict[str, Any], words: str) -> None:
    one = imported(system(**changes))
    assert any(words in problem for problem in one.problems), one.problems
    squeezed = " ".join(text_of(one).replace("\n# ", " ").split())
    assert words in squeezed
    assert problems_of(text_of(one), "gateway.toml") == ()


def test_a_wildcard_becomes_a_tunnel_for_each_peer() -> None:
    here = ip_network("10.1.0.0/16")
    live = system(
        links=(replace(LINK, vti=VtiEnds(LOCAL, None, 5, 5)),),
        policies=policies(here, ip_network("10.2.0.0/16"))
        + policies(here, ip_network("10.3.0.0/16"), ROME),
        sas=(*sas(), *sas(ROME)),
        routes=(route("10.2.0.0/16"), route("10.3.1.0/24"), route("10.4.0.0/16")),
    )
    (vti,) = live_vtis(live)
    assert peers_of(vti) == (REMOTE, ROME)
    one = imported(live)
    gateway = load_text(text_of(one), "gateway.toml")
    assert list(gateway.tunnels) == ["vti1-192-0-2-2", "vti1-192-0-2-3"]
    assert {tunnel.interface for tunnel in gateway.tunnels.values()} == {"ipsec5"}
    first, second = gateway.tunnels.values()
    assert (first.routes, second.routes) == (
        (ip_network("10.2.0.0/16"),),
        (ip_network("10.3.1.0/24"),),
    )
    assert one.problems == ("route 10.4.0.0/16: no traffic selector of a peer holds it",)


def test_what_belongs_to_others_is_not_taken() -> None:
    other = tuple(replace(one, mark=Mark(6)) for one in system().policies)
    ours = tuple(replace(one, if_id=IfId(1)) for one in system().policies)
    (vti,) = live_vtis(system(policies=(*other, *ours, *system().policies)))
    assert vti.policies == system().policies


def test_options_are_taken_over() -> None:
    encapsulated = tuple(
        replace(one, encapsulation=UdpEncapsulation(), output_mark=Mark(9)) for one in sas(window=0)
    )
    live = system(
        links=(replace(LINK, mtu=1300, master=9), Link(9, "red", "vrf", 1500, up=True, table=10)),
        sas=encapsulated,
        routes=(route("10.2.0.0/16", table=10),),
    )
    tunnel = load_text(text_of(imported(live)), "gateway.toml").tunnels["vti1"]
    assert (tunnel.mtu, tunnel.encapsulation, tunnel.replay_window) == (1300, "udp", 1024)
    assert tunnel.set_mark_out == tunnel.set_mark_in == Mark(9)
    assert tunnel.routes == (ip_network("10.2.0.0/16"),)
    assert "holds UDP port 4500" in text_of(imported(live))
    assert 'vrf = "red"' in text_of(imported(live))


def test_an_underlay_in_a_vrf_is_named() -> None:
    live = system(
        links=(
            replace(LINK, master=9),
            Link(8, "eth0", None, 1500, up=True, master=9),
            Link(9, "red", "vrf", 1500, up=True, table=10),
        ),
        addresses=(Address("eth0", ip_interface("192.0.2.1/24")),),
        routes=(),
    )
    options = load_text(text_of(imported(live)), "gateway.toml").interfaces["ipsec5"]
    assert (options.vrf, options.link) == ("red", "eth0")


def test_names_that_are_taken_are_avoided() -> None:
    (vti,) = live_vtis(system())
    taken = system(
        links=(
            LINK,
            Link(8, "ipsec5", "xfrm", 1400, up=True, if_id=IfId(5), alias="plutino:default"),
            Link(9, "strange", "xfrm", 1400, up=True, if_id=IfId(6)),
        )
    )
    assert free_interface(vti, taken) == "ipsec7"
    assert free_instance(taken.links) == "from-vti"
    assert 'instance = "from-vti"' in text_of(imported(taken), "from-vti")
    assert free_instance(system().links) == "default"
