//! Messages, attributes and lengths of `linux/xfrm.h`.

pub const NEWSA: u16 = 0x10;
pub const DELSA: u16 = 0x11;
pub const GETSA: u16 = 0x12;
pub const NEWPOLICY: u16 = 0x13;
pub const DELPOLICY: u16 = 0x14;
pub const GETPOLICY: u16 = 0x15;
pub const ALLOCSPI: u16 = 0x16;
pub const ACQUIRE: u16 = 0x17;
pub const EXPIRE: u16 = 0x18;
pub const UPDPOLICY: u16 = 0x19;
pub const UPDSA: u16 = 0x1a;
pub const POLEXPIRE: u16 = 0x1b;
pub const FLUSHSA: u16 = 0x1c;
pub const FLUSHPOLICY: u16 = 0x1d;
pub const NEWAE: u16 = 0x1e;
pub const GETAE: u16 = 0x1f;
pub const REPORT: u16 = 0x20;
pub const MIGRATE: u16 = 0x21;
pub const NEWSADINFO: u16 = 0x22;
pub const GETSADINFO: u16 = 0x23;
pub const NEWSPDINFO: u16 = 0x24;
pub const GETSPDINFO: u16 = 0x25;
pub const MAPPING: u16 = 0x26;
pub const SETDEFAULT: u16 = 0x27;
pub const GETDEFAULT: u16 = 0x28;
pub const MIGRATE_STATE: u16 = 0x29;
/// First and last number of the kernel's messages.
pub const MESSAGES: std::ops::RangeInclusive<u16> = 0x10..=0x28;

pub const XFRMA_ALG_AUTH: u16 = 1;
pub const XFRMA_ALG_CRYPT: u16 = 2;
pub const XFRMA_ALG_COMP: u16 = 3;
pub const XFRMA_ENCAP: u16 = 4;
pub const XFRMA_TMPL: u16 = 5;
pub const XFRMA_SA: u16 = 6;
pub const XFRMA_POLICY: u16 = 7;
pub const XFRMA_SEC_CTX: u16 = 8;
pub const XFRMA_LTIME_VAL: u16 = 9;
pub const XFRMA_REPLAY_VAL: u16 = 10;
pub const XFRMA_REPLAY_THRESH: u16 = 11;
pub const XFRMA_ETIMER_THRESH: u16 = 12;
pub const XFRMA_SRCADDR: u16 = 13;
pub const XFRMA_COADDR: u16 = 14;
pub const XFRMA_LASTUSED: u16 = 15;
pub const XFRMA_POLICY_TYPE: u16 = 16;
pub const XFRMA_MIGRATE: u16 = 17;
pub const XFRMA_ALG_AEAD: u16 = 18;
pub const XFRMA_KMADDRESS: u16 = 19;
pub const XFRMA_ALG_AUTH_TRUNC: u16 = 20;
pub const XFRMA_MARK: u16 = 21;
pub const XFRMA_TFCPAD: u16 = 22;
pub const XFRMA_REPLAY_ESN_VAL: u16 = 23;
pub const XFRMA_SA_EXTRA_FLAGS: u16 = 24;
pub const XFRMA_PROTO: u16 = 25;
pub const XFRMA_ADDRESS_FILTER: u16 = 26;
pub const XFRMA_OFFLOAD_DEV: u16 = 28;
pub const XFRMA_SET_MARK: u16 = 29;
pub const XFRMA_SET_MARK_MASK: u16 = 30;
pub const XFRMA_IF_ID: u16 = 31;
pub const XFRMA_MTIMER_THRESH: u16 = 32;
pub const XFRMA_SA_DIR: u16 = 33;
pub const XFRMA_NAT_KEEPALIVE_INTERVAL: u16 = 34;
pub const XFRMA_SA_PCPU: u16 = 35;

/// Attributes of GETSPDINFO and NEWSPDINFO.
pub const XFRMA_SPD_INFO: u16 = 1;
pub const XFRMA_SPD_HINFO: u16 = 2;
pub const XFRMA_SPD_IPV4_HTHRESH: u16 = 3;
pub const XFRMA_SPD_IPV6_HTHRESH: u16 = 4;

pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;

pub const SELECTOR: usize = 56;
pub const SA_INFO: usize = 224;
pub const SA_ID: usize = 24;
pub const POLICY_INFO: usize = 168;
pub const POLICY_ID: usize = 64;
pub const TEMPLATE: usize = 64;
/// `struct xfrm_user_migrate`.
pub const MIGRATE_ENTRY: usize = 76;
/// `struct xfrm_user_kmaddress`.
pub const KMADDRESS: usize = 40;
/// `struct xfrm_userpolicy_default`.
pub const POLICY_DEFAULT: usize = 3;
pub const REPLAY_HEADER: usize = 24;
pub(super) const ALGORITHM_NAME: usize = 64;
