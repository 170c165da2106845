//! Samples of what ACLs decide (`sample_new`, `sample_est`, `Sampling_App`).
//!
//! Guarantees: `sample_new` samples what opens a connection, or is refused, or passes without connection tracking;
//! `sample_est` the packets of connections that the ACL let begin, in both directions, and what is related to them. Packets
//! of the other direction are known by the connection's label, which the sample's `metadata` takes over for that. Without an
//! application that says under which number (`acl-new`, `acl-est`) nothing is sampled, and that is told.

use weft_lang::Action;
use weft_lang::action::{ObsPoint, Sample};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use crate::program::Cx;
use crate::view::NbReads;

/// The samples of an ACL.
#[derive(Default)]
pub struct Samples {
    /// Taken of what opens a connection.
    pub new: Vec<Action>,
    /// Taken of what belongs to one.
    pub established: Vec<Action>,
    /// Label by which the latter are known.
    pub label: Option<u32>,
}

impl Samples {
    /// What an ACL asks for.
    pub fn of(
        cx: &Cx<'_>,
        row: &nb::AclRef<'_, NbReads<'_>>,
        complain: &dyn Fn(&'static str, String),
    ) -> Samples {
        let new = row.sample_new().map(|uuid| ("sample_new", uuid, "acl-new"));
        let established = row.sample_est().map(|uuid| ("sample_est", uuid, "acl-est"));
        let take = |wanted: Option<(&'static str, Uuid, &str)>| -> (Vec<Action>, Option<u32>) {
            let Some((column, uuid, app)) = wanted else {
                return (Vec::new(), None);
            };
            let Some(domain) = application(cx, app) else {
                let message = format!("there is no Sampling_App of type \"{app}\": not sampled");
                complain(column, message);
                return (Vec::new(), None);
            };
            samples(cx, uuid, domain)
        };
        let (new, _) = take(new);
        let (established, label) = take(established);
        Samples {
            new,
            established,
            label,
        }
    }
}

/// The number of an application.
pub fn application(cx: &Cx<'_>, wanted: &str) -> Option<u8> {
    let apps = cx.all(nb::TableId::SamplingApp).iter();
    let mut apps = apps.filter_map(|&app| cx.sampling_app(app));
    let app = apps.find(|app| &**app.type_() == wanted)?;
    u8::try_from(*app.id()).ok()
}

/// One per collector, and the point they tell.
fn samples(cx: &Cx<'_>, uuid: Uuid, obs_domain: u8) -> (Vec<Action>, Option<u32>) {
    let Some(row) = cx.sample(uuid) else {
        return (Vec::new(), None);
    };
    let Ok(point) = u32::try_from(*row.metadata()) else {
        return (Vec::new(), None);
    };
    let mut actions: Vec<Action> = row
        .collectors()
        .iter()
        .filter_map(|&collector| cx.sample_collector(collector))
        .filter_map(|collector| {
            Some(Action::Sample(Sample {
                probability: u16::try_from(*collector.probability())
                    .ok()
                    .filter(|p| *p > 0)?,
                collector_set: u32::try_from(*collector.set_id()).ok()?,
                obs_domain,
                obs_point: ObsPoint::Id(point),
            }))
        })
        .collect();
    actions.sort_unstable();
    actions.dedup();
    let label = (!actions.is_empty()).then_some(point);
    (actions, label)
}

#[cfg(test)]
mod tests {
    use weft_schemas::nb;

    use crate::testing::Bed;

    #[test]
    fn new_and_established_connections() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let collector = bed.insert(nb::SampleCollector {
            id: 1,
            probability: 65535,
            set_id: 78,
            ..nb::SampleCollector::default()
        });
        let sample = |bed: &mut Bed, metadata| {
            bed.insert(nb::Sample {
                collectors: [collector].into_iter().collect(),
                metadata,
            })
        };
        let (new, established) = (sample(&mut bed, 1001), sample(&mut bed, 1002));
        let acl = |action: &str, priority| nb::Acl {
            action: action.into(),
            direction: "to-lport".into(),
            match_: "ip4".into(),
            priority,
            label: 5,
            sample_new: Some(new),
            sample_est: Some(established),
            ..nb::Acl::default()
        };
        let acls = [
            bed.insert(acl("allow-related", 10)),
            bed.insert(acl("drop", 11)),
            bed.insert(acl("allow-stateless", 12)),
        ];
        bed.edit_switch(switch, |row| row.acls = acls.into_iter().collect());
        assert_eq!(bed.flows("sample("), "");
        assert!(
            bed.diagnostics()
                .contains("no Sampling_App of type \"acl-new\"")
        );
        for (kind, id) in [("acl-new", 11), ("acl-est", 12)] {
            bed.insert(nb::SamplingApp {
                type_: kind.into(),
                id,
                ..nb::SamplingApp::default()
            });
        }
        insta::assert_snapshot!(bed.flows("sample("));
        assert_eq!(bed.diagnostics(), "");
    }
}
