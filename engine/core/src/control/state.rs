//! Everything the control thread owns, and which request goes where.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{device_requests, policy_requests, sa_requests};
use crate::crypto::random;
use crate::datapath::DataPath;
use crate::device::Device;
use crate::events::Events;
use crate::netlink::engine as e;
use crate::netlink::wire::{Message, Refusal, NLM_F_DUMP};
use crate::netlink::xfrm as x;
use crate::policy::{Direction, Policy};
use crate::sa::{Sa, DELETED};
use crate::sad::Sad;
use crate::spd::Spd;
use crate::stats::XfrmStat;
use crate::tables::{Published, Tables};

/// Multicast groups (`XFRMNLGRP_*`).
pub const GROUP_EXPIRE: u32 = 2;
pub const GROUP_SA: u32 = 3;
pub const GROUP_POLICY: u32 = 4;
pub const GROUP_MIGRATE: u32 = 7;

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
    /// All policies follow, as the client takes them.
    DumpPolicies,
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
    /// Groups that somebody listens to, bit n-1 for group n.
    pub heard: u32,
    pub events: Arc<Events>,
    /// What is published next.
    pub tables: Tables,
    published: Arc<Published>,
    changed: bool,
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
            tables: Tables::default(),
            stat,
            boot_id: random(),
            notifications: Vec::new(),
            heard: 0,
            published,
            changed: false,
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
            x::NEWSA => sa_requests::add(self, payload, false),
            x::UPDSA => sa_requests::add(self, payload, true),
            x::DELSA => sa_requests::delete(self, payload),
            x::GETSA if dump => sa_requests::dump(self),
            x::GETSA => sa_requests::get(self, payload),
            x::FLUSHSA => sa_requests::flush(self, payload),
            x::GETSADINFO => sa_requests::info(self, payload),
            kind if policy_requests::serves(kind) => policy_requests::serve(self, request),
            e::NEWDEV => device_requests::add(self, payload, descriptors),
            e::DELDEV => device_requests::delete(self, payload),
            e::GETDEV => device_requests::get(self, payload, dump),
            e::NEWSOCK => device_requests::add_socket(self, payload, descriptors),
            e::DELSOCK => device_requests::delete_socket(self, payload),
            e::GETSOCK => device_requests::get_sockets(self),
            e::GETSTAT => device_requests::get_stat(self),
            e::GETINFO => device_requests::get_info(self),
            e::JOIN => device_requests::join(payload),
            e::SHUTDOWN => Ok(Answer {
                effect: Effect::Shutdown,
                ..Answer::default()
            }),
            kind if x::MESSAGES.contains(&kind) => Err(Refusal::new(
                libc::EOPNOTSUPP,
                "The engine does not serve this request yet",
            )),
            _ => Err(Refusal::from(libc::EINVAL)),
        }
    }

    /// Puts an SA in force, instead of one of the same identity.
    pub fn insert_sa(&mut self, sa: &Arc<Sa>) {
        self.tables.insert_sa(sa);
        self.changed = true;
    }

    /// Takes an SA out of force. Workers that still hold it stop using it at once.
    pub fn remove_sa(&mut self, sa: &Arc<Sa>) {
        sa.state.set_life(DELETED);
        self.tables.remove_sa(sa);
        self.changed = true;
    }

    /// Puts an SA in force instead of one that becomes it and shares its state.
    pub fn replace_sa(&mut self, old: &Arc<Sa>, new: &Arc<Sa>) {
        self.tables.remove_sa(old);
        self.insert_sa(new);
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
        policy_requests::expire_policies(self, now)
    }

    /// Puts all changes of a datagram in force at once.
    pub fn publish(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.published.publish(self.tables.clone());
        }
    }
}
