//! Template variables: `^name` in logical flows and load balancers stands for a text that every chassis has its own of.
//!
//! Guarantees: what names a variable that this chassis does not have is not there on this chassis; that is no fault.

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Map, Str};

use crate::config::{ME, Me};
use crate::index::Index;
use crate::program::{Controller, Key, Read};

/// Publishes [`Variables`].
pub const TEMPLATE: Kind<Controller> = Kind::pure("template", &["me"], template);

/// The variables of this chassis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(Map<Str, Str>);

fn template(cx: &Cx<'_, Controller>, _: Key) {
    let Some(me) = cx.value::<Me>(ME.id(), Key::Global) else {
        return;
    };
    let rec = cx.sb_rec();
    let row = cx.lookup_one(Index::TemplateVarsByChassis, &*me.name);
    let row = row.and_then(|row| cx.sb().chassis_template_var.tracked(row, &rec));
    cx.publish(Variables(
        row.map(|row| row.variables().clone()).unwrap_or_default(),
    ));
}

/// Whether a text has variables. What stands in quotes is taken as it is.
pub fn has_variables(text: &str) -> bool {
    text.contains('^') && pieces(text).any(|piece| matches!(piece, Piece::Name(_)))
}

impl Variables {
    /// The text with the values in the places of their names; `None` if there is no such variable.
    pub fn expand(&self, text: &str) -> Option<Str> {
        let mut out = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => out.push_str(self.0.get(name)?),
            }
        }
        Some(out.into())
    }
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    let mut quoted = false;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(after) = rest
            .strip_prefix('^')
            .filter(|after| !quoted && after.starts_with(is_name))
        {
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            rest = tail;
            return Some(Piece::Name(name));
        }
        let mut escaped = false;
        let mut end = rest.len();
        for (at, c) in rest.char_indices() {
            match c {
                '^' if !quoted && at > 0 => {
                    end = at;
                    break;
                }
                '"' if !escaped => quoted = !quoted,
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(Piece::Text(piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_of_quotes_are_replaced() {
        let variables = Variables(Map::from_iter([
            ("VIP".into(), "10.0.0.1".into()),
            ("P_1".into(), "80".into()),
        ]));
        let expand = |text| variables.expand(text).map(|text| text.to_string());
        assert_eq!(
            expand("ip4.dst == ^VIP && tcp.dst == ^P_1").as_deref(),
            Some("ip4.dst == 10.0.0.1 && tcp.dst == 80")
        );
        assert_eq!(expand("^VIP:^P_1").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(
            expand("f(\"^VIP\"); ^VIP").as_deref(),
            Some("f(\"^VIP\"); 10.0.0.1")
        );
        assert_eq!(expand("^NONE"), None);
        assert!(!has_variables("vip = \"^VIP\""));
        assert!(has_variables("^VIP"));
        assert!(!has_variables("ip4"));
    }
}
