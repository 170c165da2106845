//! What commands of switch ports and of router ports do alike: find one, tell whose it is, delete, list, switch on and off.

use weft_ovsdb::model::{Atom, Datum, Uuid};

use super::switch::list_ports;
use crate::command::Cx;
use crate::common::{by_name, key_values, not_found, parse_state, suggest};
use crate::error::{Error, fail};

/// A table of ports, and the table whose column `ports` refers to it.
pub(super) struct Ports {
    /// The ports' table.
    pub table: &'static str,
    /// The owners' table.
    pub owners: &'static str,
    /// What rows of the ports' table are called, in errors.
    pub called: &'static str,
    /// What an owner is called, in errors.
    pub owner: &'static str,
}

/// Ports of switches.
pub(super) const SWITCH: Ports = Ports {
    table: "Logical_Switch_Port",
    owners: "Logical_Switch",
    called: "logical switch ports",
    owner: "switch",
};

/// Ports of routers.
pub(super) const ROUTER: Ports = Ports {
    table: "Logical_Router_Port",
    owners: "Logical_Router",
    called: "logical router ports",
    owner: "router",
};

impl Ports {
    /// A port by name or UUID; `None` only if `optional`.
    pub fn find(&self, cx: &Cx<'_>, name: &str, optional: bool) -> Result<Option<Uuid>, Error> {
        let found = by_name(cx, self.table, "name", self.called, name)?;
        if found.is_none() && !optional {
            return Err(suggest(
                cx,
                self.table,
                "name",
                name,
                not_found("port", name),
            ));
        }
        Ok(found)
    }

    /// A port by name or UUID.
    pub fn get(&self, cx: &Cx<'_>, name: &str) -> Result<Uuid, Error> {
        self.find(cx, name, false)?
            .ok_or_else(|| not_found("port", name))
    }

    /// The port in the first argument.
    pub fn first(&self, cx: &Cx<'_>) -> Result<Uuid, Error> {
        self.get(cx, cx.arg(0))
    }

    /// The switch or router of a port, and its name.
    pub fn owner_of(&self, cx: &Cx<'_>, port: Uuid) -> Option<(Uuid, String)> {
        let mut owners = cx.db.rows(self.owners);
        let (uuid, row) = owners.find(|(_, row)| row.refs("ports").contains(&port))?;
        Some((uuid, row.str("name").to_string()))
    }

    /// `--may-exist` for the port in the second argument, which exists: an error without that option, and if the port is
    /// another's.
    pub fn may_exist(&self, cx: &Cx<'_>, port: Uuid, owner: Uuid) -> Result<(), Error> {
        let name = cx.arg(1);
        if !cx.has("--may-exist") {
            return fail(format!("{name}: a port with this name already exists"));
        }
        match self.owner_of(cx, port).filter(|(uuid, _)| *uuid != owner) {
            // As the stock tool shows it: the UUID stands in for an empty name.
            Some((uuid, other)) => fail(format!(
                "{name}: port already exists but in {} {}",
                self.owner,
                if other.is_empty() {
                    uuid.to_string()
                } else {
                    other
                }
            )),
            None => Ok(()),
        }
    }

    /// `lsp-del`, `lrp-del`
    pub fn del(&self, cx: &mut Cx<'_>) -> Result<(), Error> {
        let Some(port) = self.find(cx, cx.arg(0), cx.has("--if-exists"))? else {
            return Ok(());
        };
        let Some((owner, _)) = self.owner_of(cx, port) else {
            return fail(format!(
                "logical port {} is not part of any logical {}",
                cx.arg(0),
                self.owner
            ));
        };
        cx.db.remove_ref(self.owners, owner, "ports", port)?;
        cx.db.delete(self.table, port);
        Ok(())
    }

    /// `lsp-list`, `lrp-list`
    pub fn list(&self, cx: &mut Cx<'_>, owner: Uuid) -> Result<(), Error> {
        list_ports(cx, self.owners, owner, self.table);
        Ok(())
    }

    /// `lsp-set-enabled`, `lrp-set-enabled`
    pub fn set_enabled(&self, cx: &mut Cx<'_>) -> Result<(), Error> {
        let (port, state) = (self.first(cx)?, parse_state(cx.arg(1))?);
        let state = Datum::one(Atom::Boolean(state));
        cx.db.set(self.table, port, "enabled", state)
    }

    /// `lsp-get-enabled`, `lrp-get-enabled`
    pub fn get_enabled(&self, cx: &mut Cx<'_>) -> Result<(), Error> {
        let port = self.first(cx)?;
        let row = cx.db.row(self.table, port);
        let enabled = row.and_then(|row| row.bool("enabled")).unwrap_or(true);
        cx.line(if enabled { "enabled" } else { "disabled" });
        Ok(())
    }

    /// `lsp-set-options`, `lrp-set-options`
    pub fn set_options(&self, cx: &mut Cx<'_>) -> Result<(), Error> {
        let port = self.first(cx)?;
        let options = key_values(&cx.args[1..]);
        cx.db.set(self.table, port, "options", options)
    }
}
