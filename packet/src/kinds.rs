//! Kinds of messages by their number.

/// An enum `Kind` with its way back from the number in a packet.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $number:literal;)*) => {
        /// Kind of a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[doc = $doc])+ $kind = $number,)* }

        impl Kind {
            /// The kind of a number.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Kind> {
                match number { $($number => Some(Kind::$kind),)* _ => None }
            }
        }
    };
}

pub(crate) use kinds;
