//! Friendly names: what people call ports and datapaths whose real names a cloud made up.

use std::collections::HashMap;

/// What to show instead of quoted names of ports.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// `shown` in place of `name`.
    pub fn add(&mut self, name: &str, shown: &str) {
        if name != shown {
            self.0.insert(name.to_string(), shown.to_string());
        }
    }

    /// A match or an action with the quoted names replaced.
    pub fn apply(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_string();
        }
        let mut out = String::with_capacity(text.len());
        for (at, part) in text.split('"').enumerate() {
            let quoted = at % 2 == 1;
            if at > 0 {
                out.push('"');
            }
            match self.0.get(part) {
                Some(shown) if quoted => out.push_str(shown),
                _ => out.push_str(part),
            }
        }
        out
    }
}

/// UUIDs in a name shortened to their first six digits.
pub fn shorten(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        if rest
            .get(..36)
            .is_some_and(|text| text.parse::<weft_ovsdb::model::Uuid>().is_ok())
        {
            out.push_str(&rest[..6]);
            rest = &rest[36..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_names_are_replaced() {
        let mut names = Names::default();
        names.add("b", "bee");
        assert_eq!(names.apply("b == \"b\" && \"c\""), "b == \"bee\" && \"c\"");
    }

    #[test]
    fn uuids_are_shortened() {
        assert_eq!(
            shorten("c-22222222-2222-3333-4444-555555555555"),
            "c-222222"
        );
        assert_eq!(shorten("p1"), "p1");
    }
}
