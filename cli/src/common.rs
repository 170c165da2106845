//! What nbctl and sbctl have in common: connections, SSL, names, addresses.

use std::net::IpAddr;

use weft_ovsdb::model::{Atom, Datum, Uuid};

use crate::command::{Command, Cx, MANY};
use crate::error::{Error, fail};
use crate::replica::string;

/// `get-connection` and its relatives.
pub const CONNECTION: &[Command] = &[
    Command {
        name: "get-connection",
        args: (0, 0),
        usage: "",
        options: &[],
        tables: &["Connection"],
        help: "print the connections",
        run: get_connection,
    },
    Command {
        name: "del-connection",
        args: (0, 0),
        usage: "",
        options: &[],
        tables: &["Connection"],
        help: "delete the connections",
        run: |cx| delete_all(cx, "Connection", "connections"),
    },
    Command {
        name: "set-connection",
        args: (1, MANY),
        usage: "[role=ROLE] [read-only|read-write] TARGET...",
        options: &["--inactivity-probe="],
        tables: &["Connection"],
        help: "set the list of connections to TARGET...",
        run: set_connection,
    },
];

/// `get-ssl` and its relatives.
pub const SSL: &[Command] = &[
    Command {
        name: "get-ssl",
        args: (0, 0),
        usage: "",
        options: &[],
        tables: &["SSL"],
        help: "print the SSL configuration",
        run: get_ssl,
    },
    Command {
        name: "del-ssl",
        args: (0, 0),
        usage: "",
        options: &[],
        tables: &["SSL"],
        help: "delete the SSL configuration",
        run: |cx| delete_all(cx, "SSL", "ssl"),
    },
    Command {
        name: "set-ssl",
        args: (3, 5),
        usage: "PRIV-KEY CERT CA-CERT [SSL-PROTOS [SSL-CIPHERS]]",
        options: &["--bootstrap"],
        tables: &["SSL"],
        help: "set the SSL configuration",
        run: set_ssl,
    },
];

/// The row for the whole.
pub fn global(cx: &Cx<'_>) -> Result<Uuid, Error> {
    match cx.db.rows(cx.tool.global).next() {
        Some((uuid, _)) => Ok(uuid),
        None => fail(format!("table {} is empty", cx.tool.global)),
    }
}

fn get_connection(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut lines: Vec<String> = Vec::new();
    for (_, row) in cx.db.rows("Connection") {
        let role = match row.str("role") {
            "" => String::new(),
            role => format!(" role=\"{role}\""),
        };
        let access = match row.bool("read_only") {
            Some(true) => "read-only ",
            Some(false) => "read-write ",
            None => "",
        };
        lines.push(format!(
            "{access}{}{}{}",
            if role.is_empty() {
                ""
            } else {
                role.trim_start()
            },
            if role.is_empty() { "" } else { " " },
            row.str("target")
        ));
    }
    lines.sort_unstable();
    lines.into_iter().for_each(|line| cx.line(line));
    Ok(())
}

fn delete_all(cx: &mut Cx<'_>, table: &str, column: &str) -> Result<(), Error> {
    let rows: Vec<Uuid> = cx.db.rows(table).map(|(uuid, _)| uuid).collect();
    rows.into_iter().for_each(|uuid| cx.db.delete(table, uuid));
    let global = global(cx)?;
    let table = cx.tool.global;
    cx.db.set(table, global, column, Datum::Set(Vec::new()))
}

fn set_connection(cx: &mut Cx<'_>) -> Result<(), Error> {
    delete_all(cx, "Connection", "connections")?;
    let probe = cx.value("--inactivity-probe").map(|text| {
        text.parse()
            .map_err(|_| Error::new(format!("{text}: not a number of milliseconds")))
    });
    let probe: Option<i64> = probe.transpose()?;
    let global = global(cx)?;
    let (mut role, mut read_only) = ("", false);
    for arg in cx.args {
        match arg.as_str() {
            "read-only" => read_only = true,
            "read-write" => read_only = false,
            word if word.starts_with("role=") => role = &word["role=".len()..],
            target => {
                let scheme = target.split(':').next().unwrap_or("");
                if !matches!(scheme, "ptcp" | "pssl" | "punix" | "tcp" | "ssl" | "unix") {
                    tracing::warn!(target: "nbctl", "target type \"{target}\" is possibly erroneous");
                }
                let uuid = cx.db.insert("Connection", None)?;
                cx.db.set_str("Connection", uuid, "target", target)?;
                if let Some(probe) = probe {
                    cx.db.set(
                        "Connection",
                        uuid,
                        "inactivity_probe",
                        Datum::one(Atom::Integer(probe)),
                    )?;
                }
                // Only the Southbound has roles.
                if cx.db.column("Connection", "role").is_ok() {
                    cx.db.set_str("Connection", uuid, "role", role)?;
                    cx.db.set(
                        "Connection",
                        uuid,
                        "read_only",
                        Datum::one(Atom::Boolean(read_only)),
                    )?;
                }
                cx.db.add_ref(cx.tool.global, global, "connections", uuid)?;
            }
        }
    }
    Ok(())
}

fn get_ssl(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(row) = cx.db.rows("SSL").next().map(|(_, row)| row.clone()) else {
        return Ok(());
    };
    cx.line(format!("Private key: {}", row.str("private_key")));
    cx.line(format!("Certificate: {}", row.str("certificate")));
    cx.line(format!("CA Certificate: {}", row.str("ca_cert")));
    cx.line(format!(
        "Bootstrap: {}",
        row.bool("bootstrap_ca_cert").unwrap_or(false)
    ));
    Ok(())
}

fn set_ssl(cx: &mut Cx<'_>) -> Result<(), Error> {
    delete_all(cx, "SSL", "ssl")?;
    let uuid = cx.db.insert("SSL", None)?;
    let columns = [
        "private_key",
        "certificate",
        "ca_cert",
        "ssl_protocols",
        "ssl_ciphers",
    ];
    for (column, value) in columns.into_iter().zip(cx.args) {
        cx.db.set_str("SSL", uuid, column, value)?;
    }
    let bootstrap = Datum::one(Atom::Boolean(cx.has("--bootstrap")));
    cx.db.set("SSL", uuid, "bootstrap_ca_cert", bootstrap)?;
    let global = global(cx)?;
    cx.db.add_ref(cx.tool.global, global, "ssl", uuid)
}

/// A row by UUID or by the text of `column`; `what` as in "switch". With the error the stock tool has.
pub fn by_name(
    cx: &Cx<'_>,
    table: &str,
    column: &str,
    what: &str,
    name: &str,
) -> Result<Option<Uuid>, Error> {
    if let Ok(uuid) = name.parse::<Uuid>()
        && cx.db.row(table, uuid).is_some()
    {
        return Ok(Some(uuid));
    }
    let mut named = cx
        .db
        .rows(table)
        .filter(|(_, row)| row.str(column) == name)
        .map(|(uuid, _)| uuid);
    match (named.next(), named.next()) {
        (Some(_), Some(_)) => fail(format!("Multiple {what} named '{name}'.  Use a UUID.")),
        (found, _) => Ok(found),
    }
}

/// What a reference that was not found is called: by UUID or by name.
pub fn not_found(what: &str, name: &str) -> Error {
    let kind = if name.parse::<Uuid>().is_ok() {
        "UUID"
    } else {
        "name"
    };
    Error::new(format!("{name}: {what} {kind} not found"))
}

/// The names nearest to `name` in a table, as a hint.
pub fn suggest(cx: &Cx<'_>, table: &str, column: &str, name: &str, error: Error) -> Error {
    let near = crate::error::nearest(name, cx.db.rows(table).map(|(_, row)| row.str(column)));
    match near {
        Some(near) => error.help(format!("did you mean \"{near}\"?")),
        None => error,
    }
}

/// Whether the text is an Ethernet address; its six bytes.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// An address with optional prefix length or (IPv4) mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// As written, host bits kept.
    pub address: IpAddr,
    /// Bits of the network.
    pub length: u8,
}

impl Prefix {
    /// Reads `A`, `A/LENGTH` or `A/MASK`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address.parse::<IpAddr>().ok()?, Some(length)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(length) => match length.parse::<u8>() {
                Ok(length) if length <= bits => length,
                Ok(_) => return None,
                Err(_) => mask_length(length.parse().ok()?)?,
            },
        };
        Some(Self { address, length })
    }

    /// Bits of an address of this family.
    pub fn bits(&self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The network, as OVN stores it: host bits zero, the length left out if it is a single host.
    pub fn network(&self) -> String {
        let network: IpAddr = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.length))
                    .unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.length))
                    .unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        if self.length == self.bits() {
            network.to_string()
        } else {
            format!("{network}/{}", self.length)
        }
    }
}

fn mask_length(mask: std::net::Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    (bits.leading_ones() + bits.trailing_zeros() >= 32).then(|| bits.leading_ones() as u8)
}

/// "enabled" or "disabled".
pub fn parse_state(text: &str) -> Result<bool, Error> {
    match text {
        "enabled" => Ok(true),
        "disabled" => Ok(false),
        _ => fail(format!("{text}: state must be \"enabled\" or \"disabled\"")),
    }
}

/// `KEY=VALUE` words as a map; words without `=` are passed over, as the stock tool does.
pub fn key_values(words: &[String]) -> Datum {
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    let mut map: Vec<(Atom, Atom)> = Vec::new();
    for (key, value) in pairs {
        let key = string(key);
        map.retain(|(k, _)| *k != key);
        map.push((key, string(value)));
    }
    Datum::map(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_normal() {
        let network = |text| Prefix::parse(text).map(|p| p.network());
        assert_eq!(network("10.1.2.3/16").as_deref(), Some("10.1.0.0/16"));
        assert_eq!(
            network("10.1.2.3/255.255.0.0").as_deref(),
            Some("10.1.0.0/16")
        );
        assert_eq!(network("10.1.2.3/32").as_deref(), Some("10.1.2.3"));
        assert_eq!(network("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(network("fd00::1/64").as_deref(), Some("fd00::/64"));
        assert_eq!(network("10.0.0.0/33"), None);
        assert_eq!(network("10.0.0.0/255.0.255.0"), None);
    }

    #[test]
    fn macs() {
        assert_eq!(parse_mac("00:00:00:00:00:0a"), Some([0, 0, 0, 0, 0, 10]));
        assert_eq!(parse_mac("00:00:00:00:00"), None);
        assert_eq!(parse_mac("00:00:00:00:00:01:02"), None);
        assert_eq!(parse_mac("00:00:00:00:00:gg"), None);
    }
}
