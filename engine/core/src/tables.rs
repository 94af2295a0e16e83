//! The snapshot of SAD, SPD and devices that workers forward by, and how it is published.
//!
//! The control thread changes its own `Tables` and publishes a copy per datagram of requests before
//! it acknowledges, so what was acknowledged is in force for every later batch. The maps are
//! persistent: a copy shares all that is the same, and costs nothing.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use rpds::HashTrieMapSync;

use crate::device::Device;
use crate::external_map::ExternalMap;
use crate::ip::ESP;
use crate::policy::{Direction, Flow, Policy, Template};
use crate::policy_index::PolicyIndex;
use crate::sa::{Sa, SaConfig, DYING};
use crate::sad::Larval;

/// In place of an if_id: the device of all those that have none of their own.
pub const EXTERNAL: u32 = 0;

/// What a template asks for by equality (`xfrm_state_find`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemplateKey {
    pub destination: IpAddr,
    pub protocol: u8,
    pub mode: u8,
    pub reqid: u32,
    pub if_id: u32,
}

impl TemplateKey {
    /// What a template of a policy picks from; the packet may tell the destination.
    fn of_template(policy: &Policy, template: &Template, destination: IpAddr) -> TemplateKey {
        TemplateKey {
            destination,
            protocol: template.protocol,
            mode: template.mode,
            reqid: template.reqid,
            if_id: policy.if_id,
        }
    }

    pub fn of_sa(sa: &Sa) -> TemplateKey {
        TemplateKey::of_config(&sa.config)
    }

    pub fn of_config(config: &SaConfig) -> TemplateKey {
        TemplateKey {
            destination: config.destination,
            protocol: config.protocol,
            mode: config.mode as u8,
            reqid: config.reqid,
            if_id: config.if_id,
        }
    }
}

/// The part of `xfrm_state_look_at()` that is no matter of equality or of a packet.
fn may_pick(policy: &Policy, template: &Template, source: IpAddr, config: &SaConfig) -> bool {
    let mark = policy.mark.value & policy.mark.mask;
    mark & config.mark.mask == config.mark.value
        && (source.is_unspecified() || config.source == source)
        && (template.spi == 0 || template.spi == config.spi)
}

/// SAs under one key, newest first: nearly always one.
#[derive(Clone)]
enum Sas {
    One(Arc<Sa>),
    Several(Box<[Arc<Sa>]>),
}

impl Sas {
    /// None for none.
    fn of(mut all: Vec<Arc<Sa>>) -> Option<Sas> {
        match all.len() {
            0 => None,
            1 => all.pop().map(Sas::One),
            _ => Some(Sas::Several(all.into())),
        }
    }

    fn as_slice(&self) -> &[Arc<Sa>] {
        match self {
            Sas::One(sa) => std::slice::from_ref(sa),
            Sas::Several(all) => all,
        }
    }
}

/// An immutable picture of everything a packet is matched by.
#[derive(Clone, Default)]
pub struct Tables {
    /// By SPI; the rest of the key is compared (an SPI is nearly always unique).
    inbound: HashTrieMapSync<u32, Sas>,
    /// What a template picks from, newest first.
    outbound: HashTrieMapSync<TemplateKey, Sas>,
    /// SAs that were asked for and are not there yet.
    larval: Larvae<TemplateKey>,
    /// Those of them that have an SPI, by it.
    allocated: Larvae<u32>,
    policies: HashTrieMapSync<(Direction, u32), PolicyIndex>,
    /// The if_id of the external device's packets.
    pub external: ExternalMap,
    /// By if_id; the external device has 0.
    devices: HashTrieMapSync<u32, Arc<Device>>,
    /// Somebody listens for ACQUIRE.
    pub acquire: bool,
    /// Somebody listens for aevents: workers tell of replay states that have moved.
    pub aevents: bool,
    /// Directions in which a packet without policy is blocked (XFRM_MSG_SETDEFAULT).
    pub blocked: [bool; 3],
}

impl Tables {
    pub fn insert_sa(&mut self, sa: &Arc<Sa>) {
        self.remove_sa(sa);
        let with = |sas: Option<&Sas>| -> Sas {
            let Some(sas) = sas else {
                return Sas::One(Arc::clone(sa));
            };
            let others = sas.as_slice().iter();
            let mut all: Vec<Arc<Sa>> = std::iter::once(sa).chain(others).cloned().collect();
            // Stable: of the same second the one that came last stands first.
            all.sort_by_key(|sa| std::cmp::Reverse(sa.config.added));
            Sas::Several(all.into())
        };
        let spi = sa.config.spi;
        self.inbound.insert_mut(spi, with(self.inbound.get(&spi)));
        let key = TemplateKey::of_sa(sa);
        self.outbound.insert_mut(key, with(self.outbound.get(&key)));
    }

    /// Takes out the SA of the same identity.
    pub fn remove_sa(&mut self, sa: &Arc<Sa>) {
        let identity = crate::sad::key_of(&sa.config);
        let without = |sas: &Sas| -> Option<Sas> {
            let others = sas.as_slice().iter();
            Sas::of(
                others
                    .filter(|other| crate::sad::key_of(&other.config) != identity)
                    .cloned()
                    .collect(),
            )
        };
        let spi = sa.config.spi;
        match self.inbound.get(&spi).map(without) {
            None => {}
            Some(None) => drop(self.inbound.remove_mut(&spi)),
            Some(Some(rest)) => self.inbound.insert_mut(spi, rest),
        }
        let key = TemplateKey::of_sa(sa);
        match self.outbound.get(&key).map(without) {
            None => {}
            Some(None) => drop(self.outbound.remove_mut(&key)),
            Some(Some(rest)) => self.outbound.insert_mut(key, rest),
        }
    }

    pub fn insert_larval(&mut self, larval: &Arc<Larval>) {
        let key = TemplateKey::of_config(&larval.config);
        put_larval(&mut self.larval, key, larval);
        if larval.config.spi != 0 {
            put_larval(&mut self.allocated, larval.config.spi, larval);
        }
    }

    pub fn remove_larval(&mut self, larval: &Larval) {
        take_larval(
            &mut self.larval,
            TemplateKey::of_config(&larval.config),
            larval,
        );
        take_larval(&mut self.allocated, larval.config.spi, larval);
    }

    /// Whether the SA that a policy's template asks for has been asked for already
    /// (`acquire_in_progress` of `xfrm_state_find`).
    pub fn larval(&self, policy: &Policy, template: &Template) -> bool {
        self.larval_between(policy, template, template.source, template.destination)
    }

    /// The same where the packet tells an address that the template does not.
    pub fn larval_between(
        &self,
        policy: &Policy,
        template: &Template,
        source: IpAddr,
        destination: IpAddr,
    ) -> bool {
        let key = TemplateKey::of_template(policy, template, destination);
        self.larval.get(&key).is_some_and(|list| {
            let mut configs = list.iter().map(|larval| &larval.config);
            configs.any(|config| may_pick(policy, template, source, config))
        })
    }

    /// SAs that a template could pick from, newest first.
    pub fn sas_of(&self, key: &TemplateKey) -> &[Arc<Sa>] {
        self.outbound.get(key).map_or(&[], Sas::as_slice)
    }

    pub fn insert_policy(&mut self, policy: &Arc<Policy>) {
        let key = (policy.direction, policy.if_id);
        let mut index = self.policies.get(&key).cloned().unwrap_or_default();
        index.insert(Arc::clone(policy));
        self.policies.insert_mut(key, index);
    }

    pub fn remove_policy(&mut self, policy: &Policy) {
        let key = (policy.direction, policy.if_id);
        let mut index = self.policies.get(&key).cloned().unwrap_or_default();
        index.remove(policy);
        if index.is_empty() {
            self.policies.remove_mut(&key);
        } else {
            self.policies.insert_mut(key, index);
        }
    }

    pub fn clear_policies(&mut self) {
        self.policies = HashTrieMapSync::default();
    }

    pub fn insert_device(&mut self, device: &Arc<Device>) {
        self.devices.insert_mut(device.if_id, Arc::clone(device));
    }

    pub fn remove_device(&mut self, device: &Device) {
        self.devices.remove_mut(&device.if_id);
    }

    /// The device that was given this if_id, served or not.
    pub fn own_device(&self, if_id: u32) -> Option<&Arc<Device>> {
        self.devices.get(&if_id)
    }

    /// The device that an if_id belongs to: one of its own, else the external one
    /// (`xfrmi_lookup`).
    pub fn device(&self, if_id: u32) -> Option<&Arc<Device>> {
        let served = |device: &&Arc<Device>| device.attached.load(Ordering::Relaxed);
        let own = self.devices.get(&if_id).filter(served);
        own.or_else(|| self.devices.get(&EXTERNAL).filter(served))
    }

    /// The if_id of a packet that was routed into a device; None if the external device has no
    /// entry for its destination.
    pub fn if_id_of(&self, device: &Device, destination: IpAddr) -> Option<u32> {
        match device.if_id {
            EXTERNAL => self.external.get(destination),
            if_id => Some(if_id),
        }
    }

    /// The SA of an incoming packet: destination, SPI and protocol; if_id plays no part
    /// (`xfrm_state_lookup`). A packet out of a socket has no mark, so it finds no SA that asks for
    /// one.
    pub fn inbound_sa(&self, destination: IpAddr, spi: u32) -> Option<&Arc<Sa>> {
        self.inbound
            .get(&spi)?
            .as_slice()
            .iter()
            .find(|sa| sa.config.destination == destination && sa.config.mark.value == 0)
    }

    /// The larval SA that an incoming packet hits: its SPI was allocated, and the keys are not there
    /// yet.
    pub fn inbound_larval(&self, destination: IpAddr, spi: u32) -> Option<&Arc<Larval>> {
        let mut larvae = self.allocated.get(&spi)?.iter();
        larvae.find(|larval| {
            let config = &larval.config;
            (config.destination, config.protocol) == (destination, ESP)
        })
    }

    /// The policy of a direction and if_id that matches, by strict equality of if_id.
    pub fn policy(
        &self,
        direction: Direction,
        if_id: u32,
        flow: &Flow,
        mark: u32,
    ) -> Option<&Arc<Policy>> {
        self.policies.get(&(direction, if_id))?.find(flow, mark)
    }

    /// The SA between two ends that a policy's template asks for and that takes the flow
    /// (`xfrm_state_find`): the newest that is valid, one that is dying only if there is no other.
    pub fn outbound_sa(
        &self,
        policy: &Policy,
        template: &Template,
        (source, destination): (IpAddr, IpAddr),
        flow: &Flow,
    ) -> Option<&Arc<Sa>> {
        let key = TemplateKey::of_template(policy, template, destination);
        let usable = |sa: &&Arc<Sa>| {
            sa.state.is_valid() && may_pick(policy, template, source, &sa.config) && sa.takes(flow)
        };
        let sas = self.outbound.get(&key)?.as_slice();
        let mut candidates = sas.iter().filter(usable);
        let newest = candidates.next()?;
        if !newest.state.has_life(DYING) {
            return Some(newest);
        }
        candidates
            .find(|sa| !sa.state.has_life(DYING))
            .or(Some(newest))
    }
}

type Larvae<K> = HashTrieMapSync<K, Arc<[Arc<Larval>]>>;

/// Puts a larval SA before the others of its key.
fn put_larval<K: Eq + Hash>(larvae: &mut Larvae<K>, key: K, larval: &Arc<Larval>) {
    let others = larvae.get(&key).into_iter().flat_map(|list| list.iter());
    let all = std::iter::once(larval).chain(others).cloned().collect();
    larvae.insert_mut(key, all);
}

fn take_larval<K: Eq + Hash>(larvae: &mut Larvae<K>, key: K, larval: &Larval) {
    let Some(list) = larvae.get(&key) else {
        return;
    };
    let others = list.iter().filter(|other| other.number != larval.number);
    let rest: Arc<[Arc<Larval>]> = others.cloned().collect();
    if rest.is_empty() {
        larvae.remove_mut(&key);
    } else {
        larvae.insert_mut(key, rest);
    }
}
