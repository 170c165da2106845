//! How often what is wanted is looked for in the southbound: not with every packet, however many come.

use std::time::{Duration, Instant};

/// From one look to the next, unless something is due.
const PAUSE: Duration = Duration::from_millis(100);

/// When somebody looked last.
#[derive(Debug, Default)]
pub(super) struct Looks {
    last: Option<Instant>,
    /// Something may have changed since.
    owed: bool,
}

impl Looks {
    /// Whether to look now; `due` is when there is something to do anyway.
    pub(super) fn now(&mut self, due: Option<Instant>, now: Instant) -> bool {
        let early = self.last.is_some_and(|last| now < last + PAUSE);
        if early && due.is_none_or(|due| due > now) {
            self.owed = true;
            return false;
        }
        (self.last, self.owed) = (Some(now), false);
        true
    }

    /// When to look again at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.last.filter(|_| self.owed).map(|last| last + PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_looked_at_twice() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let mut looks = Looks::default();
        assert!(looks.now(None, ms(0)));
        assert_eq!(looks.due(), None, "nothing has changed since");
        assert!(!looks.now(None, ms(1)) && !looks.now(Some(ms(50)), ms(2)));
        assert_eq!(looks.due(), Some(ms(100)));
        assert!(looks.now(Some(ms(50)), ms(50)), "it is due");
        assert_eq!(looks.due(), None);
        assert!(looks.now(None, ms(150)));
    }
}
