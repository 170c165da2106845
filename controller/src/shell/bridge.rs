//! The integration bridge: flows to it, packets from it.

use std::time::{Duration, Instant};

use weft_openflow::conn::Event;
use weft_ovsdb::session::Session;
use weft_ovsdb::txn::TxnError;

use super::openflow::{self, Link};
use super::{Done, Shell, now, now_ms};
use crate::pinctrl::Effect;
use crate::sync::vs::Look;

/// Packets are answered for so long before everything else has its turn again, which costs as much as some packets.
const PACKETS_AT_A_TIME: Duration = Duration::from_millis(2);
/// So many go without a look at the clock.
const PACKETS_AT_LEAST: usize = 16;

impl Shell {
    /// Connects to the integration bridge, under the name that the settings give it.
    pub(super) fn follow_bridge(&mut self) {
        let bridge = self
            .core
            .config()
            .map_or_else(|| "br-int".to_string(), |config| config.bridge.to_string());
        let target = format!(
            "unix:{}",
            self.options
                .ovs_rundir
                .join(format!("{bridge}.mgmt"))
                .display()
        );
        if self
            .link_target
            .as_ref()
            .is_none_or(|(there, _)| *there != target)
            && self.core.config().is_some()
        {
            if let Some((_, task)) = self.link_target.take() {
                task.abort();
                self.conn = None;
            }
            let task = tokio::spawn(openflow::keep_connected(
                target.clone(),
                self.link_sender.clone(),
                self.intake.clone(),
            ));
            self.report.set_bridge(&target);
            self.link_target = Some((target, task));
        }
    }

    pub(super) fn on_link(&mut self, link: Link) {
        match link {
            Link::Up {
                conn,
                flows,
                groups,
                meters,
            } => {
                tracing::info!(target: "ofctrl", "connected to the integration bridge, which has {} flows", flows.len());
                self.look_for_filling(flows.len());
                self.installer.read_back(flows, groups, meters);
                self.conn = Some(conn);
                self.report.bridge_is_up(None);
                self.install.dirty = true;
                self.installed_number = 0;
            }
            Link::Down { reason } => {
                tracing::warn!(target: "ofctrl", "integration bridge: {reason}");
                self.conn = None;
                self.filling = None;
                self.report.bridge_is_up(Some(reason));
            }
            Link::Said(event) => match *event {
                Event::Error { xid, error } => {
                    tracing::warn!(target: "ofctrl", "message {xid}: {error}");
                }
                Event::PacketIn(_) | Event::PortStatus(_) | Event::Other(_) => {}
            },
        }
    }

    pub(super) fn answer_packets(&mut self) {
        let mut effects = Vec::new();
        let mut now = now();
        let until = now.instant + PACKETS_AT_A_TIME;
        while now.instant < until {
            let before = effects.len();
            for packet in std::iter::from_fn(|| self.intake.take()).take(PACKETS_AT_LEAST) {
                effects.extend(self.pinctrl.packet_in(&packet, &self.core, now));
            }
            if effects.len() == before && self.intake.is_empty() {
                break;
            }
            now = super::now();
        }
        self.carry_out(effects);
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut messages = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send(message) => messages.push(message),
                Effect::Count(tables) => self.count(tables),
                Effect::Activate(port) => {
                    self.core.set_activated(port, true);
                    self.stale = true;
                }
                Effect::Write(txn) => {
                    let Some(handle) = self.sb.as_ref().map(Session::handle) else {
                        self.pinctrl.written(&Err(TxnError::NotConnected), now());
                        continue;
                    };
                    let done = self.done_sender.clone();
                    tokio::spawn(async move {
                        let result = handle.transact(txn).await.map(drop);
                        let _ = done.send(Done::Packet(result));
                    });
                }
            }
        }
        if let Some(conn) = self.conn.as_ref().filter(|_| !messages.is_empty())
            && let Err(why) = conn.post(&messages)
        {
            tracing::debug!(target: "pinctrl", "{} packets not sent: {why}", messages.len());
        }
    }

    /// Reads tables with their counters.
    fn count(&self, tables: Vec<u8>) {
        let (conn, done) = (self.conn.clone(), self.done_sender.clone());
        tokio::spawn(async move {
            let flows = match conn {
                Some(conn) => openflow::count(&conn, &tables).await,
                None => Ok(Vec::new()),
            };
            let flows = flows.unwrap_or_else(|why| {
                tracing::debug!(target: "pinctrl", "counters not read: {why}");
                Vec::new()
            });
            let _ = done.send(Done::Counted(flows));
        });
    }

    pub(super) fn start_install(&mut self) {
        if !self.settled {
            return self.fill_ahead();
        }
        let Some(conn) = self
            .conn
            .clone()
            .filter(|_| self.settled && self.install.open(Instant::now()))
        else {
            return;
        };
        self.install.dirty = false;
        let nb_cfg = self.nb_cfg().filter(|_| self.rows_are_here());
        let number = self.wanted_number;
        let batch = self.installer.batch();
        let zones = self.core.ledgers.zones.take_fresh();
        let flushes = std::mem::take(&mut self.flushes);
        tracing::debug!(target: "ofctrl", "{} messages to the integration bridge", batch.bundle.len());
        let Err((batch, zones, flushes)) =
            self.finish_filling(batch, number, nb_cfg, (zones, flushes))
        else {
            return;
        };
        if batch.is_empty() && zones.is_empty() && flushes.is_empty() {
            self.flows_are_in(number, nb_cfg);
            return;
        }
        self.install.busy = true;
        let done = self.done_sender.clone();
        tokio::spawn(async move {
            let result = openflow::send(conn, batch, zones, flushes)
                .await
                .map_err(|why| why.to_string());
            let _ = done.send(Done::Batch {
                number,
                nb_cfg,
                result,
            });
        });
    }

    pub(super) fn flows_are_in(&mut self, number: u64, nb_cfg: Option<i64>) {
        if number > self.installed_number {
            let before = std::mem::replace(&mut self.installed_number, number);
            if self.claims.touch_since(before) {
                self.sb_writer.gate.dirty = true;
                self.look_at_vs(Look::INTERFACES);
            }
        }
        if nb_cfg.is_some() && nb_cfg != self.installed_nb_cfg.map(|(nb_cfg, _)| nb_cfg) {
            self.installed_nb_cfg = nb_cfg.map(|nb_cfg| (nb_cfg, now_ms()));
            self.sb_writer.gate.dirty = true;
            self.look_at_vs(Look::IDS);
        }
    }
}
