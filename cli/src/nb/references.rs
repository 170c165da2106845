//! What a match names that is not there: said when the match is written, for it may come later.

use weft_lang::{Cmp, Const, Expr, field, parse_match};

use crate::replica::Replica;

/// Warns of address sets, port groups and ports that a match names and that do not exist.
pub(super) fn warn(db: &Replica, match_: &str) {
    for missing in missing(db, match_) {
        tracing::warn!(target: "nbctl", "{match_}: {missing}");
    }
}

fn missing(db: &Replica, match_: &str) -> Vec<String> {
    let mut out = Vec::new();
    let Ok(expr) = parse_match(match_) else {
        return out;
    };
    let there = |table: &str, name: &str| db.rows(table).any(|(_, row)| row.str("name") == name);
    expr.walk(&mut |part| {
        let Expr::Cmp(Cmp { field, operand, .. }) = part else {
            return;
        };
        let port = *field == field::INPORT || *field == field::OUTPORT;
        for constant in operand.constants() {
            let text = match constant {
                Const::Set(name) if !there("Address_Set", name) && !generated(name, &there) => {
                    format!("there is no address set \"{name}\"")
                }
                Const::Group(name) if !there("Port_Group", name) => {
                    format!("there is no port group \"{name}\"")
                }
                Const::Str(name) if port && !there("Logical_Switch_Port", name) => {
                    format!("there is no port \"{name}\"")
                }
                _ => continue,
            };
            if !out.contains(&text) {
                out.push(text);
            }
        }
    });
    out
}

/// Whether northd makes the set: of the addresses of a port group, or its own.
fn generated(name: &str, there: &impl Fn(&str, &str) -> bool) -> bool {
    let group = name
        .strip_suffix("_ip4")
        .or_else(|| name.strip_suffix("_ip6"));
    name == "svc_monitor_mac" || group.is_some_and(|group| there("Port_Group", group))
}
