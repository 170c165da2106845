//! Commands of the control socket.

use tokio::sync::{mpsc, oneshot};
use weft_daemon::unixctl::{Reply, Unixctl};

use super::Shell;
use crate::inject;

/// A command on its way to the shell's task.
pub(crate) struct Request {
    name: &'static str,
    args: Vec<String>,
    reply: oneshot::Sender<Reply>,
}

/// Name, arguments for people, most arguments. One whose arguments are not in brackets needs them.
const COMMANDS: &[(&str, &str, usize)] = &[
    ("connection-status", "", 0),
    ("inject-pkt", "MICROFLOW", 1),
    ("ct-zone-list", "", 0),
    ("ct-flush", "", 0),
    ("group-table-list", "", 0),
    ("meter-table-list", "", 0),
    ("recompute", "", 0),
    ("inc-engine/recompute", "", 0),
    ("inc-engine/show-stats", "[KIND [COUNTER]]", 2),
    ("inc-engine/clear-stats", "", 0),
    ("diagnostics", "", 0),
    ("debug/status", "", 0),
    ("debug/dump-local-datapaths", "", 0),
    ("debug/dump-flows", "", 0),
    ("debug/dump-diagnostics", "", 0),
    ("debug/dump-graph", "", 0),
    ("debug/audit", "", 0),
];

/// Registers the commands; each is answered by the shell's task between two of its steps.
pub(crate) fn register(unixctl: &Unixctl, requests: &mpsc::UnboundedSender<Request>) {
    for &(name, usage, most) in COMMANDS {
        let requests = requests.clone();
        let least = if usage.starts_with('[') { 0 } else { most };
        unixctl.register(name, usage, least..=most, move |args| {
            let (reply, answer) = oneshot::channel();
            let sent = requests.send(Request { name, args, reply });
            async move {
                match sent {
                    Ok(()) => answer
                        .await
                        .unwrap_or_else(|_| Err("the controller is ending".into())),
                    Err(_) => Err("the controller is ending".into()),
                }
            }
        });
    }
}

impl Shell {
    pub(super) fn on_request(&mut self, request: Request) {
        let reply = self.answer(request.name, &request.args);
        let _ = request.reply.send(reply);
    }

    fn answer(&mut self, name: &str, args: &[String]) -> Reply {
        Ok(match name {
            "connection-status" => {
                let connected = self
                    .sb
                    .as_ref()
                    .is_some_and(|session| session.handle().status().connected);
                if connected {
                    "connected\n".into()
                } else {
                    "not connected\n".into()
                }
            }
            "inject-pkt" => {
                let message = inject::packet_out(&self.core, args.first().map_or("", |text| text))?;
                let conn = self
                    .conn
                    .as_ref()
                    .ok_or("not connected to the integration bridge")?;
                conn.post([&message]).map_err(|why| why.to_string())?;
                String::new()
            }
            "ct-zone-list" => lines(
                self.core
                    .ledgers
                    .zones
                    .iter()
                    .map(|(owner, zone)| format!("{owner} {zone}")),
            ),
            "ct-flush" => {
                self.core.ledgers.zones.flush();
                self.install.dirty = true;
                String::new()
            }
            "group-table-list" => lines(
                self.installer
                    .group_table()
                    .iter()
                    .map(|(text, id)| format!("{text}: {id}")),
            ),
            "meter-table-list" => lines(
                self.installer
                    .meter_table()
                    .iter()
                    .map(|(text, id)| format!("{text}: {id}")),
            ),
            "recompute" | "inc-engine/recompute" => {
                self.core.recompute();
                self.stale = true;
                String::new()
            }
            "inc-engine/show-stats" => self.stats(args),
            "inc-engine/clear-stats" => {
                self.core.engine().stats().clear();
                String::new()
            }
            "debug/status" => self.status(),
            "debug/dump-local-datapaths" => lines(self.core.local_datapaths().0.iter().map(|dp| {
                let row = self.core.inputs.sb.datapath_binding.get(*dp);
                let name = row
                    .and_then(|row| row.external_ids.get("name"))
                    .map_or("", |name| &**name);
                format!("{dp} {} {name}", row.map_or(0, |row| row.tunnel_key))
            })),
            "debug/dump-flows" => lines(self.installer.wanted().into_iter()),
            "diagnostics" | "debug/dump-diagnostics" => self.report.diagnostics_text(),
            "debug/dump-graph" => self.core.engine().dot(),
            "debug/audit" => match self.core.audit() {
                Ok(differences) if differences.is_empty() => "no differences\n".into(),
                Ok(differences) => return Err(lines(differences.iter().map(|d| format!("{d:?}")))),
                Err(why) => return Err(why.to_string()),
            },
            other => return Err(format!("\"{other}\" is not implemented")),
        })
    }

    fn stats(&self, args: &[String]) -> String {
        let stats = self.core.engine().stats();
        let shown = |kind: &str| args.first().is_none_or(|only| only == kind);
        lines(
            stats
                .all()
                .into_iter()
                .filter(|(kind, _)| shown(kind))
                .map(|(kind, stats)| {
                    format!(
                        "Node: {kind}\n- units: {}\n- compute: {}\n- quiet: {}\n- time: {:.3} ms",
                        stats.units,
                        stats.runs,
                        stats.quiet,
                        stats.time.as_secs_f64() * 1e3
                    )
                }),
        )
    }

    fn status(&self) -> String {
        let southbound = self.sb.as_ref().map(|session| session.handle().status());
        let bridge = if self.conn.is_some() {
            "connected"
        } else {
            "not connected"
        };
        format!(
            "running\nsouthbound: {}\nintegration bridge: {bridge}\nsettled: {}\nlocal datapaths: {}\nflows wanted: {}\nflow table wanted: {}, installed: {}\n",
            southbound.map_or("no remote".to_string(), |s| if s.connected {
                "connected".into()
            } else {
                format!("not connected: {}", s.last_error.unwrap_or_default())
            }),
            self.settled,
            self.core.local_datapaths().0.len(),
            self.installer.wanted_count(),
            self.wanted_number,
            self.installed_number,
        )
    }
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.map(|line| line + "\n").collect()
}
