"""Why a packet was dropped: the names of ``/proc/net/xfrm_stat`` and of the link counters.

The engine counts under the same names (``engine/core/src/stats.rs``); a test compares both lists.
Each name has one sentence for operators.
"""

from types import MappingProxyType

XFRM_STAT = MappingProxyType(
    {
        "XfrmInError": "an incoming packet could not be processed at all",
        "XfrmInBufferError": "no buffer was left for an incoming packet",
        "XfrmInHdrError": "the ESP header of an incoming packet could not be read",
        "XfrmInNoStates": "no SA has the SPI and destination of an incoming packet",
        "XfrmInStateProtoError": "the integrity check failed: the keys of both ends differ",
        "XfrmInStateModeError": "the decrypted packet does not fit the mode of its SA",
        "XfrmInStateSeqError": "a sequence number was repeated or is older than the replay window",
        "XfrmInStateExpired": "the SA of an incoming packet has expired",
        "XfrmInStateMismatch": "the encapsulation (ESP or UDP) is not that of the SA",
        "XfrmInStateInvalid": "the SA of an incoming packet is not valid yet or any more",
        "XfrmInTmplMismatch": "the policy asks for another SA than the one that was used",
        "XfrmInNoPols": "a decrypted packet fits no policy, or its interface is missing or down",
        "XfrmInPolBlock": "a policy blocks the decrypted packet",
        "XfrmInPolError": "the policy of an incoming packet could not be looked up",
        "XfrmOutError": "an outgoing packet could not be processed at all",
        "XfrmOutBundleGenError": "there is no outer route to the peer",
        "XfrmOutBundleCheckError": "the SAs of an outgoing packet do not fit any more",
        "XfrmOutNoStates": "a policy fits, but there is no SA for it yet",
        "XfrmOutStateProtoError": "an outgoing packet could not be encrypted",
        "XfrmOutStateModeError": "an outgoing packet does not fit the mode of its SA",
        "XfrmOutStateSeqError": "the sequence numbers of the SA are used up",
        "XfrmOutStateExpired": "the SA of an outgoing packet has expired",
        "XfrmOutPolBlock": "a policy blocks the outgoing packet",
        "XfrmOutPolDead": "the policy of an outgoing packet was just deleted",
        "XfrmOutPolError": "the policy of an outgoing packet could not be resolved",
        "XfrmFwdHdrError": "a packet to be forwarded could not be read",
        "XfrmOutStateInvalid": "the SA of an outgoing packet is not valid yet or any more",
        "XfrmAcquireError": "a packet hit an SA that is still being negotiated",
        "XfrmOutStateDirError": "an SA for incoming packets was chosen for an outgoing one",
        "XfrmInStateDirError": "an SA for outgoing packets was hit by an incoming one",
        "XfrmInIptfsError": "an IP-TFS payload could not be taken apart",
        "XfrmOutNoQueueSpace": "the IP-TFS queue is full",
    }
)
"""In the order of the kernel (``net/xfrm/xfrm_proc.c``)."""

LINK_COUNTERS = (
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "collisions",
    "rx_length_errors",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_aborted_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_window_errors",
    "rx_compressed",
    "tx_compressed",
    "rx_nohandler",
    "rx_otherhost_dropped",
)
"""``struct rtnl_link_stats64``, in its order; 64-bit numbers."""

LINK_DROP_MEANINGS = MappingProxyType(
    {
        "tx_carrier_errors": "no policy or SA has the interface's if_id and the packet's addresses",
        "collisions": "the outer packet would leave through the interface itself: a routing loop",
        "tx_aborted_errors": "the outer packet could not be sent",
        "rx_errors": "a packet failed after its SA was found",
        "tx_errors": "an outgoing packet was dropped",
    }
)
