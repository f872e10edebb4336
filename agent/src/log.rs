//! Log lines for what the node reports, made here and nowhere else; level, words and fields are the event's own.

use overlayd_core::health::Fields;
use overlayd_core::health::events::{Event, Level};
use tracing::{debug, info, warn};

/// Logs an event: the message of its kind, and what it is about as fields.
pub(crate) fn event(event: &Event) {
    let message = event.message();
    let Fields {
        segment,
        host,
        peer,
        address,
        mac,
        term,
        generation,
        key,
        old,
        new,
        reason,
    } = event.fields();
    macro_rules! line {
        ($level:ident) => {
            $level!(
                segment,
                host,
                peer,
                address,
                mac,
                term,
                generation,
                key,
                old,
                new,
                reason,
                "{message}"
            )
        };
    }
    match event.level() {
        Level::Warn => line!(warn),
        Level::Info => line!(info),
        Level::Debug => line!(debug),
    }
}
