//! Log lines about packets: one of a kind in a while, saying how many were left out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::actions::opcode::Opcode;

/// Between two lines of a kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// What a line is about.
type Kind = (Option<Opcode>, &'static str);

/// When was what last said?
#[derive(Default, Debug)]
pub(super) struct Complaints {
    said: BTreeMap<Kind, (Instant, u64)>,
}

/// How many lines of the kind were left out, to be put behind the next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} more of these since the last line)"),
        }
    }
}

impl Complaints {
    /// Whether to say it now.
    pub fn admit(&mut self, kind: Kind, now: Instant) -> Option<LeftOut> {
        match self.said.get_mut(&kind) {
            Some((last, left_out)) if now.saturating_duration_since(*last) < INTERVAL => {
                *left_out += 1;
                None
            }
            _ => Some(LeftOut(
                self.said
                    .insert(kind, (now, 0))
                    .map_or(0, |(_, left_out)| left_out),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_one_in_a_while_and_counts_the_others() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let kind = (Some(Opcode::Arp), "x");
        assert_eq!(complaints.admit(kind, start), Some(LeftOut(0)));
        assert_eq!(complaints.admit(kind, start), None);
        assert_eq!(complaints.admit(kind, start), None);
        assert_eq!(complaints.admit((None, "x"), start), Some(LeftOut(0)));
        let later = complaints.admit(kind, start + INTERVAL).unwrap();
        assert_eq!(later.to_string(), " (2 more of these since the last line)");
        assert_eq!(
            complaints.admit(kind, start + INTERVAL * 2),
            Some(LeftOut(0))
        );
    }
}
