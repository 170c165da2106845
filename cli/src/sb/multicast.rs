//! `ip-multicast-flush`: has controllers forget the multicast groups of a switch, or of all.

use weft_ovsdb::model::{Atom, Datum, Uuid};

use crate::command::{Command, Cx};
use crate::error::{Error, fail};
use crate::records;

const DATAPATH: &str = "Datapath_Binding";
const MULTICAST: &str = "IP_Multicast";

pub(super) const COMMANDS: &[Command] = &[Command::new(
    "ip-multicast-flush",
    (0, 1),
    "[SWITCH]",
    &[],
    &[DATAPATH, MULTICAST],
    "flush the learned multicast groups of SWITCH, or of all switches",
    flush,
)];

fn flush(cx: &mut Cx<'_>) -> Result<(), Error> {
    let only = match cx.args.first() {
        None => None,
        Some(name) => match records::find(cx, DATAPATH, name)? {
            Some(datapath) => Some(datapath),
            None => return fail(format!("{name} is not a valid datapath")),
        },
    };
    let rows: Vec<(Uuid, i64)> = cx
        .db
        .rows(MULTICAST)
        .filter(|(_, row)| only.is_none_or(|only| row.refs("datapath").contains(&only)))
        .map(|(uuid, row)| (uuid, row.int("seq_no").unwrap_or(0)))
        .collect();
    for (uuid, number) in rows {
        let next = Datum::one(Atom::Integer(number.wrapping_add(1)));
        cx.db.set(MULTICAST, uuid, "seq_no", next)?;
    }
    Ok(())
}
