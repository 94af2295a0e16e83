//! NAT keepalives of SAs that ask for them (XFRMA_NAT_KEEPALIVE_INTERVAL, RFC 3948, 2.3): one octet in
//! UDP whenever nothing was sent for that long (`net/xfrm/xfrm_nat_keepalive.c`).

use std::sync::atomic::Ordering::Relaxed;

use super::expiry::Subject;
use super::state::State;
use crate::sa::now;
use crate::sad::SaKey;

/// Looks at an SA whose time has come, and says when to look again.
pub fn look(state: &mut State, key: SaKey, clock: u64) {
    let Some(sa) = state.sad.get(&key).cloned() else {
        return;
    };
    let interval = u64::from(sa.config.keepalive_interval);
    if interval == 0 {
        return;
    }
    let idle = now().saturating_sub(sa.state.last_used.load(Relaxed));
    let next = if idle < interval {
        interval - idle
    } else {
        state.path.send_keepalive(&sa);
        interval
    };
    state
        .agenda
        .put(Subject::Keepalive(key), clock.saturating_add(next));
}
