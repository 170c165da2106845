//! BFD control packets (RFC 5880, section 4.1), without authentication.

use crate::{ParseError, array};

/// State of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Held down by its operator.
    AdminDown,
    /// The peer is not heard, or does not hear us.
    Down,
    /// The peer is heard, and does not hear us yet.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// All of them, by number.
    pub const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];
}

/// Why a session went down (section 4.1).
pub mod diagnostic {
    /// Nothing to tell.
    pub const NONE: u8 = 0;
    /// The peer was not heard for too long.
    pub const EXPIRED: u8 = 1;
    /// The peer said that it is down.
    pub const NEIGHBOR_DOWN: u8 = 3;
    /// The operator holds it down.
    pub const ADMIN_DOWN: u8 = 7;
}

/// A control packet. Intervals are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// One of [`diagnostic`].
    pub diagnostic: u8,
    /// The sender's state.
    pub state: State,
    /// It wants to know whether what it says has arrived.
    pub poll: bool,
    /// The answer to a poll.
    pub last: bool,
    /// How many packets may be missed.
    pub detect_mult: u8,
    /// The sender's number of the session.
    pub mine: u32,
    /// The receiver's, 0 while it is unknown.
    pub yours: u32,
    /// How often the sender would like to send.
    pub min_tx: u32,
    /// How often it can receive; 0 asks for silence.
    pub min_rx: u32,
}

const VERSION: u8 = 1;
const LENGTH: u8 = 24;

impl Control {
    /// Reads the payload of a datagram, with the checks of section 6.8.6 that need no session.
    ///
    /// # Errors
    /// When it must be discarded.
    pub fn parse(payload: &[u8]) -> Result<Control, ParseError> {
        const WHAT: &str = "BFD";
        let [first, flags, detect_mult, length] = array::<4>(payload, 0, WHAT)?;
        if first >> 5 != VERSION {
            return Err(ParseError::Other("BFD version 1"));
        }
        if length < LENGTH || usize::from(length) > payload.len() {
            return Err(ParseError::Short(WHAT));
        }
        let number = |at| array::<4>(payload, at, WHAT).map(u32::from_be_bytes);
        let control = Control {
            diagnostic: first & 0x1f,
            state: State::ALL[usize::from(flags >> 6)],
            poll: flags & 0x20 != 0,
            last: flags & 0x10 != 0,
            detect_mult,
            mine: number(4)?,
            yours: number(8)?,
            min_tx: number(12)?,
            min_rx: number(16)?,
        };
        let (authenticated, multipoint) = (flags & 0x04 != 0, flags & 0x01 != 0);
        let nobodys = control.yours == 0 && control.state >= State::Init;
        if authenticated || multipoint || detect_mult == 0 || control.mine == 0 || nobodys {
            return Err(ParseError::Malformed(WHAT));
        }
        Ok(control)
    }

    /// The payload of a datagram. We do not echo.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 24] {
        let mut out = [0; 24];
        out[0] = VERSION << 5 | self.diagnostic & 0x1f;
        out[1] = (self.state as u8) << 6 | u8::from(self.poll) << 5 | u8::from(self.last) << 4;
        out[2] = self.detect_mult;
        out[3] = LENGTH;
        for (at, value) in [
            (4, self.mine),
            (8, self.yours),
            (12, self.min_tx),
            (16, self.min_rx),
        ] {
            out[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> Control {
        Control {
            diagnostic: diagnostic::EXPIRED,
            state: State::Up,
            poll: true,
            last: false,
            detect_mult: 3,
            mine: 0x0102_0304,
            yours: 7,
            min_tx: 100_000,
            min_rx: 200_000,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = control().to_bytes();
        assert_eq!(bytes[..8], [0x21, 0xe0, 3, 24, 1, 2, 3, 4]);
        assert_eq!(Control::parse(&bytes), Ok(control()));
    }

    #[test]
    fn what_must_be_discarded_is() {
        let good = control().to_bytes();
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            Control::parse(&bytes)
        };
        assert!(with(0, 0x41).is_err(), "version 2");
        assert!(with(1, 0xe1).is_err(), "multipoint");
        assert!(with(1, 0xe4).is_err(), "authenticated");
        assert!(with(2, 0).is_err(), "no multiplier");
        assert!(with(3, 23).is_err() && with(3, 25).is_err(), "length");
        assert!(with(11, 0).is_err(), "up without our number");
        assert!(Control::parse(&good[..20]).is_err());
    }
}
