//! Dumps of the SAD and the SPD, piece by piece as a client takes them (`xfrm_dump_sa`,
//! `xfrm_dump_policy`).
//!
//! Between two pieces anything may come and go: what came is newer than where the dump stands, what
//! went is passed over, so nothing is told twice and nothing has to be remembered.

use std::net::IpAddr;

use super::policy_encode;
use super::sa_encode::{encode, encode_larval};
use crate::netlink::attributes::Attributes;
use crate::netlink::wire::{put_message, Message, Refusal, NLMSG_DONE, NLM_F_MULTI};
use crate::netlink::xfrm::{self as x, Fields};
use crate::sa::SaConfig;
use crate::sad::{protocol_matches, Found, Sad};
use crate::spd::Spd;

/// What is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sad(SaFilter),
    Spd,
}

/// The SAs that a dump is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaFilter {
    /// XFRMA_PROTO.
    protocol: u8,
    addresses: Option<AddressFilter>,
}

/// `struct xfrm_address_filter`; the lengths are in bits of the address as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressFilter {
    source: [u8; 16],
    destination: [u8; 16],
    family: u16,
    source_bits: u8,
    destination_bits: u8,
}

impl SaFilter {
    pub fn parse(attributes: &Attributes) -> Result<SaFilter, Refusal> {
        let protocol = attributes.get(x::XFRMA_PROTO).and_then(|one| one.first());
        let addresses = attributes.get(x::XFRMA_ADDRESS_FILTER);
        Ok(SaFilter {
            protocol: protocol.copied().unwrap_or(0),
            addresses: addresses.map(AddressFilter::parse).transpose()?,
        })
    }

    fn wants(&self, config: &SaConfig) -> bool {
        protocol_matches(config.protocol, self.protocol)
            && self
                .addresses
                .as_ref()
                .is_none_or(|filter| filter.matches(config))
    }
}

impl AddressFilter {
    fn parse(octets: &[u8]) -> Result<AddressFilter, Refusal> {
        let fields = Fields(octets);
        let address = |at: usize| octets.get(at..at + 16)?.try_into().ok();
        let parse = || {
            Some(AddressFilter {
                source: address(0)?,
                destination: address(16)?,
                family: fields.u16(32)?,
                source_bits: fields.u8(34).filter(|bits| *bits <= 128)?,
                destination_bits: fields.u8(35).filter(|bits| *bits <= 128)?,
            })
        };
        parse().ok_or(Refusal::from(libc::EINVAL))
    }

    /// `__xfrm_state_filter_match()`.
    fn matches(&self, config: &SaConfig) -> bool {
        let other = self.family != x::family_of(config.destination);
        if matches!(self.family, x::AF_INET | x::AF_INET6) && other {
            return false;
        }
        let prefix = |wanted: [u8; 16], address: IpAddr, bits: u8| {
            let octets = u128::from_be_bytes(x::address_octets(address));
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (u128::from_be_bytes(wanted) ^ octets) & mask == 0
        };
        prefix(self.source, config.source, self.source_bits)
            && prefix(self.destination, config.destination, self.destination_bits)
    }
}

/// How far a dump has come: only what it needs to go on, however much there is.
pub struct Dump {
    database: Database,
    /// Sequence number and port of the request.
    sequence: u32,
    port: u32,
    /// What came before this is still to be told.
    before: u64,
}

impl Dump {
    pub fn new(database: Database, request: &Message) -> Dump {
        Dump {
            database,
            sequence: request.sequence,
            port: request.port,
            before: u64::MAX,
        }
    }

    /// Appends messages up to `most` octets; true when the dump has ended with NLMSG_DONE.
    pub fn go_on(&mut self, sad: &Sad, spd: &Spd, target: &mut Vec<u8>, most: usize) -> bool {
        let about = Message {
            sequence: self.sequence,
            port: self.port,
            ..Message::NONE
        };
        let all = match self.database {
            Database::Sad(filter) => self.tell_sas(sad, filter, &about, target, most),
            Database::Spd => self.tell_policies(spd, &about, target, most),
        };
        if all {
            put_message(target, NLMSG_DONE, NLM_F_MULTI, &about, &[0; 4]);
        }
        all
    }

    fn tell_sas(
        &mut self,
        sad: &Sad,
        filter: SaFilter,
        about: &Message,
        target: &mut Vec<u8>,
        most: usize,
    ) -> bool {
        for (number, found) in sad.older_than(self.before) {
            if target.len() > most {
                return false;
            }
            let message = match found {
                Found::Sa(sa) if filter.wants(&sa.config) => encode(&sa),
                Found::Larval(larval) if filter.wants(&larval.config) => encode_larval(&larval),
                _ => continue,
            };
            put_message(target, x::NEWSA, NLM_F_MULTI, about, &message);
            self.before = number;
        }
        true
    }

    fn tell_policies(
        &mut self,
        spd: &Spd,
        about: &Message,
        target: &mut Vec<u8>,
        most: usize,
    ) -> bool {
        for policy in spd.older_than(self.before) {
            if target.len() > most {
                return false;
            }
            let message = policy_encode::encode(policy);
            put_message(target, x::NEWPOLICY, NLM_F_MULTI, about, &message);
            self.before = policy.position;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::allocate_spi::{larval_config, larval_state};
    use super::*;
    use crate::crypto::{Algorithms, Transform};
    use crate::netlink::wire::messages;
    use crate::sa::{Mode, Sa};
    use crate::sad::key_of;

    const SAS: u32 = 100_000;
    const PIECE: usize = 32 << 10;
    const ALL: SaFilter = SaFilter {
        protocol: 0,
        addresses: None,
    };

    fn config(spi: u32) -> SaConfig {
        let (here, there) = ("192.0.2.1", "192.0.2.2");
        SaConfig {
            spi,
            ..larval_config(
                here.parse().unwrap(),
                there.parse().unwrap(),
                50,
                Mode::Tunnel,
            )
        }
    }

    fn add(sad: &mut Sad, transform: &Arc<Transform>, spi: u32) {
        let sa = Sa {
            config: config(spi),
            transform: Arc::clone(transform),
            state: larval_state(),
        };
        assert!(sad.add(sa).is_some());
    }

    /// SPIs of a piece, and whether it was the last.
    fn piece(dump: &mut Dump, sad: &Sad) -> (Vec<u32>, bool) {
        let mut octets = Vec::new();
        let ended = dump.go_on(sad, &Spd::default(), &mut octets, PIECE);
        assert!(octets.len() < PIECE + 4096, "{} octets", octets.len());
        let told = messages(&octets).unwrap();
        assert_eq!(told.last().unwrap().kind == NLMSG_DONE, ended);
        let sas = told.iter().filter(|one| one.kind == x::NEWSA);
        let spi = |one: &Message| Fields(one.payload).be32(72).unwrap();
        (sas.map(spi).collect(), ended)
    }

    #[test]
    fn sas_that_come_and_go_disturb_no_dump() {
        let algorithms = Algorithms::Aead {
            name: "rfc4106(gcm(aes))".into(),
            keymat: vec![1; 20].into_boxed_slice().into(),
            icv_bits: 128,
        };
        let transform = Arc::new(Transform::new(algorithms).unwrap());
        let mut sad = Sad::default();
        for spi in 1..=SAS {
            add(&mut sad, &transform, spi);
        }
        let mut dump = Dump::new(Database::Sad(ALL), &Message::NONE);
        let mut told = Vec::new();
        let mut gone = BTreeSet::new();
        let mut ended = false;
        for round in 1.. {
            if ended {
                break;
            }
            let (spis, last) = piece(&mut dump, &sad);
            told.extend(spis);
            ended = last;
            // One that is to come, one that is told already, and at times the one told last.
            let last = told[told.len() - 1] * (round % 2);
            for spi in [last, round, SAS - round] {
                if sad.remove(&key_of(&config(spi))).is_some() && !told.contains(&spi) {
                    gone.insert(spi);
                }
            }
            add(&mut sad, &transform, SAS + round);
            // One that changes keeps its place.
            sad.replace(Sa {
                config: config(SAS / 2),
                transform: Arc::clone(&transform),
                state: larval_state(),
            });
        }
        let there: Vec<u32> = (1..=SAS).rev().filter(|spi| !gone.contains(spi)).collect();
        assert!(!gone.is_empty());
        assert_eq!(told, there, "the newest first, each once");
    }

    #[test]
    fn larval_sas_stand_among_the_others_as_they_came() {
        let mut sad = Sad::default();
        let mut numbers = Vec::new();
        for spi in [3, 1, 2] {
            numbers.push(sad.add_larval(config(spi), larval_state()).number);
        }
        sad.remove_larval(numbers[1]);
        let mut dump = Dump::new(Database::Sad(ALL), &Message::NONE);
        assert_eq!(piece(&mut dump, &sad), (vec![2, 3], true));
        let none = SaFilter {
            protocol: 51,
            ..ALL
        };
        let mut dump = Dump::new(Database::Sad(none), &Message::NONE);
        assert_eq!(piece(&mut dump, &sad), (vec![], true));
    }
}
