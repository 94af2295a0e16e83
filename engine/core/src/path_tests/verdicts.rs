//! What policies, defaults and selectors say of what was opened.

use super::*;
use crate::netlink::xfrm::AF_INET;
use crate::policy::Action;

#[test]
fn blocks_defaults_and_selectors() {
    let sas = || vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))];
    let mut pair = Pair::new(sas());
    for one in policies(Direction::In, &[]) {
        pair.receiver.remove_policy(&one);
    }
    let mut pair_without = Pair::new(sas());
    pair_without.receiver.clear_policies();
    assert!(pair_without.through(&packet(4)).is_empty());
    assert_eq!(pair_without.drops(), [(DropReason::InNoPols, 1)]);

    let mut pair = Pair::new(sas());
    pair.receiver.clear_policies();
    for one in policies(Direction::In, &[]) {
        let block = Policy {
            action: Action::Block,
            ..policy(one.selector.source, one.selector.destination)
        };
        pair.receiver.insert_policy(&Arc::new(Policy {
            direction: Direction::In,
            if_id: IF_ID,
            selector: one.selector.clone(),
            ..block
        }));
    }
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InPolBlock, 1)]);

    // A transport SA without any policy is let in, unless the default blocks.
    for blocked in [false, true] {
        let mut pair = Pair::new(vec![ends(|| {
            config(Mode::Transport, 1, "10.1.0.1", "10.2.0.2")
        })]);
        pair.receiver.clear_policies();
        pair.receiver.blocked[Direction::In as usize] = blocked;
        assert_eq!(pair.through(&packet(4)).len(), usize::from(!blocked));
    }

    let narrow = || SaConfig {
        selector: policy(address("10.9.0.1"), address("10.9.0.2"))
            .selector
            .into(),
        selector_family: AF_INET,
        ..config(Mode::Tunnel, 1, V4.0, V4.1)
    };
    let (there, _) = ends(|| config(Mode::Tunnel, 1, V4.0, V4.1));
    let (_, here) = ends(narrow);
    let mut pair = Pair::new(vec![(there, here)]);
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InStateMismatch, 1)]);
}
