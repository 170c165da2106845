//! From `tracing` events to log lines.

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{Destination, Level, VLOG};

pub(super) struct VlogLayer;

/// The module of a target, and whether it belongs to a foreign crate.
fn module_of(target: &str) -> (&str, bool) {
    let Some((krate, _)) = target.split_once("::") else {
        let own = target.strip_prefix("weft_");
        // A bare word is a crate root or somebody's `target:`; ours are the latter.
        return (
            own.unwrap_or(target),
            own.is_none() && FOREIGN.contains(&target),
        );
    };
    let last = target.rsplit("::").next().unwrap_or(target);
    (last, !krate.starts_with("weft_"))
}

/// Crates that log under their bare name.
const FOREIGN: &[&str] = &[
    "h2",
    "hyper",
    "tonic",
    "rustls",
    "tower",
    "mio",
    "rtnetlink",
];

fn level_of(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Err,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Dbg,
    }
}

impl<S: Subscriber> Layer<S> for VlogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let (module, foreign) = module_of(metadata.target());
        if metadata.is_event() && !foreign {
            VLOG.levels.register(module);
        }
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let (module, foreign) = module_of(metadata.target());
        let level = level_of(metadata);
        Destination::ALL
            .iter()
            .any(|d| VLOG.levels.wants(module, foreign, *d, level))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match VLOG.levels.most() {
            Level::Off => LevelFilter::OFF,
            Level::Emer | Level::Err => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Dbg => LevelFilter::DEBUG,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (module, foreign) = module_of(event.metadata().target());
        let mut text = Text::default();
        event.record(&mut text);
        text.message.push_str(&text.fields);
        VLOG.log(module, foreign, level_of(event.metadata()), &text.message);
    }
}

/// The message, then the other fields as ` name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => drop(write!(self.fields, " {name}={value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_after_the_file() {
        assert_eq!(module_of("weft_ovsdb::session"), ("session", false));
        assert_eq!(module_of("weft_northd"), ("northd", false));
        assert_eq!(module_of("reconnect"), ("reconnect", false));
        assert_eq!(module_of("h2::codec::framed_read"), ("framed_read", true));
        assert_eq!(module_of("rustls"), ("rustls", true));
    }
}
