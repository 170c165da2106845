//! Egress queues of ports: which queue shapes what a port sends out of its host.
//!
//! Guarantees: a port with a rate (`options:qos_max_rate`, `qos_min_rate`, `qos_burst`) has a queue that no other port of
//! its chassis has, and keeps it for as long as it is there; localnet ports are on every chassis and have numbers that no
//! VIF gets. `options:qdisc_queue_id` is honoured; without a rate it names a queue that is somebody else's business, and
//! several ports may name the same.

use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::nb;

use crate::index::{ByName, PortType};
use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::program::{Allocator, Cx, Fact, Key, Per, PortTrait};

/// Highest number of a queue: what `set_queue` takes (ovn-sb(5)).
const MAX_QUEUE: u32 = 61440;
/// Numbers of what is bound to a chassis; those above are for localnet ports.
const MAX_BOUND: u32 = 57344;

/// The options that ask for a queue, in bits per second and bits.
const RATES: [&str; 3] = ["qos_max_rate", "qos_min_rate", "qos_burst"];

/// The queue of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queue {
    /// Its number.
    pub number: u32,
    /// The physical network that the port's switch is on, where the queue is.
    network: Option<Str>,
}

impl Queue {
    /// The options of the southbound port.
    pub fn written_into(&self, options: &Map<Str, Str>) -> Map<Str, Str> {
        let number = Str::from(self.number.to_string());
        let ours = [
            ("qdisc_queue_id", Some(number)),
            ("qos_physical_network", self.network.clone()),
        ];
        let users = options
            .iter()
            .filter(|(key, _)| ours.iter().all(|(ours, _)| **key != **ours));
        let ours = ours
            .iter()
            .filter_map(|(key, value)| Some(((*key).into(), value.clone()?)));
        users.cloned().chain(ours).collect()
    }
}

/// Allocates and publishes [`Queue`]s.
pub struct Queues;

/// The queue of a port.
pub fn queue(cx: &Cx<'_>, port: Uuid) -> Option<std::sync::Arc<Queue>> {
    cx.lsp(port).filter(|row| concerns(row.options()))?;
    cx.value::<Queue>(Queues::ID, Key::Row(port))
}

/// Something in the options is about queues.
pub fn concerns(options: &Map<Str, Str>) -> bool {
    let mut all = RATES.iter().chain(&["qdisc_queue_id"]);
    all.any(|option| options.contains_key(*option))
}

/// Within what the queue of a port must be unique: its chassis, or zero for all of them. None if it needs no queue of its
/// own, or is nowhere.
pub fn scope(
    kind: &str,
    options: &Map<Str, Str>,
    chassis: impl FnOnce() -> Option<Uuid>,
) -> Option<Uuid> {
    if !RATES
        .iter()
        .any(|rate| options.get(*rate).is_some_and(|value| !value.is_empty()))
    {
        return None;
    }
    match PortType::parse(kind) {
        PortType::Router => None,
        PortType::Localnet => Some(Uuid::ZERO),
        _ => chassis(),
    }
}

impl Allocator for Queues {
    const NAME: &'static str = "queue";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Shaped)];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let uuid = key.row();
        let lsp = cx.lsp(uuid).filter(|_| cx.switch_of(uuid).is_some());
        let Some(lsp) = lsp else {
            Self::gone(ledgers, key, &mut |fact, _| cx.wake(fact));
            return;
        };
        let complain = |column: &'static str, message: String| {
            cx.diagnose::<nb::LogicalSwitchPort>(lsp.name(), uuid, column, message);
        };
        check_rates(lsp.options(), &complain);
        let text = lsp.options().get("qdisc_queue_id");
        let wish: Option<u32> = text
            .and_then(|text| text.parse().ok())
            .filter(|n| *n <= MAX_QUEUE);
        if let (Some(text), None) = (text, wish) {
            let message =
                format!("\"{text}\" is not between 0 and {MAX_QUEUE}: the port has no such queue");
            complain("options:qdisc_queue_id", message);
        }
        let Some(scope) = scope(lsp.type_(), lsp.options(), || chassis(cx, lsp.name())) else {
            Self::gone(ledgers, key, &mut |fact, _| cx.wake(fact));
            if let Some(number) = wish {
                cx.publish(Queue {
                    number,
                    network: None,
                });
            }
            return;
        };
        let range = match scope {
            Uuid::ZERO => (MAX_BOUND + 1, MAX_QUEUE),
            _ => (1, MAX_BOUND),
        };
        let space = Space::Queues(scope.into());
        let wish = wish.filter(|number| *number > 0);
        let given = ledgers
            .queues
            .assign(scope, key, wish, range, &mut |scope, n| {
                changed_hands(Space::Queues(scope.into()), n, |fact| cx.wake(fact));
            });
        for watched in wish.into_iter().chain(given.number) {
            cx.track(number_fact(space, watched));
        }
        if let (true, Some(wish)) = (given.refused, wish) {
            let message =
                format!("{wish} is the queue of another port of the chassis: another one is used");
            complain("options:qdisc_queue_id", message);
        }
        match given.number {
            Some(number) => cx.publish(Queue {
                number,
                network: network(cx, uuid),
            }),
            None => {
                cx.track(number_fact(space, 0));
                complain(
                    "options",
                    "all queues of the chassis are taken: what the port sends is not shaped"
                        .to_owned(),
                );
            }
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.queues.let_go(key, &mut |scope, n| {
            changed_hands(Space::Queues(scope.into()), n, |fact| wake(fact, 1));
        });
    }
}

/// Tells which rates no controller can use; they are handed down as they are.
fn check_rates(options: &Map<Str, Str>, complain: &dyn Fn(&'static str, String)) {
    let columns = [
        "options:qos_max_rate",
        "options:qos_min_rate",
        "options:qos_burst",
    ];
    for (rate, column) in RATES.iter().zip(columns) {
        if let Some(text) = options
            .get(*rate)
            .filter(|text| text.parse::<u64>().is_err())
        {
            complain(
                column,
                format!("\"{text}\" is not a number of bits: it is left out"),
            );
        }
    }
}

/// The chassis that has the port.
fn chassis(cx: &Cx<'_>, name: &str) -> Option<Uuid> {
    let row = cx.by_name(ByName::Binding, name).first()?;
    *cx.binding(*row)?.chassis()
}

/// The physical network that the port's switch has a way to: of several the one of the port with the lowest UUID.
fn network(cx: &Cx<'_>, port: Uuid) -> Option<Str> {
    let localnets = cx.ports_of(cx.switch_of(port)?, PortType::Localnet);
    let localnet = cx.lsp(*localnets.first()?)?;
    localnet.options().get("network_name").cloned()
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::{Set, Uuid};
    use weft_schemas::{nb, sb};

    use crate::output::Output;
    use crate::testing::{Bed, map};

    /// A row of `Port_Binding` on a chassis.
    fn bind(bed: &mut Bed, row: u128, port: &str, chassis: Option<u128>) {
        let binding = sb::PortBinding {
            logical_port: port.into(),
            chassis: chassis.map(Uuid),
            ..sb::PortBinding::default()
        };
        bed.sb_put(Uuid(row), binding);
    }

    /// Queue and network of every port that has one.
    fn queues(bed: &mut Bed) -> String {
        bed.flows("");
        let mut lines: Vec<String> = Vec::new();
        for output in bed.outputs() {
            let Output::Port(port) = output else { continue };
            let option = |name: &str| port.options.get(name).map_or("-", |text| text);
            let queue = option("qdisc_queue_id");
            if queue != "-" {
                lines.push(format!(
                    "{} {queue} {}",
                    port.logical_port,
                    option("qos_physical_network")
                ));
            }
        }
        lines.sort();
        lines.join(", ")
    }

    #[test]
    fn queues_are_unique_within_a_chassis_and_stay() {
        let mut bed = Bed::new();
        let switch = bed.switch("s");
        for name in ["a", "b", "c"] {
            bed.port(switch, name, |row| {
                row.options = map([("qos_max_rate", "1000")])
            });
        }
        assert_eq!(queues(&mut bed), "", "nobody knows where they are");
        bind(&mut bed, 71, "a", Some(1));
        assert_eq!(queues(&mut bed), "a 1 -");
        bind(&mut bed, 72, "b", Some(1));
        bind(&mut bed, 73, "c", Some(2));
        assert_eq!(queues(&mut bed), "a 1 -, b 2 -, c 1 -");
        let localnet = bed.port(switch, "ln", |row| {
            row.type_ = "localnet".into();
            row.options = map([("network_name", "phys"), ("qos_min_rate", "5")]);
        });
        assert_eq!(
            queues(&mut bed),
            "a 1 phys, b 2 phys, c 1 phys, ln 57345 phys"
        );
        insta::assert_snapshot!(bed.flows("set_queue"));
        bed.remove_port(localnet);
        bind(&mut bed, 72, "b", Some(2));
        assert_eq!(
            queues(&mut bed),
            "a 1 -, b 2 -, c 1 -",
            "a chassis of its own numbers"
        );
        bind(&mut bed, 71, "a", None);
        assert_eq!(queues(&mut bed), "b 2 -, c 1 -");
    }

    #[test]
    fn wishes_and_nonsense() {
        let mut bed = Bed::new();
        let switch = bed.switch("s");
        let shaped = |queue: &'static str| {
            move |row: &mut nb::LogicalSwitchPort| {
                row.options = map([("qos_burst", "9"), ("qdisc_queue_id", queue)]);
            }
        };
        bed.port(switch, "a", shaped("7"));
        bed.port(switch, "b", shaped("7"));
        bed.port(switch, "c", shaped("61441"));
        bed.port(switch, "d", |row| {
            row.options = map([("qos_max_rate", "fast"), ("qdisc_queue_id", "7")])
        });
        bed.port(switch, "e", |row| {
            row.options = map([("qdisc_queue_id", "7")])
        });
        for (row, name) in [(71, "a"), (72, "b"), (73, "c")] {
            bind(&mut bed, row, name, Some(1));
        }
        assert_eq!(queues(&mut bed), "a 7 -, b 1 -, c 2 -, d 7 -, e 7 -");
        insta::assert_snapshot!(bed.diagnostics());
        let ports: Set<Uuid> = Set::default();
        bed.edit_switch(switch, |row| row.ports = ports);
        assert_eq!(queues(&mut bed), "");
    }
}
