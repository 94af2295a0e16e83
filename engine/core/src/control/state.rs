//! Everything the control thread owns, and which request goes where.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::dump::Database;
use super::expiry::{self, Agenda, Subject};
use super::{aevents, device_requests, external_requests, ike, policy_requests, sa_requests};
use crate::crypto::random;
use crate::datapath::DataPath;
use crate::device::Device;
use crate::events::Events;
use crate::external_map::ExternalMap;
use crate::netlink::engine as e;
use crate::netlink::wire::{Message, Refusal, NLM_F_DUMP};
use crate::policy::{Direction, Policy};
use crate::published::Published;
use crate::sa::{clock, Sa, SaDirection, DELETED};
use crate::sad::{key_of, Larval, Sad};
use crate::spd::Spd;
use crate::stats::XfrmStat;
use crate::tables::Tables;

/// Multicast groups (`XFRMNLGRP_*`).
pub const GROUP_ACQUIRE: u32 = 1;
pub const GROUP_EXPIRE: u32 = 2;
pub const GROUP_SA: u32 = 3;
pub const GROUP_POLICY: u32 = 4;
pub const GROUP_AEVENTS: u32 = 5;
pub const GROUP_MIGRATE: u32 = 7;
pub const GROUP_MAPPING: u32 = 8;

/// A message that answers a request or tells of a change: type and payload.
pub type Reply = (u16, Vec<u8>);

/// A change that listeners of a group are told of.
pub struct Notification {
    pub group: u32,
    pub reply: Reply,
    /// Sequence number and port of the request that made the change, 0 if none did.
    pub sequence: u32,
    pub port: u32,
}

/// What a request asks for besides its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    #[default]
    None,
    /// The connection's memberships.
    Join(u32),
    /// All that a database holds follows, as the client takes it.
    Dump(Database),
    Shutdown,
}

/// The answer to a request: messages before the acknowledgement, and its effect.
#[derive(Default)]
pub struct Answer {
    pub replies: Vec<Reply>,
    pub effect: Effect,
    /// Words in the acknowledgement of a request that was carried out.
    pub warning: Option<&'static str>,
}

impl Answer {
    pub fn of(replies: Vec<Reply>) -> Result<Answer, Refusal> {
        Ok(Answer {
            replies,
            ..Answer::default()
        })
    }

    pub fn done() -> Result<Answer, Refusal> {
        Answer::of(Vec::new())
    }
}

/// The databases, the devices, and the path that serves them.
pub struct State {
    pub sad: Sad,
    pub spd: Spd,
    pub devices: BTreeMap<String, Arc<Device>>,
    pub path: DataPath,
    pub stat: Arc<XfrmStat>,
    pub boot_id: [u8; 16],
    /// Told to listeners after the tables are published.
    pub notifications: Vec<Notification>,
    /// How many of them listeners did not get, because they were too slow.
    pub notifications_lost: u64,
    /// Groups that somebody listens to, bit n-1 for group n.
    pub heard: u32,
    pub events: Arc<Events>,
    /// How many events were lost when the SAs were last looked through for what those had said.
    pub events_lost: u64,
    /// When to look at which SA.
    pub agenda: Agenda,
    /// Of the last acquire (`xfrm_get_acqseq`).
    sequence: u32,
    /// What is published next.
    pub tables: Tables,
    published: Arc<Published>,
    changed: bool,
    /// An SA that packets may leave by is no longer in force.
    withdrawn: bool,
}

impl State {
    /// Empty databases and running workers.
    pub fn new() -> io::Result<State> {
        let published = Arc::new(Published::default());
        let stat = Arc::new(XfrmStat::new());
        let events = Arc::new(Events::new()?);
        Ok(State {
            sad: Sad::default(),
            spd: Spd::default(),
            devices: BTreeMap::new(),
            path: DataPath::new(
                Arc::clone(&published),
                Arc::clone(&stat),
                Arc::clone(&events),
            )?,
            events,
            events_lost: 0,
            agenda: Agenda::default(),
            sequence: 0,
            tables: Tables::default(),
            stat,
            boot_id: random(),
            notifications: Vec::new(),
            notifications_lost: 0,
            heard: 0,
            published,
            changed: false,
            withdrawn: false,
        })
    }

    /// One request. Descriptors that it does not take stay in the queue.
    pub fn handle(
        &mut self,
        request: &Message,
        descriptors: &mut VecDeque<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        let dump = request.flags & NLM_F_DUMP == NLM_F_DUMP;
        let payload = request.payload;
        match request.kind {
            kind if sa_requests::serves(kind) => sa_requests::serve(self, request),
            kind if policy_requests::serves(kind) => policy_requests::serve(self, request),
            e::NEWDEV => device_requests::add(self, payload, descriptors),
            e::DELDEV => device_requests::delete(self, payload),
            e::GETDEV => device_requests::get(self, payload, dump),
            e::NEWSOCK => device_requests::add_socket(self, payload, descriptors),
            e::DELSOCK => device_requests::delete_socket(self, payload),
            e::GETSOCK => device_requests::get_sockets(self),
            e::GETSTAT => device_requests::get_stat(self),
            e::GETINFO => device_requests::get_info(self),
            e::GETDROP => device_requests::get_drops(self),
            e::NEWMAP => external_requests::add(self, payload),
            e::DELMAP => external_requests::delete(self, payload),
            e::GETMAP => external_requests::get(self),
            e::IKE => ike::send(self, payload),
            e::HEARIKE => ike::hear(self, descriptors),
            e::JOIN => device_requests::join(payload),
            e::SHUTDOWN => Ok(Answer {
                effect: Effect::Shutdown,
                ..Answer::default()
            }),
            _ => Err(Refusal::from(libc::EINVAL)),
        }
    }

    /// Puts an SA in force, instead of one of the same identity.
    pub fn insert_sa(&mut self, sa: &Arc<Sa>) {
        self.tables.insert_sa(sa);
        self.changed = true;
        let key = key_of(&sa.config);
        if sa.config.limits.has_times() {
            self.agenda.put(Subject::Sa(key), clock());
        } else {
            self.agenda.remove(Subject::Sa(key));
        }
        self.agenda.remove(Subject::Replay(key));
        aevents::await_next(self, sa, clock());
        let interval = u64::from(sa.config.keepalive_interval);
        if interval > 0 {
            // The first at once: what was never used is idle.
            self.agenda.put(Subject::Keepalive(key), clock());
        } else {
            self.agenda.remove(Subject::Keepalive(key));
        }
    }

    /// Takes an SA out of force. Workers that still hold it stop using it at once.
    pub fn remove_sa(&mut self, sa: &Arc<Sa>) {
        sa.state.set_life(DELETED);
        self.withdraw_sa(sa);
    }

    /// Puts an SA in force instead of one that becomes it and shares its state.
    pub fn replace_sa(&mut self, old: &Arc<Sa>, new: &Arc<Sa>) {
        self.withdraw_sa(old);
        self.insert_sa(new);
    }

    fn withdraw_sa(&mut self, sa: &Arc<Sa>) {
        self.tables.remove_sa(sa);
        self.changed = true;
        self.withdrawn |= sa.config.direction != Some(SaDirection::In);
        let key = key_of(&sa.config);
        for subject in [
            Subject::Sa(key),
            Subject::Replay(key),
            Subject::Keepalive(key),
        ] {
            self.agenda.remove(subject);
        }
    }

    /// Makes a larval SA known to workers, and ends it when its time is over.
    pub fn insert_larval(&mut self, larval: &Arc<Larval>) {
        self.tables.insert_larval(larval);
        self.changed = true;
        let config = &larval.config;
        let at = config.added_clock + config.limits.hard_add_seconds;
        self.agenda.put(Subject::Larval(larval.number), at);
    }

    pub fn remove_larval(&mut self, number: u64) -> Option<Arc<Larval>> {
        let larval = self.sad.remove_larval(number)?;
        self.tables.remove_larval(&larval);
        self.changed = true;
        self.agenda.remove(Subject::Larval(number));
        Some(larval)
    }

    /// The number of another acquire, never 0.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// The groups that somebody listens to have changed.
    pub fn listen(&mut self, heard: u32) {
        self.heard = heard;
        let hears = |group: u32| heard >> (group - 1) & 1 == 1;
        let (acquire, aevents) = (hears(GROUP_ACQUIRE), hears(GROUP_AEVENTS));
        if (acquire, aevents) == (self.tables.acquire, self.tables.aevents) {
            return;
        }
        let begins = aevents && !self.tables.aevents;
        (self.tables.acquire, self.tables.aevents) = (acquire, aevents);
        self.changed = true;
        if begins {
            let all: Vec<Arc<Sa>> = self.sad.iter().cloned().collect();
            let clock = clock();
            all.iter()
                .for_each(|sa| aevents::await_next(self, sa, clock));
        }
    }

    /// Whether packets without a policy are blocked.
    pub fn set_default(&mut self, direction: Direction, blocked: bool) {
        self.tables.blocked[direction as usize] = blocked;
        self.changed = true;
    }

    pub fn insert_policy(&mut self, policy: &Arc<Policy>) {
        self.tables.insert_policy(policy);
        self.changed = true;
    }

    pub fn remove_policy(&mut self, policy: &Policy) {
        self.tables.remove_policy(policy);
        self.changed = true;
    }

    pub fn clear_policies(&mut self) {
        self.tables.clear_policies();
        self.changed = true;
    }

    pub fn insert_device(&mut self, device: &Arc<Device>) {
        if let Some(old) = self.devices.insert(device.name.clone(), Arc::clone(device)) {
            self.tables.remove_device(&old);
        }
        self.tables.insert_device(device);
        self.changed = true;
    }

    /// Changes the external device's table; false if there was nothing to change.
    pub fn change_external(&mut self, change: impl FnOnce(&mut ExternalMap) -> bool) -> bool {
        let changed = change(&mut self.tables.external);
        self.changed |= changed;
        changed
    }

    pub fn remove_device(&mut self, name: &str) -> Option<Arc<Device>> {
        let device = self.devices.remove(name)?;
        self.tables.remove_device(&device);
        self.changed = true;
        Some(device)
    }

    /// Tells the listeners of a group, after the tables are published.
    pub fn notify(&mut self, group: u32, reply: Reply) {
        self.notify_of(group, &Message::NONE, || reply);
    }

    /// The same for a change that a request has made. What nobody listens for is not even encoded.
    pub fn notify_of(&mut self, group: u32, cause: &Message, reply: impl FnOnce() -> Reply) {
        if self.heard >> (group - 1) & 1 == 0 {
            return;
        }
        self.notifications.push(Notification {
            group,
            reply: reply(),
            sequence: cause.sequence,
            port: cause.port,
        });
    }

    /// What time brings about by now, in seconds since the epoch; gives the second at which there
    /// may be more to do.
    pub fn tick(&mut self, now: u64) -> Option<u64> {
        let sas = expiry::tick(self).map(|at| now + at.saturating_sub(clock()).max(1));
        let policies = policy_requests::expire_policies(self, now);
        sas.into_iter().chain(policies).min()
    }

    /// Puts all changes of a datagram in force at once. What was sealed by an SA that is not in force
    /// any more has left afterwards.
    pub fn publish(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.published.publish(self.tables.clone());
        }
        if std::mem::take(&mut self.withdrawn) {
            self.published.grace.wait(self.published.generation());
        }
    }
}
