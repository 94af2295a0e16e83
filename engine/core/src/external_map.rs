//! Where the external device's packets go: if_id by destination, longest prefix first.
//!
//! For the kernel a route tells it (`encap xfrm if_id N`), as metadata of each packet; a TUN device
//! carries none, so the same routes are told to the engine.

use std::net::IpAddr;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::policy::masked;

/// A destination: address without host bits, and prefix length in bits.
pub type Prefix = (IpAddr, u8);

/// A persistent table: a copy shares all that is the same.
#[derive(Clone, Default)]
pub struct ExternalMap {
    entries: HashTrieMapSync<Prefix, u32>,
    /// How many entries have a length, for IPv4 and IPv6.
    lengths: [RedBlackTreeMapSync<u8, usize>; 2],
}

impl ExternalMap {
    /// False if the prefix has an if_id already; then nothing changes.
    pub fn insert(&mut self, prefix: Prefix, if_id: u32) -> bool {
        if self.entries.contains_key(&prefix) {
            return false;
        }
        self.entries.insert_mut(prefix, if_id);
        let lengths = &mut self.lengths[usize::from(prefix.0.is_ipv6())];
        let count = lengths.get(&prefix.1).copied().unwrap_or(0);
        lengths.insert_mut(prefix.1, count + 1);
        true
    }

    /// False if there is no such prefix.
    pub fn remove(&mut self, prefix: Prefix) -> bool {
        if !self.entries.remove_mut(&prefix) {
            return false;
        }
        let lengths = &mut self.lengths[usize::from(prefix.0.is_ipv6())];
        match lengths.get(&prefix.1).copied() {
            Some(count) if count > 1 => lengths.insert_mut(prefix.1, count - 1),
            _ => drop(lengths.remove_mut(&prefix.1)),
        }
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &u32)> {
        self.entries.iter()
    }

    /// The if_id of the longest prefix that has the address.
    pub fn get(&self, address: IpAddr) -> Option<u32> {
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        lengths.keys().rev().find_map(|length| {
            self.entries
                .get(&(masked(address, *length), *length))
                .copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        (address.parse().unwrap(), length.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_wins_in_each_family() {
        let mut map = ExternalMap::default();
        for (text, if_id) in [
            ("0.0.0.0/0", 1),
            ("10.0.0.0/8", 2),
            ("10.1.2.3/32", 3),
            ("fd00::/16", 4),
        ] {
            assert!(map.insert(prefix(text), if_id));
        }
        let get = |map: &ExternalMap, text: &str| map.get(text.parse().unwrap());
        assert_eq!(get(&map, "192.0.2.1"), Some(1));
        assert_eq!(get(&map, "10.1.2.4"), Some(2));
        assert_eq!(get(&map, "10.1.2.3"), Some(3));
        assert_eq!(get(&map, "fd00::1"), Some(4));
        assert_eq!(get(&map, "2001:db8::1"), None);
        assert!(!map.insert(prefix("10.0.0.0/8"), 9));
        assert!(map.remove(prefix("10.0.0.0/8")));
        assert!(!map.remove(prefix("10.0.0.0/8")));
        assert_eq!(get(&map, "10.1.2.4"), Some(1));
        assert_eq!(map.iter().count(), 3);
    }
}
