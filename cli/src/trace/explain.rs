//! `--explain`: in one line of plain words, where the packet went, or why it went nowhere.

use std::collections::BTreeMap;

use weft_lang::Pipeline;
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

/// ACLs of the northbound, in the words for people, under the beginning of their UUIDs as flows have it.
#[derive(Clone, Debug, Default)]
pub struct Acls(BTreeMap<String, String>);

impl Acls {
    /// Takes one up.
    pub fn add(&mut self, uuid: Uuid, row: &nb::Acl) {
        let hint = format!("{:08x}", uuid.short());
        let name = match &row.name {
            Some(name) => format!("\"{name}\""),
            None => hint.clone(),
        };
        let text = format!(
            "ACL {name} ({}, tier {}, priority {}, match \"{}\", {})",
            row.direction, row.tier, row.priority, row.match_, row.action
        );
        self.0.insert(hint, text);
    }

    fn of(&self, place: &Place) -> Option<&str> {
        self.0.get(place.hint.as_deref()?).map(String::as_str)
    }
}

/// A table, and perhaps a flow in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the switch or router.
    pub datapath: String,
    /// Pipeline.
    pub pipeline: Pipeline,
    /// Table.
    pub table: u8,
    /// Its name.
    pub stage: String,
    /// Match, priority and first half word of the UUID.
    pub flow: Option<(String, i64, u32)>,
    /// Beginning of the UUID of the northbound row.
    pub hint: Option<String>,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It left by a port.
    Delivered {
        /// The port.
        port: String,
        /// Its type.
        type_: String,
    },
    /// A flow let it go no further.
    Dropped(Place),
    /// No flow of a table matches it.
    Unmatched(Place),
    /// Output without an output port, or to one that is not there.
    Nowhere(Place),
    /// It would have gone back where it came from.
    Reflected(String),
    /// It goes in circles.
    Loop(Place),
}

impl Place {
    fn text(&self) -> String {
        let stage = if self.stage.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.stage)
        };
        format!(
            "table {}{stage}, {} of \"{}\"",
            self.table,
            self.pipeline.name(),
            self.datapath
        )
    }

    fn cause(&self, acls: &Acls) -> String {
        if let Some(acl) = acls.of(self) {
            return format!(" by {acl}");
        }
        let Some((text, priority, uuid)) = &self.flow else {
            return String::new();
        };
        let hint = match &self.hint {
            Some(hint) => format!(", made for northbound row {hint}"),
            None => String::new(),
        };
        format!(" by the flow \"{text}\" (priority {priority}, uuid {uuid:08x}{hint})")
    }
}

impl Fate {
    fn text(&self, acls: &Acls) -> String {
        match self {
            Fate::Delivered { port, type_ } if type_.is_empty() => {
                format!("delivered to port \"{port}\"")
            }
            Fate::Delivered { port, type_ } => format!("delivered to {type_} port \"{port}\""),
            Fate::Dropped(place) => format!("dropped in {}{}", place.text(), place.cause(acls)),
            Fate::Unmatched(place) => format!("dropped in {}, where no flow matches", place.text()),
            Fate::Nowhere(place) => format!("lost in {}: no output port", place.text()),
            Fate::Reflected(port) => format!("not sent back out of its own port \"{port}\""),
            Fate::Loop(place) => format!("still going in circles in {}", place.text()),
        }
    }
}

/// The line. Deliveries come first; that a flood does not go back is said only if nothing else is. Last come the ACLs that
/// let it go on.
pub fn line(fates: &[Fate], decided: &[Place], acls: &Acls) -> String {
    let rank = |fate: &Fate| match fate {
        Fate::Delivered { .. } => 0,
        Fate::Reflected(_) => 2,
        _ => 1,
    };
    let mut texts: Vec<(u8, String)> = Vec::new();
    for fate in fates {
        let item = (rank(fate), fate.text(acls));
        if !texts.contains(&item) {
            texts.push(item);
        }
    }
    if texts.iter().any(|(rank, _)| *rank < 2) {
        texts.retain(|(rank, _)| *rank < 2);
    }
    texts.sort_by_key(|(rank, _)| *rank);
    let mut texts: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
    for acl in decided.iter().filter_map(|place| acls.of(place)) {
        if !texts.iter().any(|text| text.contains(acl)) {
            texts.push(format!("met {acl}"));
        }
    }
    format!("# Packet {}.\n", texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let place = Place {
            datapath: "sw0".into(),
            pipeline: Pipeline::Ingress,
            table: 1,
            stage: "ls_in_apply_port_sec".into(),
            flow: Some(("reg0[15] == 1".into(), 50, 0xabc)),
            hint: Some("12345678".into()),
        };
        let dropped = Fate::Dropped(place);
        let text = "dropped in table 1 (ls_in_apply_port_sec), ingress of \"sw0\" by the flow \"reg0[15] == 1\" \
                    (priority 50, uuid 00000abc, made for northbound row 12345678)";
        assert_eq!(
            line(
                &[dropped.clone(), Fate::Reflected("a".into())],
                &[],
                &Acls::default()
            ),
            format!("# Packet {text}.\n")
        );
        let delivered = Fate::Delivered {
            port: "b".into(),
            type_: String::new(),
        };
        assert_eq!(
            line(&[dropped.clone(), delivered.clone()], &[], &Acls::default()),
            format!("# Packet delivered to port \"b\"; {text}.\n")
        );
        let mut acls = Acls::default();
        let row = nb::Acl {
            name: Some("web".into()),
            direction: "from-lport".into(),
            priority: 7,
            match_: "ip4".into(),
            action: "drop".into(),
            tier: 2,
            ..Default::default()
        };
        acls.add(Uuid(0x1234_5678 << 96), &row);
        let by = "ACL \"web\" (from-lport, tier 2, priority 7, match \"ip4\", drop)";
        let Fate::Dropped(at) = dropped.clone() else {
            unreachable!()
        };
        assert_eq!(
            line(&[dropped], std::slice::from_ref(&at), &acls),
            format!(
                "# Packet dropped in table 1 (ls_in_apply_port_sec), ingress of \"sw0\" by {by}.\n"
            )
        );
        assert_eq!(
            line(&[delivered], &[at], &acls),
            format!("# Packet delivered to port \"b\"; met {by}.\n")
        );
    }
}
