"""Replay state of an SA between the model and the two forms that ``linux/xfrm.h`` has.

The bitmap of ``xfrm_replay_state_esn`` is a ring: number n has bit ``(n - 1) mod window``
(``net/xfrm/xfrm_replay.c``), so that the kernel never shifts it. The model's bit n stands for
number ``seq - n``, as in the legacy ``xfrm_replay_state``.
"""

from typing import Final

from plutino.model.numbers import U32_MAX
from plutino.model.sa import ReplayState
from plutino.netlink.xfrm.attributes import ReplayEsn
from plutino.netlink.xfrm.constants import Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import ReplayEsnHeader, UserSaInfo
from plutino.netlink.xfrm.structures import ReplayState as LegacyReplayState

_WORD: Final = 32


def replay_attribute(state: ReplayState) -> ReplayEsn:
    """XFRMA_REPLAY_ESN_VAL, which serves SAs with and without ESN."""
    words = (state.window + _WORD - 1) // _WORD
    ring = _turned(state.bitmap, state.seq, state.window)
    header = ReplayEsnHeader(
        bmp_len=words,
        oseq=state.oseq & U32_MAX,
        seq=state.seq & U32_MAX,
        oseq_hi=state.oseq >> _WORD,
        seq_hi=state.seq >> _WORD,
        replay_window=state.window,
    )
    return ReplayEsn(header, tuple(ring >> _WORD * word & U32_MAX for word in range(words)))


def parse_replay(message: XfrmMessage, info: UserSaInfo) -> ReplayState:
    """From XFRMA_REPLAY_ESN_VAL if it is there, else from XFRMA_REPLAY_VAL, else all zero."""
    esn = message.find(Xfrma.REPLAY_ESN_VAL, ReplayEsn)
    if esn is not None:
        return _parse_ring(esn)
    legacy = message.find(Xfrma.REPLAY_VAL, LegacyReplayState)
    if legacy is not None:
        return ReplayState(legacy.oseq, legacy.seq, info.replay_window, legacy.bitmap)
    return ReplayState(window=info.replay_window)


def _parse_ring(value: ReplayEsn) -> ReplayState:
    header = value.header
    seq = header.seq_hi << _WORD | header.seq
    ring = sum(word << _WORD * place for place, word in enumerate(value.bmp))
    # The kernel makes none that its own bitmap cannot hold.
    is_whole = header.replay_window <= _WORD * len(value.bmp)
    return ReplayState(
        oseq=header.oseq_hi << _WORD | header.oseq,
        seq=seq,
        window=header.replay_window,
        bitmap=_turned(ring, seq, header.replay_window) if is_whole else 0,
    )


def _turned(bits: int, seq: int, window: int) -> int:
    """A ring's bits by age, or bits by age as a ring; each is the other turned round.

    Number ``seq - age`` has bit ``(seq - 1 - age) mod window``; the kernel counts in 32 bits, also
    with ESN. Done on the digits of the whole number, since all SAs are read every second.
    """
    bits &= (1 << window) - 1
    if not bits:
        return 0
    newest = (seq - 1 & U32_MAX) % window
    digits = f"{bits:0{window}b}"  # the highest bit first
    turned = digits[-newest - 1 :] + digits[: -newest - 1]
    return int(turned[::-1], 2)
