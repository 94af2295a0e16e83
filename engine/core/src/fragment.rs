//! One fragment of IPv4 or IPv6, taken apart for `reassembly`.

/// The longest datagram.
pub const LONGEST: usize = 65_535;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const MOST_EXTENSIONS: usize = 8;

/// What the fragments of one datagram have in common: addresses, identification, protocol (RFC 791;
/// 0 for IPv6, whose fragments may differ in it).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub addresses: Vec<u8>,
    pub identification: u32,
    pub protocol: u8,
}

/// One fragment, taken apart.
pub struct Fragment<'a> {
    pub key: Key,
    /// IP header with what stands before the fragment header, whose place is filled.
    pub header: Vec<u8>,
    pub offset: usize,
    pub more: bool,
    pub ecn: u8,
    pub payload: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// None for what is none, or cannot be one of a datagram.
    pub fn parse(packet: &'a [u8]) -> Option<Fragment<'a>> {
        let fragment = match packet.first()? >> 4 {
            4 => Fragment::parse_v4(packet)?,
            6 => Fragment::parse_v6(packet)?,
            _ => return None,
        };
        let length = fragment.payload.len();
        // Only the last may have a length that is no multiple of 8, and none may reach too far.
        let fits = fragment.offset + length <= LONGEST;
        (length > 0 && fits && (!fragment.more || length % 8 == 0)).then_some(fragment)
    }

    fn parse_v4(packet: &'a [u8]) -> Option<Fragment<'a>> {
        let fixed = packet.get(..20)?;
        let header = usize::from(fixed[0] & 15) * 4;
        let place = u16::from_be_bytes([fixed[6], fixed[7]]);
        let mut whole = packet.get(..header).filter(|_| header >= 20)?.to_vec();
        whole[6..8].fill(0);
        Some(Fragment {
            key: Key {
                addresses: fixed[12..20].to_vec(),
                identification: u32::from(u16::from_be_bytes([fixed[4], fixed[5]])),
                protocol: fixed[9],
            },
            header: whole,
            offset: usize::from(place & 0x1fff) * 8,
            more: place & 0x2000 != 0,
            ecn: fixed[1] & 3,
            payload: &packet[header..],
        })
    }

    fn parse_v6(packet: &'a [u8]) -> Option<Fragment<'a>> {
        let fixed = packet.get(..40)?;
        // Where the next header is told, and where it begins.
        let (mut told, mut at) = (6, 40);
        for _ in 0..MOST_EXTENSIONS {
            match *packet.get(told)? {
                FRAGMENT => {
                    let [next, _, high, low, a, b, c, d] =
                        <[u8; 8]>::try_from(packet.get(at..at + 8)?).ok()?;
                    let place = u16::from_be_bytes([high, low]);
                    let mut header = packet[..at].to_vec();
                    header[told] = next;
                    return Some(Fragment {
                        key: Key {
                            addresses: fixed[8..40].to_vec(),
                            identification: u32::from_be_bytes([a, b, c, d]),
                            protocol: 0,
                        },
                        header,
                        offset: usize::from(place & 0xfff8),
                        more: place & 1 != 0,
                        ecn: fixed[1] >> 4 & 3,
                        payload: &packet[at + 8..],
                    });
                }
                HOP_BY_HOP | ROUTING | DESTINATION => {
                    told = at;
                    at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
                }
                _ => return None,
            }
        }
        None
    }
}
