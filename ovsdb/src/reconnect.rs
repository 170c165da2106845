//! When to connect, to which remote, when to probe and when to give up. A pure state machine: time is an argument (since
//! any fixed moment), nothing here reads a clock.
//!
//! Each remote is tried once without delay; after a round without success the wait doubles from one second to eight. With
//! [`Reconnect::with_jitter`] up to half of each wait is taken off, so that those who lost a server at the same moment do not
//! all return at the same moment.

use std::time::Duration;

/// Intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// First wait between attempts.
    pub min_backoff: Duration,
    /// Longest wait between attempts.
    pub max_backoff: Duration,
    /// How long an attempt to connect may take.
    pub connect_timeout: Duration,
    /// Silence after which the peer is asked for a sign of life, and again after which it is given up. Zero: never.
    pub probe_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(8),
            connect_timeout: Duration::from_secs(10),
            probe_interval: Duration::from_secs(5),
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect to the remote with that number.
    Connect(usize),
    /// Send an echo request.
    Probe,
    /// Connecting takes too long, or the peer is silent: give this connection up and report [`Reconnect::lost`].
    GiveUp,
    /// Nothing before that moment (or until something happens).
    Sleep(Option<Duration>),
}

/// Which remote to try after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next in the list.
    Other,
    /// The same one: it did nothing wrong.
    Same,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Duration },
    Connecting { deadline: Duration },
    Active { last: Duration },
    Probing { since: Duration },
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Reconnect {
    timing: Timing,
    remotes: usize,
    next: usize,
    free_tries: usize,
    backoff: Duration,
    ready_since: Option<Duration>,
    /// State of the generator that shortens waits; none: they stay as they are.
    jitter: Option<u64>,
    state: State,
}

impl Reconnect {
    /// For that many remotes, at least one; the first attempt is due at `now`.
    #[must_use]
    pub fn new(timing: Timing, remotes: usize, now: Duration) -> Self {
        let remotes = remotes.max(1);
        Reconnect {
            timing,
            remotes,
            next: 0,
            free_tries: remotes - 1,
            backoff: timing.min_backoff,
            ready_since: None,
            jitter: None,
            state: State::Waiting { until: now },
        }
    }

    /// Takes a random part off each wait; `seed` decides which.
    #[must_use]
    pub fn with_jitter(mut self, seed: u64) -> Self {
        // The generator stays at zero for ever.
        self.jitter = Some(seed.max(1));
        self
    }

    fn shortened(&mut self, wait: Duration) -> Duration {
        let Some(state) = &mut self.jitter else {
            return wait;
        };
        // Xorshift: good enough to be unlike others.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        wait - wait * (*state >> 56) as u32 / 512
    }

    /// What is due at `now`.
    pub fn step(&mut self, now: Duration) -> Step {
        match self.state {
            State::Waiting { until } if now >= until => {
                self.state = State::Connecting {
                    deadline: now + self.timing.connect_timeout,
                };
                Step::Connect(self.next)
            }
            State::Waiting { until } => Step::Sleep(Some(until)),
            State::Connecting { deadline } if now >= deadline => Step::GiveUp,
            State::Connecting { deadline } => Step::Sleep(Some(deadline)),
            State::Active { .. } | State::Probing { .. }
                if self.timing.probe_interval.is_zero() =>
            {
                Step::Sleep(None)
            }
            State::Active { last } if now >= last + self.timing.probe_interval => {
                self.state = State::Probing { since: now };
                Step::Probe
            }
            State::Active { last } => Step::Sleep(Some(last + self.timing.probe_interval)),
            State::Probing { since } if now >= since + self.timing.probe_interval => Step::GiveUp,
            State::Probing { since } => Step::Sleep(Some(since + self.timing.probe_interval)),
        }
    }

    /// The stream is open.
    pub fn connected(&mut self, now: Duration) {
        self.ready_since = None;
        self.state = State::Active { last: now };
    }

    /// Bytes came in.
    pub fn activity(&mut self, now: Duration) {
        if let State::Active { .. } | State::Probing { .. } = self.state {
            self.state = State::Active { last: now };
        }
    }

    /// The server turned out to be one we can use.
    pub fn ready(&mut self, now: Duration) {
        self.ready_since = Some(now);
    }

    /// The attempt failed, or the connection ended.
    ///
    /// A connection that served us for a while earns a new round of immediate attempts; one that ends at once does not,
    /// else a server that accepts and closes would be hammered.
    pub fn lost(&mut self, now: Duration, next: Next) {
        let served = self
            .ready_since
            .take()
            .is_some_and(|since| now >= since + self.timing.min_backoff);
        if served {
            self.backoff = self.timing.min_backoff;
            self.free_tries = self.remotes;
        }
        let wait = if self.free_tries > 0 {
            self.free_tries -= 1;
            Duration::ZERO
        } else {
            let wait = self.backoff;
            self.backoff = (self.backoff * 2).min(self.timing.max_backoff);
            self.shortened(wait)
        };
        if next == Next::Other {
            self.next = (self.next + 1) % self.remotes;
        }
        self.state = State::Waiting { until: now + wait };
    }

    /// Somebody wants an attempt now: waits end and the back-off starts anew.
    pub fn hurry(&mut self, now: Duration) {
        self.backoff = self.timing.min_backoff;
        self.free_tries = self.remotes - 1;
        self.state = State::Waiting { until: now };
    }

    /// Another list of remotes; an attempt is due now.
    pub fn set_remotes(&mut self, remotes: usize, now: Duration) {
        self.remotes = remotes.max(1);
        self.next = 0;
        self.hurry(now);
    }

    /// Another probe interval.
    pub fn set_probe_interval(&mut self, interval: Duration) {
        self.timing.probe_interval = interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn doubles_from_one_to_eight_seconds() {
        let mut machine = Reconnect::new(Timing::default(), 1, s(100));
        let mut now = s(100);
        for wait in [1, 2, 4, 8, 8] {
            assert_eq!(machine.step(now), Step::Connect(0));
            machine.lost(now, Next::Other);
            assert_eq!(machine.step(now), Step::Sleep(Some(now + s(wait))));
            now += s(wait);
        }
    }

    #[test]
    fn waits_differ_from_one_client_to_the_next() {
        let waits = |seed| {
            let mut machine = Reconnect::new(Timing::default(), 1, s(0)).with_jitter(seed);
            [1u64, 2, 4, 8, 8].map(|most| {
                machine.lost(s(0), Next::Other);
                let Step::Sleep(Some(wait)) = machine.step(s(0)) else {
                    panic!("no wait");
                };
                assert!(
                    wait > s(most) / 2 && wait <= s(most),
                    "{wait:?} of {most} s"
                );
                wait
            })
        };
        assert_eq!(waits(1 << 40), waits(1 << 40));
        assert_ne!(waits(1 << 40), waits(3 << 40));
    }

    #[test]
    fn each_remote_is_tried_before_waiting() {
        let mut machine = Reconnect::new(Timing::default(), 3, s(0));
        for remote in 0..3 {
            assert_eq!(machine.step(s(0)), Step::Connect(remote));
            machine.lost(s(0), Next::Other);
        }
        assert_eq!(machine.step(s(0)), Step::Sleep(Some(s(1))));
        assert_eq!(machine.step(s(1)), Step::Connect(0));
        machine.connected(s(1));
        machine.ready(s(1));
        machine.lost(s(60), Next::Same);
        assert_eq!(machine.step(s(60)), Step::Connect(0));
        machine.lost(s(60), Next::Other);
        assert_eq!(machine.step(s(60)), Step::Connect(1));
    }

    #[test]
    fn a_server_that_closes_at_once_is_not_hammered() {
        let mut machine = Reconnect::new(Timing::default(), 1, s(0));
        assert_eq!(machine.step(s(0)), Step::Connect(0));
        machine.connected(s(0));
        machine.ready(s(0));
        machine.lost(s(0), Next::Other);
        assert_eq!(machine.step(s(0)), Step::Sleep(Some(s(1))));
    }

    #[test]
    fn silence_is_probed_then_given_up() {
        let mut machine = Reconnect::new(Timing::default(), 1, s(0));
        assert_eq!(machine.step(s(0)), Step::Connect(0));
        machine.connected(s(0));
        assert_eq!(machine.step(s(1)), Step::Sleep(Some(s(5))));
        assert_eq!(machine.step(s(5)), Step::Probe);
        machine.activity(s(6));
        assert_eq!(machine.step(s(6)), Step::Sleep(Some(s(11))));
        assert_eq!(machine.step(s(11)), Step::Probe);
        assert_eq!(machine.step(s(15)), Step::Sleep(Some(s(16))));
        assert_eq!(machine.step(s(16)), Step::GiveUp);
    }

    #[test]
    fn connecting_has_a_deadline_and_probing_can_be_off() {
        let timing = Timing {
            probe_interval: Duration::ZERO,
            ..Timing::default()
        };
        let mut machine = Reconnect::new(timing, 1, s(0));
        assert_eq!(machine.step(s(0)), Step::Connect(0));
        assert_eq!(machine.step(s(10)), Step::GiveUp);
        machine.connected(s(10));
        assert_eq!(machine.step(s(1000)), Step::Sleep(None));
        machine.lost(s(1000), Next::Other);
        machine.hurry(s(1000));
        assert_eq!(machine.step(s(1000)), Step::Connect(0));
    }
}
