//! The security association database (RFC 4301, 4.4.2) as the control thread keeps it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::policy::Mark;
use crate::sa::{Sa, SaConfig};

/// What identifies an SA: destination, SPI, protocol and mark; if_id is no part of it.
pub type SaKey = (IpAddr, u32, u8, u32);

/// All SAs, in the order of their identity.
#[derive(Default)]
pub struct Sad {
    sas: BTreeMap<SaKey, Arc<Sa>>,
}

pub fn key_of(config: &SaConfig) -> SaKey {
    key(config.destination, config.spi, config.protocol, config.mark)
}

pub fn key(destination: IpAddr, spi: u32, protocol: u8, mark: Mark) -> SaKey {
    (destination, spi, protocol, mark.value & mark.mask)
}

impl Sad {
    /// None if the identity is taken.
    pub fn add(&mut self, sa: Sa) -> Option<Arc<Sa>> {
        match self.sas.entry(key_of(&sa.config)) {
            std::collections::btree_map::Entry::Occupied(_) => None,
            std::collections::btree_map::Entry::Vacant(entry) => {
                Some(Arc::clone(entry.insert(Arc::new(sa))))
            }
        }
    }

    /// Replaces an SA of the same identity.
    pub fn replace(&mut self, sa: Sa) -> Arc<Sa> {
        let sa = Arc::new(sa);
        self.sas.insert(key_of(&sa.config), Arc::clone(&sa));
        sa
    }

    pub fn get(&self, key: &SaKey) -> Option<&Arc<Sa>> {
        self.sas.get(key)
    }

    pub fn remove(&mut self, key: &SaKey) -> Option<Arc<Sa>> {
        self.sas.remove(key)
    }

    /// Removes all of one protocol; 0 or 255 for any (`IPSEC_PROTO_ANY`). Gives those that went.
    pub fn flush(&mut self, protocol: u8) -> Vec<Arc<Sa>> {
        let (gone, kept) = std::mem::take(&mut self.sas)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(key, _)| {
                matches!(protocol, 0 | 255) || key.2 == protocol
            });
        self.sas = kept;
        gone.into_values().collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Sa>> {
        self.sas.values()
    }

    pub fn len(&self) -> usize {
        self.sas.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sas.is_empty()
    }
}
