//! Civil time (UTC) for log lines, and the little of `strftime(3)` that log patterns use.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    year: i64,
    month: u32,
    day: u32,
    hour: u64,
    minute: u64,
    second: u64,
    millis: u32,
    unix: u64,
}

impl Civil {
    pub(super) fn now() -> Self {
        Self::from_unix(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    /// The civil calendar from a count of days: eras of 400 years that begin on a 1 March.
    fn from_unix(since_epoch: Duration) -> Self {
        let unix = since_epoch.as_secs();
        let (days, rest) = ((unix / 86_400) as i64, unix % 86_400);
        let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * march_month + 2) / 5 + 1) as u32;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month,
            day,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            millis: since_epoch.subsec_millis(),
            unix,
        }
    }

    /// `strftime` with Open vSwitch's addition: a run of `#` is that many digits of the second's fraction.
    pub(super) fn format(&self, format: &str, out: &mut String) {
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            let _ = match c {
                '#' => {
                    let mut digits = 1;
                    while chars.next_if_eq(&'#').is_some() {
                        digits += 1;
                    }
                    let nanos = format!("{:03}000000", self.millis);
                    write!(out, "{:.digits$}", nanos)
                }
                '%' => match chars.next() {
                    Some('Y') => write!(out, "{:04}", self.year),
                    Some('y') => write!(out, "{:02}", self.year % 100),
                    Some('m') => write!(out, "{:02}", self.month),
                    Some('d') => write!(out, "{:02}", self.day),
                    Some('e') => write!(out, "{:2}", self.day),
                    Some('h' | 'b') => write!(out, "{}", MONTHS[self.month as usize - 1]),
                    Some('H') => write!(out, "{:02}", self.hour),
                    Some('M') => write!(out, "{:02}", self.minute),
                    Some('S') => write!(out, "{:02}", self.second),
                    Some('T') => write!(
                        out,
                        "{:02}:{:02}:{:02}",
                        self.hour, self.minute, self.second
                    ),
                    Some('F') => write!(out, "{:04}-{:02}-{:02}", self.year, self.month, self.day),
                    Some('s') => write!(out, "{}", self.unix),
                    Some('%') => write!(out, "%"),
                    Some(other) => write!(out, "%{other}"),
                    None => write!(out, "%"),
                },
                c => write!(out, "{c}"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(millis: u64, format: &str) -> String {
        let mut out = String::new();
        Civil::from_unix(Duration::from_millis(millis)).format(format, &mut out);
        out
    }

    #[test]
    fn calendar() {
        assert_eq!(
            format(0, "%Y-%m-%dT%H:%M:%S.###Z"),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            format(1_709_210_096_789, "%FT%T.##"),
            "2024-02-29T12:34:56.78"
        );
        assert_eq!(
            format(1_795_253_645_895, "%Y-%m-%dT%H:%M:%S.###Z"),
            "2026-11-21T09:34:05.895Z"
        );
        assert_eq!(format(951_782_400_000, "%h %e %T"), "Feb 29 00:00:00");
        assert_eq!(format(4_107_542_400_000, "%F"), "2100-03-01");
    }
}
