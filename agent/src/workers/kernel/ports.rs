//! The guest ports of our bridges, and the guests on them.

use std::collections::BTreeMap;

use overlayd_core::id::{IfName, Mac};
use overlayd_core::kernel::inputs::Inputs;
use overlayd_core::kernel::observed::Observed;

/// The same inputs with the guest ports that were seen, and with the guests that were heard there where they are.
pub(super) fn with_ports(inputs: &Inputs, seen: &Observed) -> Inputs {
    let mut inputs = inputs.clone();
    let ports = seen.guest_ports();
    for it in inputs.segments.values_mut() {
        it.guest_ports = ports.get(&it.segment.bridge).into_iter().flatten().cloned().collect();
        if let Some(heard) = seen.guests.get(&it.segment.bridge) {
            it.yield_to(heard);
        }
    }
    inputs
}

/// Those guests that are on ports of our bridges which are not ours.
pub(super) fn guests(seen: Observed, ports: &BTreeMap<IfName, Vec<IfName>>) -> BTreeMap<IfName, BTreeMap<Mac, IfName>> {
    let mut guests = seen.guests;
    guests.retain(|bridge, macs| {
        let ports = ports.get(bridge).map(Vec::as_slice).unwrap_or_default();
        macs.retain(|_, port| ports.contains(port));
        !macs.is_empty()
    });
    guests
}
