//! Connections to backends that a load balancer no longer has (`Load_Balancer.options:ct_flush`).
//!
//! Guarantees: once the flows no longer choose a backend, what is tracked of connections from the virtual address to it is
//! forgotten on this chassis, in all zones: both ends learn of it with their next packet. Nothing is forgotten because the
//! option goes.

use std::net::IpAddr;
use std::sync::Arc;

use weft_engine::Cx;
use weft_openflow::{CtFlush, CtTuple};
use weft_ovsdb::model::Uuid;
use weft_schemas::sb;

use crate::program::{Controller, Output};

/// An address with a port, if one is given.
type Endpoint = (IpAddr, Option<u16>);

/// A backend behind a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Balanced {
    /// The row of Load_Balancer.
    lb: Uuid,
    /// IP protocol.
    proto: u8,
    vip: Endpoint,
    backend: Endpoint,
}

/// Says that there is such a backend.
pub(crate) fn announce(
    cx: &Cx<'_, Controller>,
    lb: Uuid,
    proto: u8,
    vip: Endpoint,
    backend: Endpoint,
) {
    cx.emit(Output::Balanced(Arc::new(Balanced {
        lb,
        proto,
        vip,
        backend,
    })));
}

/// What to forget because of a difference of outputs.
pub fn gone<'o>(
    removed: impl Iterator<Item = &'o Output>,
    sb: &sb::Db,
) -> impl Iterator<Item = CtFlush> {
    removed.filter_map(|output| {
        let Output::Balanced(balanced) = output else {
            return None;
        };
        let row = sb.load_balancer.get(balanced.lb);
        if row.is_some_and(|row| !row.options.flag("ct_flush", false)) {
            return None;
        }
        Some(balanced.flush())
    })
}

impl Balanced {
    fn flush(&self) -> CtFlush {
        let ((vip, vip_port), (backend, port)) = (self.vip, self.backend);
        CtFlush {
            // Without a port connections of every protocol are balanced.
            proto: if vip_port.is_some() { self.proto } else { 0 },
            zone: None,
            orig: CtTuple {
                dst: Some(vip),
                dst_port: vip_port,
                ..CtTuple::default()
            },
            reply: CtTuple {
                src: Some(backend),
                src_port: port,
                ..CtTuple::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::{Database, RowUpdate};

    use super::*;

    const LB: Uuid = Uuid(5);

    fn db(options: &[(&str, &str)]) -> sb::Db {
        let mut db = sb::Db::default();
        let row = sb::LoadBalancer {
            options: options
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            ..Default::default()
        };
        db.apply(RowUpdate::insert(LB, row).into());
        db
    }

    #[test]
    fn what_is_behind_nobody_is_forgotten_unless_the_option_went() {
        let vip = ([10, 0, 0, 10].into(), Some(80));
        let backend = ([10, 0, 0, 2].into(), Some(8080));
        let output = [Output::Balanced(Arc::new(Balanced {
            lb: LB,
            proto: 6,
            vip,
            backend,
        }))];
        let flushes = |db: &sb::Db| gone(output.iter(), db).collect::<Vec<_>>();
        let expected = CtFlush {
            proto: 6,
            zone: None,
            orig: CtTuple {
                dst: Some(vip.0),
                dst_port: vip.1,
                ..CtTuple::default()
            },
            reply: CtTuple {
                src: Some(backend.0),
                src_port: backend.1,
                ..CtTuple::default()
            },
        };
        assert_eq!(flushes(&db(&[("ct_flush", "true")])), [expected]);
        assert_eq!(flushes(&sb::Db::default()), [expected]);
        assert_eq!(flushes(&db(&[])), []);
    }
}
