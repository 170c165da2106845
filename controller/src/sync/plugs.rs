//! What VIFs the controller plugs: asks the providers, keeps their answers, tells them what has become of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::vs;

use crate::bridge::OwnPort;
use crate::index::{Index, Indexes};
use crate::plug::{PLUGGED, Plan, Refusal, Request, VifPlug, providers};

/// Before a provider that refused is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// The ports to be plugged, and those that are.
#[derive(Debug)]
pub struct Plugs {
    providers: Vec<Box<dyn VifPlug>>,
    wanted: BTreeMap<Uuid, Wanted>,
    /// No longer wanted; their providers have still to be told that they are gone.
    leaving: Vec<(Arc<Request>, Plan)>,
}

#[derive(Debug)]
struct Wanted {
    request: Arc<Request>,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Refused(Refusal, Instant),
    Planned { plan: Plan, told: bool },
}

impl Default for Plugs {
    fn default() -> Self {
        Plugs::new(providers())
    }
}

impl Plugs {
    fn new(providers: Vec<Box<dyn VifPlug>>) -> Plugs {
        Plugs {
            providers,
            wanted: BTreeMap::new(),
            leaving: Vec::new(),
        }
    }

    pub(super) fn remove(&mut self, request: &Arc<Request>) -> Option<Str> {
        let wanted = self.wanted.get(&request.port)?;
        if wanted.request != *request {
            return None;
        }
        let wanted = self.wanted.remove(&request.port)?;
        let State::Planned { plan, .. } = wanted.state else {
            return None;
        };
        let name = plan.name.clone();
        self.leaving.push((wanted.request, plan));
        Some(name)
    }

    pub(super) fn add(&mut self, request: &Arc<Request>) {
        let wanted = Wanted {
            request: Arc::clone(request),
            state: State::New,
        };
        self.wanted.insert(request.port, wanted);
    }

    /// Asks providers that have not answered, and tells them what has come and gone. Returns the ports to be plugged now.
    pub(super) fn follow(&mut self, vs: &vs::Db, idx: &Indexes, now: Instant) -> Vec<Arc<OwnPort>> {
        let mut added = Vec::new();
        let there = |name: &Str, port: &Str| match idx.find(Index::VsPortByName, &**name).first() {
            None => There::No,
            Some(row) => match vs
                .port
                .get(*row)
                .and_then(|row| row.external_ids.get(PLUGGED))
            {
                Some(owner) if owner == port => There::Ours,
                _ => There::Foreign,
            },
        };
        for wanted in self.wanted.values_mut() {
            let request = &*wanted.request;
            let provider = self.providers.iter_mut();
            let provider = provider
                .into_iter()
                .find(|p| p.name() == &*request.provider);
            match &mut wanted.state {
                State::Refused(_, until) if *until > now => {}
                State::New | State::Refused(..) => {
                    let plan = provider
                        .ok_or_else(|| Refusal::NoProvider(request.provider.clone()))
                        .and_then(|provider| provider.prepare(request));
                    let plan =
                        plan.and_then(|plan| match there(&plan.name, &request.logical_port) {
                            There::Foreign => Err(Refusal::Taken(plan.name)),
                            _ => Ok(plan),
                        });
                    wanted.state = match plan {
                        Ok(plan) => {
                            added.push(Arc::new(own_port(request, &plan)));
                            State::Planned { plan, told: false }
                        }
                        Err(why) => State::Refused(why, now + AGAIN),
                    };
                }
                State::Planned { plan, told } if !*told => {
                    if let (There::Ours, Some(provider)) =
                        (there(&plan.name, &request.logical_port), provider)
                    {
                        provider.plugged(request, plan);
                        *told = true;
                    }
                }
                State::Planned { .. } => {}
            }
        }
        let providers = &mut self.providers;
        self.leaving.retain(|(request, plan)| {
            let stays = matches!(there(&plan.name, &request.logical_port), There::Ours);
            let provider = providers
                .iter_mut()
                .find(|p| p.name() == &*request.provider);
            if let (false, Some(provider)) = (stays, provider) {
                provider.unplugged(request, plan);
            }
            stays
        });
        added
    }

    /// The ports that cannot be plugged, and why.
    pub fn refused(&self) -> impl Iterator<Item = (Uuid, &Str, &Refusal)> {
        self.wanted
            .iter()
            .filter_map(|(port, wanted)| match &wanted.state {
                State::Refused(why, _) => Some((*port, &wanted.request.logical_port, why)),
                _ => None,
            })
    }
}

enum There {
    No,
    Ours,
    Foreign,
}

fn own_port(request: &Request, plan: &Plan) -> OwnPort {
    let mut ids: Vec<(Str, Str)> = vec![
        ("iface-id".into(), request.logical_port.clone()),
        (PLUGGED.into(), request.provider.clone()),
    ];
    ids.extend(
        request
            .version
            .iter()
            .map(|v| ("iface-id-ver".into(), v.clone())),
    );
    OwnPort {
        bridge: request.bridge.clone(),
        name: plan.name.clone(),
        kind: plan.kind.clone(),
        options: plan.options.clone(),
        bfd: Map::default(),
        mark: (PLUGGED, request.logical_port.clone()),
        ids: ids.into(),
        mtu: request.mtu,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use weft_ovsdb::model::RowUpdate;

    use super::*;
    use crate::core::Core;
    use crate::program::Settings;

    #[derive(Debug, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl VifPlug for Seen {
        fn name(&self) -> &'static str {
            "seen"
        }

        fn prepare(&mut self, request: &Request) -> Result<Plan, Refusal> {
            match request.options.nonempty("device") {
                None => Err(Refusal::NoDevice("none".into())),
                Some(name) => Ok(Plan {
                    name: name.clone(),
                    kind: "".into(),
                    options: Map::default(),
                }),
            }
        }

        fn plugged(&mut self, _: &Request, plan: &Plan) {
            self.0.lock().unwrap().push(format!("+{}", plan.name));
        }

        fn unplugged(&mut self, _: &Request, plan: &Plan) {
            self.0.lock().unwrap().push(format!("-{}", plan.name));
        }
    }

    fn request(device: Option<&str>) -> Arc<Request> {
        Arc::new(Request {
            port: Uuid(1),
            logical_port: "p".into(),
            version: None,
            provider: "seen".into(),
            options: device
                .map(|d| ("device".into(), d.into()))
                .into_iter()
                .collect(),
            mtu: Some(1400),
            bridge: "br-int".into(),
        })
    }

    #[test]
    fn a_provider_is_asked_until_it_can_and_told_what_came_of_it() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut plugs = Plugs::new(vec![Box::new(Seen(Arc::clone(&told)))]);
        let mut core = Core::new(Settings::default()).unwrap();
        let start = Instant::now();
        let follow = |plugs: &mut Plugs, core: &Core, after: Duration| {
            plugs.follow(&core.inputs.vs, &core.inputs.idx, start + after)
        };
        plugs.add(&request(None));
        assert!(follow(&mut plugs, &core, Duration::ZERO).is_empty());
        assert_eq!(plugs.refused().count(), 1);
        plugs.remove(&request(None));
        let wanted = request(Some("d0"));
        plugs.add(&wanted);
        let added = follow(&mut plugs, &core, Duration::ZERO);
        assert_eq!((&*added[0].name, added[0].mtu), ("d0", Some(1400)));
        assert!(told.lock().unwrap().is_empty());
        let port = |owner: &str| {
            let row = vs::Port {
                name: "d0".into(),
                external_ids: [(PLUGGED, owner)].into(),
                ..Default::default()
            };
            vec![RowUpdate::insert(Uuid(9), row).into()]
        };
        core.apply_vs(port("p"), false);
        follow(&mut plugs, &core, Duration::ZERO);
        follow(&mut plugs, &core, Duration::ZERO);
        assert_eq!(*told.lock().unwrap(), ["+d0"]);
        assert_eq!(plugs.remove(&wanted), Some("d0".into()));
        follow(&mut plugs, &core, Duration::ZERO);
        assert_eq!(told.lock().unwrap().len(), 1, "still there");
        core.apply_vs(vec![RowUpdate::<vs::Port>::delete(Uuid(9)).into()], false);
        follow(&mut plugs, &core, Duration::ZERO);
        assert_eq!(*told.lock().unwrap(), ["+d0", "-d0"]);

        core.apply_vs(port("somebody else's"), false);
        plugs.add(&wanted);
        assert!(follow(&mut plugs, &core, Duration::ZERO).is_empty());
        let why = plugs.refused().next().map(|(_, _, why)| why.clone());
        assert_eq!(why, Some(Refusal::Taken("d0".into())));
        core.apply_vs(vec![RowUpdate::<vs::Port>::delete(Uuid(9)).into()], false);
        assert!(follow(&mut plugs, &core, AGAIN / 2).is_empty());
        assert_eq!(follow(&mut plugs, &core, AGAIN * 2).len(), 1);
    }
}
