//! A packet found no SA: a larval SA stands in for it, and who listens for ACQUIRE is told
//! (`xfrm_state_find`, `km_query`, `build_acquire`). ACQUIRE as a request asks the same of others.

use std::sync::Arc;

use super::allocate_spi::{larval_config, larval_state};
use super::policy_encode::encode;
use super::policy_parse::{mark_and_if_id, parse};
use super::policy_requests::Request;
use super::sa_encode::put_cpu;
use super::sa_parse::cpu;
use super::state::{Answer, State, GROUP_ACQUIRE};
use crate::netlink::wire::{Message, Refusal};
use crate::netlink::xfrm as x;
use crate::policy::{Flow, Policy, Selector, Template};
use crate::sa::{Mode, SaConfig, SaDirection};

/// `struct xfrm_user_acquire`: who, from where, for which packets, by which policy, with what.
pub const LENGTH: usize = POLICY + x::POLICY_INFO + 16;
const SOURCE: usize = 24;
const POLICY: usize = 96;
const ALGORITHMS: usize = POLICY + x::POLICY_INFO;

/// What a worker told: a packet of `flow` found no SA for a template of `policy`.
pub fn acquire(state: &mut State, policy: &Arc<Policy>, template: usize, flow: &Flow) {
    let in_force = state
        .spd
        .get(policy.index)
        .is_some_and(|one| Arc::ptr_eq(one, policy));
    let (Some(template), true) = (
        policy.templates.get(template),
        in_force && state.tables.acquire,
    ) else {
        return;
    };
    let Some(config) = describe(policy, template, flow) else {
        return;
    };
    let (source, destination) = (config.source, config.destination);
    let ends = (source, destination);
    let found = state.tables.outbound_sa(policy, template, ends, flow);
    let is_there = found.is_some()
        || state
            .tables
            .larval_between(policy, template, source, destination);
    let mark = policy.mark.value & policy.mark.mask;
    let is_taken = template.spi != 0
        && state
            .sad
            .find(destination, template.spi, template.protocol, mark)
            .is_some();
    if is_there || is_taken {
        return;
    }
    let sequence = state.next_sequence();
    let larval = state
        .sad
        .add_larval(SaConfig { sequence, ..config }, larval_state());
    state.insert_larval(&larval);
    state.notify_of(GROUP_ACQUIRE, &Message::NONE, || {
        let config = &larval.config;
        let family = x::family_of(config.selector.source);
        let mut id = [0; x::SA_ID];
        id[..16].copy_from_slice(&x::address_octets(config.destination));
        id[16..20].copy_from_slice(&config.spi.to_be_bytes());
        id[20] = config.protocol;
        let mut start = id.to_vec();
        start.extend(x::address_octets(config.source));
        start.extend(x::encode_selector(&config.selector, family));
        let algorithms = [template.aalgos, template.ealgos, template.calgos];
        (x::ACQUIRE, message(start, policy, algorithms, config))
    });
}

/// `xfrm_init_tempstate()`: the session that asked, and the template's addresses or its own.
fn describe(policy: &Policy, template: &Template, flow: &Flow) -> Option<SaConfig> {
    let mode = Mode::try_from(template.mode).ok()?;
    let or = |address: std::net::IpAddr, other| {
        if address.is_unspecified() {
            other
        } else {
            address
        }
    };
    let (source, destination) = match mode {
        Mode::Transport => (
            or(template.source, flow.source),
            or(template.destination, flow.destination),
        ),
        // Which source a route would choose, only who sends can know.
        Mode::Tunnel | Mode::Beet => (template.source, template.destination),
    };
    let selector = Selector {
        protocol: flow.protocol,
        source_port: flow.source_port,
        source_port_mask: u16::MAX,
        destination_port: flow.destination_port,
        destination_port_mask: u16::MAX,
        ifindex: flow.ifindex,
        ..Selector::between_hosts(flow.source, flow.destination)
    };
    Some(SaConfig {
        spi: template.spi,
        reqid: template.reqid,
        mark: policy.mark,
        if_id: policy.if_id,
        direction: Some(SaDirection::Out),
        selector_family: x::family_of(flow.source),
        selector: selector.into(),
        ..larval_config(source, destination, template.protocol, mode)
    })
}

/// `struct xfrm_user_acquire` whose start is given, and its attributes.
fn message(
    mut start: Vec<u8>,
    policy: &Policy,
    algorithms: [u32; 3],
    config: &SaConfig,
) -> Vec<u8> {
    let told = encode(policy);
    let (info, attributes) = told.split_at(x::POLICY_INFO);
    start.extend(info);
    for number in algorithms.iter().chain([&config.sequence]) {
        start.extend(number.to_ne_bytes());
    }
    start.extend(attributes);
    put_cpu(&mut start, config);
    start
}

/// ACQUIRE as a request (`xfrm_add_acquire`): listeners are told once for each template; no larval SA
/// comes of it.
pub fn ask(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let cpu = cpu(&request.attributes, libc::EINVAL)?;
    let payload = request.payload();
    let mut policy = parse(&payload[POLICY..ALGORITHMS], &request.attributes)?;
    (policy.mark, _) = mark_and_if_id(&request.attributes);
    let number = |at| x::Fields(payload).u32(at).unwrap_or(0);
    let algorithms = [0, 4, 8].map(|offset| number(ALGORITHMS + offset));
    for (at, template) in policy.templates.iter().enumerate() {
        let sequence = state.next_sequence();
        state.notify_of(GROUP_ACQUIRE, &Message::NONE, || {
            // Destination, SPI and protocol stand at the start of both structures.
            let told = &policy.told.templates[at * x::TEMPLATE..];
            let mut start = told[..21].to_vec();
            start.resize(SOURCE, 0);
            start.extend(&payload[SOURCE..POLICY]);
            let mode = Mode::try_from(template.mode).unwrap_or(Mode::Tunnel);
            let config = SaConfig {
                sequence,
                cpu,
                ..larval_config(
                    template.source,
                    template.destination,
                    template.protocol,
                    mode,
                )
            };
            (x::ACQUIRE, message(start, &policy, algorithms, &config))
        });
    }
    Answer::done()
}
