//! The structures of `linux/xfrm.h` that the engine reads and writes, by the offsets of the x86-64
//! and arm64 ABIs. A test of the Python codec holds the same offsets against the C compiler.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lifetime::Limits;
use crate::policy::{Mark, Selector, Template};
mod numbers;

pub use numbers::*;

/// A reader of numbers at fixed offsets; None past the end.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    pub fn be16(self, at: usize) -> Option<u16> {
        self.u16(at).map(u16::from_be)
    }

    pub fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    pub fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.0.get(at..at + 8)?.try_into().ok()?))
    }

    pub fn be32(self, at: usize) -> Option<u32> {
        self.u32(at).map(u32::from_be)
    }

    /// `xfrm_address_t`, of the family that stands elsewhere.
    pub fn address(self, at: usize, family: u16) -> Option<IpAddr> {
        let octets: [u8; 16] = self.0.get(at..at + 16)?.try_into().ok()?;
        match family {
            AF_INET => Some(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into()),
            AF_INET6 => Some(Ipv6Addr::from(octets).into()),
            _ => None,
        }
    }
}

pub fn family_of(address: IpAddr) -> u16 {
    if address.is_ipv4() {
        AF_INET
    } else {
        AF_INET6
    }
}

/// `xfrm_address_t` of an address.
pub fn address_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// `struct xfrm_selector` at the start of `octets`. Family 0 counts as that of `fallback`, with
/// which the kernel replaces it too (`verify_newsa_info`, `xfrm_init_state`).
pub fn parse_selector(octets: &[u8], fallback: u16) -> Option<Selector> {
    let fields = Fields(octets.get(..SELECTOR)?);
    let family = match fields.u16(40)? {
        0 => fallback,
        family => family,
    };
    Some(Selector {
        destination: fields.address(0, family)?,
        source: fields.address(16, family)?,
        destination_port: fields.be16(32)?,
        destination_port_mask: fields.be16(34)?,
        source_port: fields.be16(36)?,
        source_port_mask: fields.be16(38)?,
        destination_prefix: fields.u8(42)?,
        source_prefix: fields.u8(43)?,
        protocol: fields.u8(44)?,
        ifindex: fields.u32(48)?,
        user: fields.u32(52)?,
    })
}

pub fn encode_selector(selector: &Selector, family: u16) -> [u8; SELECTOR] {
    let mut octets = [0; SELECTOR];
    octets[..16].copy_from_slice(&address_octets(selector.destination));
    octets[16..32].copy_from_slice(&address_octets(selector.source));
    for (at, port) in [
        (32, selector.destination_port),
        (34, selector.destination_port_mask),
        (36, selector.source_port),
        (38, selector.source_port_mask),
    ] {
        octets[at..at + 2].copy_from_slice(&port.to_be_bytes());
    }
    octets[40..42].copy_from_slice(&family.to_ne_bytes());
    octets[42] = selector.destination_prefix;
    octets[43] = selector.source_prefix;
    octets[44] = selector.protocol;
    octets[48..52].copy_from_slice(&selector.ifindex.to_ne_bytes());
    octets[52..56].copy_from_slice(&selector.user.to_ne_bytes());
    octets
}

/// XFRMA_TMPL: `struct xfrm_user_tmpl`, any number of them.
pub fn parse_templates(octets: &[u8]) -> Option<Vec<Template>> {
    if octets.len() % TEMPLATE != 0 {
        return None;
    }
    octets
        .chunks_exact(TEMPLATE)
        .map(|chunk| {
            let fields = Fields(chunk);
            let family = fields.u16(24)?;
            Some(Template {
                destination: fields.address(0, family)?,
                spi: fields.be32(16)?,
                protocol: fields.u8(20)?,
                source: fields.address(28, family)?,
                reqid: fields.u32(44)?,
                mode: fields.u8(48)?,
                share: fields.u8(49)?,
                optional: fields.u8(50)? != 0,
                aalgos: fields.u32(52)?,
                ealgos: fields.u32(56)?,
                calgos: fields.u32(60)?,
            })
        })
        .collect()
}

pub fn encode_templates(templates: &[Template]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(templates.len() * TEMPLATE);
    for template in templates {
        let mut chunk = [0; TEMPLATE];
        chunk[..16].copy_from_slice(&address_octets(template.destination));
        chunk[16..20].copy_from_slice(&template.spi.to_be_bytes());
        chunk[20] = template.protocol;
        chunk[24..26].copy_from_slice(&family_of(template.destination).to_ne_bytes());
        chunk[28..44].copy_from_slice(&address_octets(template.source));
        chunk[44..48].copy_from_slice(&template.reqid.to_ne_bytes());
        chunk[48..51].copy_from_slice(&[template.mode, template.share, template.optional.into()]);
        for (at, algorithms) in [
            (52, template.aalgos),
            (56, template.ealgos),
            (60, template.calgos),
        ] {
            chunk[at..at + 4].copy_from_slice(&algorithms.to_ne_bytes());
        }
        octets.extend(chunk);
    }
    octets
}

/// `struct xfrm_mark`.
pub fn parse_mark(octets: &[u8]) -> Option<Mark> {
    let fields = Fields(octets);
    Some(Mark {
        value: fields.u32(0)?,
        mask: fields.u32(4)?,
    })
}

pub fn encode_mark(mark: Mark) -> [u8; 8] {
    let mut octets = [0; 8];
    octets[..4].copy_from_slice(&mark.value.to_ne_bytes());
    octets[4..].copy_from_slice(&mark.mask.to_ne_bytes());
    octets
}

/// `struct xfrm_algo`, `xfrm_algo_auth` or `xfrm_algo_aead`: a name, then `header` octets in all
/// before the key.
pub struct NamedKey<'a> {
    pub name: String,
    pub key: &'a [u8],
    /// Of the ICV; 0 where the structure tells none.
    pub icv_bits: u32,
}

/// Octets before the key of `struct xfrm_algo`, and of those that tell the ICV's length too.
pub const ALGORITHM: usize = ALGORITHM_NAME + 4;
pub const ALGORITHM_WITH_ICV: usize = ALGORITHM_NAME + 8;

/// None if the key is not there in full.
pub fn parse_algorithm(octets: &[u8], header: usize) -> Option<NamedKey<'_>> {
    let name = octets.get(..ALGORITHM_NAME - 1)?;
    let end = name
        .iter()
        .position(|octet| *octet == 0)
        .unwrap_or(name.len());
    let fields = Fields(octets);
    let length = (fields.u32(ALGORITHM_NAME)? as usize).div_ceil(8);
    Some(NamedKey {
        name: String::from_utf8_lossy(&name[..end]).into_owned(),
        key: octets.get(header..header.checked_add(length)?)?,
        icv_bits: if header == ALGORITHM {
            0
        } else {
            fields.u32(ALGORITHM)?
        },
    })
}

/// The structure of an algorithm; without ICV it is `struct xfrm_algo`.
pub fn encode_algorithm(
    name: &str,
    key: &[u8],
    icv_bits: Option<u32>,
) -> zeroize::Zeroizing<Vec<u8>> {
    let mut octets = zeroize::Zeroizing::new(Vec::with_capacity(ALGORITHM_WITH_ICV + key.len()));
    octets.extend(name.as_bytes());
    octets.resize(ALGORITHM_NAME, 0);
    octets.extend((key.len() as u32 * 8).to_ne_bytes());
    if let Some(bits) = icv_bits {
        octets.extend(bits.to_ne_bytes());
    }
    octets.extend(key);
    octets
}

/// `struct xfrm_replay_state_esn`.
pub struct ReplayEsn {
    pub oseq: u64,
    pub seq: u64,
    pub window: u32,
    pub bitmap: Vec<u32>,
    /// Words that the header tells; the bitmap may be left out.
    pub words: u32,
}

/// Header, and the bitmap if it is there in full; the caller has looked at the lengths.
pub fn parse_replay(octets: &[u8]) -> Option<ReplayEsn> {
    let fields = Fields(octets);
    let words = fields.u32(0)?;
    let bitmap = octets
        .get(REPLAY_HEADER..REPLAY_HEADER + 4 * words as usize)
        .unwrap_or(&[]);
    let half = |low: usize, high: usize| {
        Some(u64::from(fields.u32(high)?) << 32 | u64::from(fields.u32(low)?))
    };
    Some(ReplayEsn {
        oseq: half(4, 12)?,
        seq: half(8, 16)?,
        window: fields.u32(20)?,
        bitmap: bitmap
            .chunks_exact(4)
            .map(|four| u32::from_ne_bytes(four.try_into().expect("chunks have 4 octets")))
            .collect(),
        words,
    })
}

pub fn encode_replay(oseq: u64, seq: u64, window: u32, bitmap: &[u32]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(REPLAY_HEADER + bitmap.len() * 4);
    for number in [
        bitmap.len() as u32,
        oseq as u32,
        seq as u32,
        (oseq >> 32) as u32,
        (seq >> 32) as u32,
        window,
    ]
    .iter()
    .chain(bitmap)
    {
        octets.extend(number.to_ne_bytes());
    }
    octets
}

/// `struct xfrm_lifetime_cfg`.
pub fn parse_limits(octets: &[u8], at: usize) -> Option<Limits> {
    let fields = Fields(octets);
    Some(Limits {
        soft_bytes: fields.u64(at)?,
        hard_bytes: fields.u64(at + 8)?,
        soft_packets: fields.u64(at + 16)?,
        hard_packets: fields.u64(at + 24)?,
        soft_add_seconds: fields.u64(at + 32)?,
        hard_add_seconds: fields.u64(at + 40)?,
        soft_use_seconds: fields.u64(at + 48)?,
        hard_use_seconds: fields.u64(at + 56)?,
    })
}

pub fn encode_limits(limits: &Limits) -> [u8; 64] {
    let mut octets = [0; 64];
    let numbers = [
        limits.soft_bytes,
        limits.hard_bytes,
        limits.soft_packets,
        limits.hard_packets,
        limits.soft_add_seconds,
        limits.hard_add_seconds,
        limits.soft_use_seconds,
        limits.hard_use_seconds,
    ];
    for (chunk, number) in octets.chunks_exact_mut(8).zip(numbers) {
        chunk.copy_from_slice(&number.to_ne_bytes());
    }
    octets
}

/// `struct xfrm_lifetime_cfg` without limits.
pub fn unlimited() -> [u8; 64] {
    let mut octets = [0; 64];
    octets[..32].fill(0xff);
    octets
}

/// `struct xfrm_lifetime_cur`.
pub fn current_lifetime(octets: u64, packets: u64, added: u64, used: u64) -> [u8; 32] {
    let mut target = [0; 32];
    for (chunk, number) in target
        .chunks_exact_mut(8)
        .zip([octets, packets, added, used])
    {
        chunk.copy_from_slice(&number.to_ne_bytes());
    }
    target
}
