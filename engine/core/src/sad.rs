//! The security association database (RFC 4301, 4.4.2) as the control thread keeps it: SAs, and
//! larval ones, which were asked for and have no keys yet (XFRM_STATE_ACQ).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use std::sync::Arc;

use crate::policy::Mark;
use crate::sa::{Sa, SaConfig, SaState};

/// What identifies an SA: destination, SPI, protocol and mark; if_id is no part of it.
pub type SaKey = (IpAddr, u32, u8, u32);

/// An SA that an acquire or ALLOCSPI has made room for.
pub struct Larval {
    /// Its place among SAs and larvae; never given twice.
    pub number: u64,
    /// With SPI 0 as long as none was allocated.
    pub config: SaConfig,
    /// At rest.
    pub state: Arc<SaState>,
}

/// What a name stands for.
#[derive(Clone)]
pub enum Found {
    Sa(Arc<Sa>),
    Larval(Arc<Larval>),
}

/// What has an identity: an SA, or the identity itself.
trait Identified {
    fn identity(&self) -> SaKey;
}

/// An SA in the order of its identity, which is not kept twice, with its number.
struct ByIdentity(u64, Arc<Sa>);

impl Identified for ByIdentity {
    fn identity(&self) -> SaKey {
        key_of(&self.1.config)
    }
}

impl Identified for SaKey {
    fn identity(&self) -> SaKey {
        *self
    }
}

/// All that have an SPI stand together.
fn by_spi((destination, spi, protocol, mark): SaKey) -> (u32, u8, IpAddr, u32) {
    (spi, protocol, destination, mark)
}

impl Ord for dyn Identified + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        by_spi(self.identity()).cmp(&by_spi(other.identity()))
    }
}

impl PartialOrd for dyn Identified + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Identified + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for dyn Identified + '_ {}

impl Ord for ByIdentity {
    fn cmp(&self, other: &Self) -> Ordering {
        by_spi(self.identity()).cmp(&by_spi(other.identity()))
    }
}

impl PartialOrd for ByIdentity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ByIdentity {}

impl<'a> Borrow<dyn Identified + 'a> for ByIdentity {
    fn borrow(&self) -> &(dyn Identified + 'a) {
        self
    }
}

/// All SAs and larvae.
#[derive(Default)]
pub struct Sad {
    sas: BTreeSet<ByIdentity>,
    /// SAs, and larvae, in the order in which they came (`state_all` of `struct netns_xfrm`).
    by_number: BTreeMap<u64, Arc<Sa>>,
    larvae: BTreeMap<u64, Arc<Larval>>,
    /// The last number that was given.
    numbered: u64,
    /// How many larvae have an SPI of a protocol.
    spis: HashMap<(u32, u8), u32>,
}

pub fn key_of(config: &SaConfig) -> SaKey {
    key(config.destination, config.spi, config.protocol, config.mark)
}

pub fn key(destination: IpAddr, spi: u32, protocol: u8, mark: Mark) -> SaKey {
    (destination, spi, protocol, mark.value & mark.mask)
}

/// `xfrm_id_proto_match()`: 0 for any, 255 for AH, ESP and IPCOMP.
pub fn protocol_matches(protocol: u8, wanted: u8) -> bool {
    wanted == 0 || protocol == wanted || (wanted == 255 && matches!(protocol, 50 | 51 | 108))
}

impl Sad {
    /// None if the identity is taken.
    pub fn add(&mut self, sa: Sa) -> Option<Arc<Sa>> {
        let key = key_of(&sa.config);
        if self.get(&key).is_some() {
            return None;
        }
        Some(self.replace(sa))
    }

    /// Replaces an SA of the same identity, or adds one.
    pub fn replace(&mut self, sa: Sa) -> Arc<Sa> {
        let sa = Arc::new(sa);
        let key = key_of(&sa.config);
        let number = match self.sas.get(&key as &dyn Identified) {
            Some(ByIdentity(number, _)) => *number,
            None => self.next_number(),
        };
        self.sas.replace(ByIdentity(number, Arc::clone(&sa)));
        self.by_number.insert(number, Arc::clone(&sa));
        sa
    }

    pub fn get(&self, key: &SaKey) -> Option<&Arc<Sa>> {
        self.sas.get(key as &dyn Identified).map(|one| &one.1)
    }

    /// What a request names (`__xfrm_state_lookup`): the mark is compared under that of the SA.
    pub fn find(&self, destination: IpAddr, spi: u32, protocol: u8, mark: u32) -> Option<Found> {
        let fits = |config: &SaConfig| mark & config.mark.mask == config.mark.value;
        let first = (destination, spi, protocol, 0);
        let last = (destination, spi, protocol, u32::MAX);
        let mut sas = self.between(&first, &last).rev();
        if let Some(sa) = sas.find(|sa| fits(&sa.config)) {
            return Some(Found::Sa(Arc::clone(sa)));
        }
        let of_spi = |larval: &&Arc<Larval>| {
            let config = &larval.config;
            (config.destination, config.spi, config.protocol) == (destination, spi, protocol)
                && spi != 0
                && fits(config)
        };
        self.larvae().find(of_spi).cloned().map(Found::Larval)
    }

    /// Whether nothing has the SPI, whatever its destination (`xfrm_state_lookup_spi_proto`).
    pub fn spi_is_free(&self, spi: u32, protocol: u8) -> bool {
        let first = (Ipv4Addr::UNSPECIFIED.into(), spi, protocol, 0);
        let last = (Ipv6Addr::from(u128::MAX).into(), spi, protocol, u32::MAX);
        !self.spis.contains_key(&(spi, protocol)) && self.between(&first, &last).next().is_none()
    }

    fn between<'a>(
        &'a self,
        first: &'a SaKey,
        last: &'a SaKey,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<Sa>> {
        let ends: [&dyn Identified; 2] = [first, last];
        let range = (Bound::Included(ends[0]), Bound::Included(ends[1]));
        let found = self.sas.range::<dyn Identified, _>(range);
        found.map(|one| &one.1)
    }

    pub fn remove(&mut self, key: &SaKey) -> Option<Arc<Sa>> {
        let ByIdentity(number, sa) = self.sas.take(key as &dyn Identified)?;
        self.by_number.remove(&number);
        Some(sa)
    }

    /// Removes all SAs of one protocol (`protocol_matches`). Gives those that went.
    pub fn flush(&mut self, protocol: u8) -> Vec<Arc<Sa>> {
        let gone: Vec<SaKey> = self
            .iter()
            .map(|sa| key_of(&sa.config))
            .filter(|key| protocol_matches(key.2, protocol))
            .collect();
        gone.iter().filter_map(|key| self.remove(key)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Sa>> {
        self.sas.iter().map(|one| &one.1)
    }

    /// SAs and larvae that came before a number, the newest first, as the kernel dumps them.
    pub fn older_than(&self, number: u64) -> impl Iterator<Item = (u64, Found)> + '_ {
        let mut sas = self.by_number.range(..number).rev().peekable();
        let mut larvae = self.larvae.range(..number).rev().peekable();
        std::iter::from_fn(move || {
            let newest = sas.peek().map(|(number, _)| **number);
            if let Some((number, larval)) = larvae.next_if(|(number, _)| Some(**number) > newest) {
                return Some((*number, Found::Larval(Arc::clone(larval))));
            }
            let (number, sa) = sas.next()?;
            Some((*number, Found::Sa(Arc::clone(sa))))
        })
    }

    /// SAs and larvae.
    pub fn len(&self) -> usize {
        self.by_number.len() + self.larvae.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a larval SA.
    pub fn add_larval(&mut self, config: SaConfig, state: Arc<SaState>) -> Arc<Larval> {
        let number = self.next_number();
        self.put_larval(Larval {
            number,
            config,
            state,
        })
    }

    /// Adds one, or one that has changed.
    pub fn put_larval(&mut self, larval: Larval) -> Arc<Larval> {
        self.remove_larval(larval.number);
        if larval.config.spi != 0 {
            self.take_spi(larval.config.spi, larval.config.protocol);
        }
        let larval = Arc::new(larval);
        self.larvae.insert(larval.number, Arc::clone(&larval));
        larval
    }

    pub fn remove_larval(&mut self, number: u64) -> Option<Arc<Larval>> {
        let larval = self.larvae.remove(&number)?;
        if larval.config.spi != 0 {
            self.release_spi(larval.config.spi, larval.config.protocol);
        }
        Some(larval)
    }

    pub fn larval(&self, number: u64) -> Option<&Arc<Larval>> {
        self.larvae.get(&number)
    }

    /// Newest first.
    pub fn larvae(&self) -> impl Iterator<Item = &Arc<Larval>> {
        self.larvae.values().rev()
    }

    /// The larval SA of an acquire (`__xfrm_find_acq_byseq`).
    pub fn larval_of_sequence(
        &self,
        mark: u32,
        sequence: u32,
        cpu: Option<u32>,
    ) -> Option<&Arc<Larval>> {
        self.larvae().find(|larval| {
            let config = &larval.config;
            config.sequence == sequence
                && mark & config.mark.mask == config.mark.value
                && config.cpu == cpu
        })
    }

    /// The larval SA without SPI for which one like this is to be (`__find_acq_core`). if_id is not
    /// compared.
    pub fn larval_like(&self, wanted: &SaConfig) -> Option<&Arc<Larval>> {
        let mark = wanted.mark.value & wanted.mark.mask;
        self.larvae().find(|larval| {
            let config = &larval.config;
            config.spi == 0
                && config.reqid == wanted.reqid
                && config.mode == wanted.mode
                && config.protocol == wanted.protocol
                && mark & config.mark.mask == config.mark.value
                && config.cpu == wanted.cpu
                && config.destination == wanted.destination
                && config.source == wanted.source
        })
    }

    fn next_number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    fn take_spi(&mut self, spi: u32, protocol: u8) {
        *self.spis.entry((spi, protocol)).or_default() += 1;
    }

    fn release_spi(&mut self, spi: u32, protocol: u8) {
        if let Some(count) = self.spis.get_mut(&(spi, protocol)) {
            *count -= 1;
            if *count == 0 {
                self.spis.remove(&(spi, protocol));
            }
        }
    }
}
