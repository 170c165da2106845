//! Both databases: where they are, what comes from them, which rows are asked for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use weft_daemon::audit;
use weft_ovsdb::model::Uuid;
use weft_ovsdb::remote::Remotes;
use weft_ovsdb::session::{Config, Event, Session};
use weft_ovsdb::tls::Tls;
use weft_schemas::{sb, vs};

use super::asking::Asking;
use super::{Done, Shell, monitor, now};
use crate::binding::{REQUESTED, Role, role};
use crate::config::{chassis_name, setting};
use crate::index::Index;
use crate::sync::claims::Turn;
use crate::sync::vs::Look;

impl Shell {
    pub(super) fn on_vs(&mut self, event: Event<vs::Db>) {
        let (updates, snapshot) = match event {
            Event::Snapshot(updates) => (updates, true),
            Event::Updates(updates) => (updates, false),
            Event::Disconnected { reason } => {
                tracing::warn!(target: "ovsdb", "Open vSwitch database: {reason}");
                return;
            }
            Event::Connected(server) => return self.report.connected(&server),
            Event::Lock { .. } | Event::ConditionsApplied { .. } => return,
        };
        let changes = self.core.apply_vs(updates, snapshot);
        for change in &changes {
            // An interface plugged anew claims its port again, whoever has it.
            if let vs::Change::Interface(c) = change
                && c.touches(vs::interface::OFPORT | vs::interface::EXTERNAL_IDS)
            {
                self.reclaim(c.old.as_deref(), c.new.as_deref());
            }
        }
        self.stale |= !changes.is_empty();
        let looks = changes.iter();
        let look = looks.fold(Look::default(), |look, change| {
            look | self.desired.look_after(change)
        });
        self.look_at_vs(match snapshot {
            true => Look::ALL,
            false => look,
        });
        self.vs_known = true;
    }

    fn reclaim(&mut self, old: Option<&vs::Interface>, new: Option<&vs::Interface>) {
        let id = |row: Option<&vs::Interface>| {
            row.and_then(|row| row.external_ids.nonempty("iface-id").cloned())
        };
        let (was, is) = (id(old), id(new));
        if was != is {
            self.asking.clear();
        }
        if was == is && old.map(|row| row.ofport) == new.map(|row| row.ofport) {
            return;
        }
        for name in [was, is].into_iter().flatten() {
            for port in self
                .core
                .inputs
                .idx
                .find(Index::PortByName, &*name)
                .to_vec()
            {
                self.core.set_yielded(port, false);
            }
        }
    }

    pub(super) fn on_sb(&mut self, event: Event<sb::Db>) {
        let (updates, snapshot) = match event {
            Event::Snapshot(updates) => (updates, true),
            Event::Updates(updates) => (updates, false),
            Event::ConditionsApplied { seq } => {
                self.asking.came(seq);
                self.stale = true;
                return;
            }
            Event::Connected(connected) => {
                tracing::info!(target: "ovsdb", "southbound: connected to {}", connected.remote);
                self.report.connected(&connected);
                self.sb_writer.gate.dirty = true;
                return;
            }
            Event::Disconnected { reason } => {
                tracing::warn!(target: "ovsdb", "southbound: {reason}");
                return;
            }
            Event::Lock { .. } => return,
        };
        let changes = self.core.apply_sb(updates, snapshot);
        self.pinctrl.follow(&changes, &self.core, now());
        let own = self
            .core
            .me()
            .and_then(|me| me.chassis)
            .or_else(|| self.own_chassis());
        for change in &changes {
            if matches!(change, sb::Change::DatapathBinding(c) if c.touches(sb::datapath_binding::TUNNEL_KEY)
                && self.core.local_datapaths().0.contains(&c.uuid))
            {
                self.asking.clear();
            }
            let sb::Change::PortBinding(c) = change else {
                continue;
            };
            let Some(row) = &c.new else {
                self.claims.forget(c.uuid);
                self.core.set_yielded(c.uuid, false);
                self.core.set_activated(c.uuid, false);
                continue;
            };
            let requested = row.options.get(REQUESTED);
            if let Some(old) = &c.old
                && old.options.get(REQUESTED) != requested
            {
                // Who wants it has been told anew who is to have it.
                self.core.set_yielded(c.uuid, false);
            }
            let role = self.core.me().map(|me| role(requested, &me));
            if role != Some(Role::Additional) {
                self.core.set_activated(c.uuid, false);
            }
            match self.claims.watch(c.uuid, row.chassis, own) {
                // Its address has moved, as it is meant to.
                Turn::Lost if &*row.type_ == "virtual" => {}
                // Nor is it ours any more.
                Turn::Lost if role != Some(Role::Main) => {}
                // Two hosts hold themselves for the gateway: the one that learns better releases it.
                Turn::Lost if matches!(&*row.type_, "chassisredirect" | "external") => {
                    self.claims.rest(c.uuid);
                }
                Turn::Lost => {
                    tracing::warn!(target: "binding", "{}: taken by another chassis while its interface is here", row.logical_port);
                    self.core.set_yielded(c.uuid, true);
                }
                Turn::Free => self.core.set_yielded(c.uuid, false),
                Turn::None => {}
            }
        }
        self.stale |= !changes.is_empty();
        self.sb_writer.gate.dirty |= !changes.is_empty();
        self.sb_known |= snapshot;
        self.stale |= snapshot;
    }

    /// Our row in Chassis.
    pub(super) fn own_chassis(&self) -> Option<Uuid> {
        let name = &self.core.me()?.name;
        self.core
            .inputs
            .idx
            .find(Index::ChassisByName, &**name)
            .first()
            .copied()
    }

    /// Follows what the Open_vSwitch row says of the southbound's place and of the integration bridge.
    pub(super) fn follow_settings(&mut self) {
        let root = self
            .core
            .inputs
            .idx
            .find(Index::OpenVswitch, ())
            .first()
            .copied();
        let Some(row) = root.and_then(|uuid| self.core.inputs.vs.open_vswitch.get(uuid)) else {
            return;
        };
        let Some(name) = chassis_name(row, self.options.settings.chassis.as_ref()) else {
            return;
        };
        let remote = setting(row, &name, "ovn-remote")
            .map(|text| text.to_string())
            .filter(|text| !text.is_empty());
        let probe = setting(row, &name, "ovn-remote-probe-interval")
            .and_then(|text| text.parse::<u64>().ok());
        let waits =
            setting(row, &name, "ovn-ofctrl-wait-before-clear").is_some_and(|text| &**text != "0");
        if waits && !self.wait_noted {
            tracing::info!(target: "ofctrl", "ovn-ofctrl-wait-before-clear is not needed: flows stay until the southbound is worked in");
        }
        let interval = setting(row, &name, audit::INTERVAL).cloned();
        let tls = self.tls_of(row);
        self.audit.every(interval.as_deref(), Instant::now());
        if remote != self.sb_remote {
            self.sb_remote.clone_from(&remote);
            self.connect_southbound(remote.as_deref(), tls);
        }
        self.wait_noted = waits;
        if let (Some(session), Some(ms)) = (&self.sb, probe) {
            let interval = if ms == 0 {
                Duration::ZERO
            } else {
                Duration::from_millis(ms.max(1000))
            };
            session.handle().set_probe_interval(interval);
        }
    }

    /// Keys and certificates: the database's SSL row before the command line.
    fn tls_of(&self, row: &vs::OpenVswitch) -> Option<Tls> {
        let from_row = row
            .ssl
            .and_then(|ssl| self.core.inputs.vs.ssl.get(ssl))
            .map(|ssl| Tls {
                private_key: PathBuf::from(&*ssl.private_key),
                certificate: PathBuf::from(&*ssl.certificate),
                ca: PathBuf::from(&*ssl.ca_cert),
                bootstrap: ssl.bootstrap_ca_cert,
            });
        from_row.or_else(|| self.options.tls.clone())
    }

    fn connect_southbound(&mut self, remote: Option<&str>, tls: Option<Tls>) {
        let remotes = match remote.map(str::parse::<Remotes>) {
            None => {
                tracing::info!(target: "ovsdb", "no ovn-remote: waiting for one");
                self.sb = None;
                self.asking = Asking::default();
                self.report.set_southbound(None);
                return;
            }
            Some(Ok(remotes)) => remotes,
            Some(Err(why)) => {
                tracing::error!(target: "ovsdb", "ovn-remote: {why}");
                return;
            }
        };
        if let Some(session) = &self.sb {
            session.handle().set_remotes(remotes);
            return;
        }
        // Before anything is known of the southbound this asks for the ports of our own interfaces.
        self.compute();
        let mut config = Config::new::<sb::Db>(remotes);
        config.monitored = monitor::sb_columns();
        config.conditions = self.asking.first(&self.core);
        config.tls = tls;
        let session = Session::start(config);
        self.report.set_southbound(Some(session.handle()));
        self.sb = Some(session);
    }

    /// Asks for the rows that are needed now.
    pub(super) async fn ask_for_rows(&mut self) {
        let Some(handle) = self.sb.as_ref().map(Session::handle) else {
            return;
        };
        if let Some(wanted) = self.asking.next(&self.core, Instant::now()) {
            self.asking.went(handle.set_conditions(wanted).await);
        }
    }

    /// Somebody waits for a number of the southbound: what was not asked for yet must not be missing.
    pub(super) fn check_waiting(&mut self) {
        let told = self.installed_nb_cfg.map(|(nb_cfg, _)| nb_cfg);
        let nb_cfg = self.nb_cfg().filter(|nb_cfg| Some(*nb_cfg) != told);
        let Some(handle) = self.sb.as_ref().map(Session::handle) else {
            return;
        };
        if let Some(txn) = nb_cfg.and_then(|nb_cfg| self.asking.check(nb_cfg)) {
            let done = self.done_sender.clone();
            tokio::spawn(async move {
                let _ = done.send(Done::Checked(handle.transact(txn).await.is_ok()));
            });
        }
    }

    /// With all the rows here that were asked for, things are settled.
    pub(super) fn settle(&mut self) {
        if !self.settled && self.sb_known && self.asking.is_answered(self.nb_cfg()) {
            tracing::info!(target: "controller", "southbound worked in: {} flows", self.installer.wanted_count());
            self.settled = true;
            self.report.settled(self.core.engine());
            self.core.ledgers.zones.forget_unowned();
            self.sb_writer.gate.dirty = true;
            self.look_at_vs(Look::ALL);
        }
    }

    pub(super) fn rows_are_here(&self) -> bool {
        self.settled && self.asking.is_answered(self.nb_cfg())
    }

    pub(super) fn nb_cfg(&self) -> Option<i64> {
        let global = self.core.inputs.idx.find(Index::SbGlobal, ()).first()?;
        Some(self.core.inputs.sb.sb_global.get(*global)?.nb_cfg)
    }
}
