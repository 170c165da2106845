//! How the indexes follow the southbound.

use weft_ovsdb::model::Uuid;
use weft_schemas::sb;

use super::keys::{bfd_name, binding_id, monitor_name};
use super::{ById, ByName, Indexes, Touch};

impl Indexes {
    /// Follows a change of the southbound.
    pub fn sb_changed(&mut self, change: &sb::Change, touch: Touch<'_>) {
        let table = change.table_id();
        if Self::lists_all_sb(table) {
            let (uuid, came, went) = coming_sb(change);
            if came || went {
                self.set_id(ById::AllSb, table as u8, Uuid::ZERO, uuid, came, touch);
            }
        }
        match change {
            sb::Change::Chassis(c) => {
                self.named(ByName::Chassis, c, |r| Some(&r.name), touch);
                self.named(ByName::ChassisHost, c, |r| Some(&r.hostname), touch);
                self.refs(ById::ChassisOfEncap, c, |r| &r.encaps, touch);
            }
            sb::Change::ChassisPrivate(c) => {
                self.reference(ById::PrivateOfChassis, c, |r| r.chassis, touch)
            }
            sb::Change::PortBinding(c) => {
                self.named(ByName::Binding, c, |r| Some(&r.logical_port), touch);
                let up = |r: &std::sync::Arc<sb::PortBinding>| {
                    (r.up == Some(true)).then(|| r.logical_port.clone())
                };
                let (old, new) = (c.old.as_ref().and_then(up), c.new.as_ref().and_then(up));
                self.name(
                    ByName::BoundUp,
                    c.uuid,
                    old.as_deref(),
                    new.as_deref(),
                    touch,
                );
                self.reference(
                    ById::BindingByKey,
                    c,
                    |r| Some(binding_id(r.datapath, r.tunnel_key)),
                    touch,
                );
            }
            sb::Change::ServiceMonitor(c) => {
                let name = |r: &std::sync::Arc<sb::ServiceMonitor>| {
                    let protocol = r.protocol.as_deref().unwrap_or_default();
                    monitor_name(&r.logical_port, &r.ip, r.port, protocol)
                };
                let (old, new) = (c.old.as_ref().map(name), c.new.as_ref().map(name));
                self.name(
                    ByName::ServiceMonitor,
                    c.uuid,
                    old.as_deref(),
                    new.as_deref(),
                    touch,
                );
            }
            sb::Change::Bfd(c) => {
                let name = |r: &std::sync::Arc<sb::Bfd>| bfd_name(&r.logical_port, &r.dst_ip);
                let (old, new) = (c.old.as_ref().map(name), c.new.as_ref().map(name));
                self.name(ByName::SbBfd, c.uuid, old.as_deref(), new.as_deref(), touch);
            }
            sb::Change::DatapathBinding(c) => {
                self.reference(
                    ById::DatapathByKey,
                    c,
                    |r| Some(Uuid(r.tunnel_key as u128)),
                    touch,
                );
            }
            _ => {}
        }
    }
}

fn coming_sb(change: &sb::Change) -> (Uuid, bool, bool) {
    use weft_ovsdb::model::AnyChange;
    let all = change.columns() & weft_ovsdb::model::EXISTENCE != 0;
    let there = match change {
        sb::Change::SbGlobal(c) => c.new.is_some(),
        sb::Change::Chassis(c) => c.new.is_some(),
        sb::Change::ChassisPrivate(c) => c.new.is_some(),
        _ => return (change.uuid(), false, false),
    };
    (change.uuid(), all && there, all && !there)
}
