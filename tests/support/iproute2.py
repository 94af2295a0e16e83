"""What iproute2 6.1 prints of XFRM objects, and what it wants to be told to make them.

The texts follow ``ip/ipxfrm.c`` and were compared with nothing of plutino's. This version knows
neither the direction of SAs nor NAT keepalives, and prints neither.
"""

import re
import subprocess
from collections.abc import Iterator

from plutino.model.algorithms import AeadKey, SaKeys
from plutino.model.numbers import U32_MAX, Mark
from plutino.model.policy import Action, Policy, PolicyDefaults, Selector, Template
from plutino.model.sa import Lifetime, SecurityAssociation

_XFRM_STATE_ESN = 128
_XFRM_STATE_AF_UNSPEC = 32
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 50: "esp", 58: "ipv6-icmp"}
_MASKED = (
    (re.compile(r"add \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "add TIME"),
    (re.compile(r"\bindex \d+"), "index N"),
)


def ip(command: str) -> str:
    """Run `ip` in the current network namespace; what it prints."""
    done = subprocess.run(["ip", *command.split(" ")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"ip {command}: {done.stderr}"
    return done.stdout


def blocks(text: str) -> list[str]:
    """The objects of a listing or of the monitor, with neither times nor indexes nor odd spaces."""
    for pattern, word in _MASKED:
        text = pattern.sub(word, text)
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    found: list[list[str]] = []
    for raw, line in zip(text.splitlines(), lines, strict=True):
        if raw[:1] not in ("\t", " "):
            found.append([])
        found[-1].append(line)
    return ["\n".join(one) for one in found]


# --- SAs ------------------------------------------------------------------------------------------


def sa_text(sa: SecurityAssociation, *, statistics: bool = True) -> str:
    """As `ip -s xfrm state` has it, or without ``statistics`` as the monitor has it."""
    return "\n".join(_sa_lines(sa, statistics))


def _sa_lines(sa: SecurityAssociation, statistics: bool) -> Iterator[str]:
    spi, reqid = int(sa.spi), int(sa.reqid)
    is_unspec = sa.selector is None and sa.mode.name == "TUNNEL"
    flags = (_XFRM_STATE_AF_UNSPEC if is_unspec else 0) | (_XFRM_STATE_ESN if sa.esn else 0)
    names = " ".join([*(["af-unspec"] if is_unspec else []), *(["esn"] if sa.esn else [])])
    yield f"src {sa.source} dst {sa.destination}"
    if statistics:
        yield (
            f"proto esp spi 0x{spi:08x}({spi}) reqid {reqid}(0x{reqid:08x}) "
            f"mode {sa.mode.name.lower()}"
        )
        flag_words = f"flag {names} (0x{flags:08b})".replace("flag  (", "flag (")
        yield f"replay-window 0 seq 0x00000000 {flag_words}"
    else:
        yield f"proto esp spi 0x{spi:08x} reqid {reqid} mode {sa.mode.name.lower()}"
        yield "replay-window 0" + (f" flag {names}" if names else "")
    pairs = (("mark", sa.mark), ("output-mark", sa.output_mark))
    if marks := [_mark_words(name, mark) for name, mark in pairs if mark is not None]:
        yield " ".join(marks)
    yield from _key_lines(sa.keys, statistics)
    if sa.encapsulation is not None:
        ports = sa.encapsulation
        yield (
            f"encap type espinudp sport {ports.source_port} dport {ports.destination_port} "
            f"addr {'0.0.0.0' if sa.source.version == 4 else '::'}"
        )
    yield from _replay_lines(sa)
    if sa.if_id:
        yield f"if_id {int(sa.if_id):#x}"
    if not is_unspec:
        yield f"sel {_selector_of(sa)}" + (" uid 0" if statistics else "")
    if statistics:
        yield from _lifetime_lines(sa.lifetime)
        yield "stats:"
        yield "replay-window 0 replay 0 failed 0"


def _mark_words(name: str, mark: Mark) -> str:
    return f"{name} {mark.value:#x}/{mark.mask:#x}"


def _key_lines(keys: SaKeys, statistics: bool) -> Iterator[str]:
    def line(word: str, name: str, key: bytes, icv: int | None) -> str:
        digits = f" 0x{key.hex()}" if key else ""
        bits = f" ({len(key) * 8} bits)" if statistics and key else ""
        return f"{word} {name}{digits}{bits}" + ("" if icv is None else f" {icv}")

    if isinstance(keys, AeadKey):
        yield line("aead", keys.kernel_name, keys.keymat.reveal(), keys.icv_bits)
        return
    yield line("auth-trunc", keys.integrity, keys.integrity_key.reveal(), keys.icv_bits)
    yield line("enc", keys.encryption, keys.encryption_key.reveal(), None)


def _replay_lines(sa: SecurityAssociation) -> Iterator[str]:
    replay = sa.replay
    words = (replay.window + 31) // 32
    yield "anti-replay esn context:"
    yield (
        f"seq-hi {replay.seq >> 32:#x}, seq {replay.seq & U32_MAX:#x}, "
        f"oseq-hi {replay.oseq >> 32:#x}, oseq {replay.oseq & U32_MAX:#x}"
    )
    yield f"replay_window {replay.window}, bitmap-length {words}"
    if words:
        assert not replay.bitmap, "where the bits stand is tested elsewhere"
        for first in range(0, words, 8):
            yield " ".join(["00000000"] * min(8, words - first))


def _selector_of(sa: SecurityAssociation) -> str:
    if sa.selector is not None:
        return selector_text(sa.selector)
    everything = "0.0.0.0/0" if sa.destination.version == 4 else "::/0"
    return f"src {everything} dst {everything}"


def _lifetime_lines(lifetime: Lifetime) -> Iterator[str]:
    def limit(number: int | None, unit: str) -> str:
        return f"(INF)({unit})" if number is None else f"{number}({unit})"

    yield "lifetime config:"
    for soft, hard, unit in (
        (lifetime.soft_octets, lifetime.hard_octets, "bytes"),
        (lifetime.soft_packets, lifetime.hard_packets, "packets"),
    ):
        yield f"limit: soft {limit(soft, unit)}, hard {limit(hard, unit)}"
    soft_seconds, hard_seconds = lifetime.soft_seconds or 0, lifetime.hard_seconds or 0
    yield f"expire add: soft {soft_seconds}(sec), hard {hard_seconds}(sec)"
    yield "expire use: soft 0(sec), hard 0(sec)"
    yield "lifetime current:"
    yield "0(bytes), 0(packets)"
    yield "add TIME use -"


def sa_command(sa: SecurityAssociation) -> str:
    """`ip xfrm state add`; an SA without ESN gets its window as kernels of old take it."""
    words = [f"xfrm state add src {sa.source} dst {sa.destination} proto esp spi {sa.spi}"]
    words.append(f"reqid {int(sa.reqid)} mode {sa.mode.name.lower()}")
    is_unspec = sa.selector is None and sa.mode.name == "TUNNEL"
    if flags := [*(["af-unspec"] if is_unspec else []), *(["esn"] if sa.esn else [])]:
        words.append(f"flag {' '.join(flags)}")
    replay = sa.replay
    words.append(f"replay-window {replay.window}")
    for name, number in (("seq", replay.seq), ("oseq", replay.oseq)):
        if number:
            words.append(f"replay-{name} {number & U32_MAX:#x}")
        if number >> 32:
            words.append(f"replay-{name}-hi {number >> 32:#x}")
    if isinstance(sa.keys, AeadKey):
        key = sa.keys.keymat.reveal().hex()
        words.append(f"aead {sa.keys.kernel_name} 0x{key} {sa.keys.icv_bits}")
    else:
        keys = sa.keys
        key = keys.integrity_key.reveal().hex()
        words.append(f"auth-trunc {keys.integrity} 0x{key} {keys.icv_bits}")
        key = keys.encryption_key.reveal().hex()
        words.append(f"enc {keys.encryption} {f'0x{key}' if key else ''}")
    if sa.mark is not None:
        words.append(f"mark {sa.mark.value:#x} mask {sa.mark.mask:#x}")
    if sa.output_mark is not None:
        words.append(f"output-mark {sa.output_mark.value:#x} mask {sa.output_mark.mask:#x}")
    if sa.encapsulation is not None:
        ports = sa.encapsulation
        words.append(f"encap espinudp {ports.source_port} {ports.destination_port} 0.0.0.0")
    if sa.if_id:
        words.append(f"if_id {int(sa.if_id)}")
    if sa.selector is not None:
        words.append(f"sel {_selector_words(sa.selector)}")
    words += _limit_words(sa.lifetime)
    return " ".join(words)


def _limit_words(lifetime: Lifetime) -> Iterator[str]:
    for name, number in (
        ("byte-soft", lifetime.soft_octets),
        ("byte-hard", lifetime.hard_octets),
        ("packet-soft", lifetime.soft_packets),
        ("packet-hard", lifetime.hard_packets),
        ("time-soft", lifetime.soft_seconds),
        ("time-hard", lifetime.hard_seconds),
    ):
        if number is not None:
            yield f"limit {name} {number}"


# --- policies -------------------------------------------------------------------------------------


def selector_text(selector: Selector) -> str:
    """As `ip xfrm` prints it."""
    words = f"src {selector.source} dst {selector.destination}"
    if selector.protocol:
        words += f" proto {_PROTOCOLS[selector.protocol]}"
    if selector.source_port_mask:
        words += f" sport {selector.source_port}"
    if selector.destination_port_mask:
        words += f" dport {selector.destination_port}"
    return words


_selector_words = selector_text
"""Numbers and words are told as they are shown."""


def policy_text(policy: Policy, *, statistics: bool = True) -> str:
    """As `ip -s xfrm policy` has it, or without ``statistics`` as the monitor has it."""
    return "\n".join(_policy_lines(policy, statistics))


def _policy_lines(policy: Policy, statistics: bool) -> Iterator[str]:
    yield selector_text(policy.selector) + (" uid 0" if statistics else "")
    direction = policy.direction.name.lower()
    is_blocked = policy.action is Action.BLOCK
    if statistics:
        action = "block" if is_blocked else "allow"
        yield (
            f"dir {direction} action {action} index N priority {policy.priority} ptype main "
            "share any flag (0x00000000)"
        )
        yield from _lifetime_lines(Lifetime())
    else:
        action = " action block" if is_blocked else ""
        yield f"dir {direction}{action} priority {policy.priority} ptype main"
    if policy.mark is not None:
        yield _mark_words("mark", policy.mark)
    for template in policy.templates:
        yield from _template_lines(template, statistics)
    if policy.if_id:
        yield f"if_id {int(policy.if_id):#x}"


def _template_lines(template: Template, statistics: bool) -> Iterator[str]:
    spi, reqid = int(template.spi), int(template.reqid)
    yield f"tmpl src {template.source} dst {template.destination}"
    if statistics:
        yield (
            f"proto esp spi 0x{spi:08x}({spi}) reqid {reqid}(0x{reqid:08x}) "
            f"mode {template.mode.name.lower()}"
        )
        yield f"level {'use' if template.optional else 'required'} share any"
        yield "enc-mask ffffffff auth-mask ffffffff comp-mask ffffffff"
        return
    with_spi = f" spi 0x{spi:08x}" if spi else ""
    yield f"proto esp{with_spi} reqid {reqid} mode {template.mode.name.lower()}"
    if template.optional:
        yield "level use"


def policy_command(policy: Policy) -> str:
    """`ip xfrm policy add`."""
    words = [f"xfrm policy add {_selector_words(policy.selector)}"]
    words.append(f"dir {policy.direction.name.lower()} priority {policy.priority}")
    if policy.action is Action.BLOCK:
        words.append("action block")
    if policy.mark is not None:
        words.append(f"mark {policy.mark.value:#x} mask {policy.mark.mask:#x}")
    if policy.if_id:
        words.append(f"if_id {int(policy.if_id)}")
    for one in policy.templates:
        spi = f" spi {one.spi}" if one.spi else ""
        words.append(f"tmpl src {one.source} dst {one.destination} proto esp{spi}")
        words.append(f"reqid {int(one.reqid)} mode {one.mode.name.lower()}")
        words += ["level use"] if one.optional else []
    return " ".join(words)


def defaults_text(defaults: PolicyDefaults) -> str:
    """As `ip xfrm policy getdefault` and the monitor have it."""
    pairs = zip(
        ("in: ", "fwd:", "out:"),
        (defaults.inbound, defaults.forward, defaults.outbound),
        strict=True,
    )
    return "\n".join(
        ["Default policies:", *(f"{way.strip()} {one.name.lower()}" for way, one in pairs)]
    )
