//! Large sets and many groups: one more member costs what it means, not what was there before.

use weft_controller::core::Core;
use weft_controller::install::Installer;

use super::table::FlowTable;
use super::{address_set, port_group, rule, switch_with, switch_with_some};

const LARGE: usize = 10_000;
const GROUPS: usize = 200;

/// A core that has settled, and the flow table behind it.
struct Settled {
    core: Core,
    installer: Installer,
    table: FlowTable,
}

impl Settled {
    fn new(mut core: Core) -> Settled {
        let delta = core.run();
        let (mut installer, mut table) = (Installer::default(), FlowTable::default());
        installer.apply(delta.removed.iter(), delta.added.iter());
        table.take(&installer.batch(), EGRESS_ACL);
        Settled {
            core,
            installer,
            table,
        }
    }

    /// Applies a change; units that ran, outputs that came and went, messages to the bridge.
    fn change(&mut self, updates: Vec<weft_schemas::sb::Update>) -> [usize; 4] {
        self.core.apply_sb(updates, false);
        let delta = self.core.run();
        let (came, went) = (delta.added.len(), delta.removed.len());
        self.installer
            .apply(delta.removed.iter(), delta.added.iter());
        let sent = self.table.take(&self.installer.batch(), EGRESS_ACL);
        [delta.ran, came, went, sent]
    }
}

const EGRESS_ACL: u8 = weft_controller::tables::LOG_EGRESS + 4;

fn addresses(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|i| format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255))
}

#[test]
fn one_address_into_a_large_set() {
    let mut core = switch_with(3);
    core.apply_sb(
        vec![
            address_set(0, "big", addresses(LARGE)),
            port_group(0, "pg", [1, 2, 3]),
            rule(100, 1000, "outport == \"p1\" && ip4.src == $big && tcp"),
            // One dimension is the set: still one more flow.
            rule(101, 1000, "outport == @pg && ip4.src == $big && udp"),
            rule(102, 1000, "outport == \"p1\" && ip4"),
        ],
        false,
    );
    let mut settled = Settled::new(core);
    // The set, its parts as texts, the part that grew, and what it makes of the two rules that name the set.
    let few = 2 + 64 + 1 + 2;
    let grown = settled.change(vec![address_set(0, "big", addresses(LARGE + 1))]);
    assert_eq!(grown, [few, 2, 0, 2]);
    let shrunk = settled.change(vec![address_set(0, "big", addresses(LARGE))]);
    assert_eq!(shrunk, [few, 0, 2, 2]);
    // A set that nobody names.
    let unread = settled.change(vec![address_set(1, "idle", addresses(10))]);
    assert_eq!(unread, [3, 0, 0, 0]);
    // A rule that cannot leave the set open has all of it.
    let whole = settled.change(vec![rule(
        103,
        1000,
        "ip4.src == $big && ip4.src == 10.0.0.0/16",
    )]);
    assert_eq!(whole[1], LARGE);
    // A set that becomes small is read as a whole, with the same flows for whom stays.
    let small = settled.change(vec![address_set(0, "big", addresses(1000))]);
    assert_eq!(small[1..], [0, 3 * (LARGE - 1000), 3 * (LARGE - 1000)]);
    let large = settled.change(vec![address_set(0, "big", addresses(LARGE))]);
    assert_eq!(large[1..], [3 * (LARGE - 1000), 0, 3 * (LARGE - 1000)]);
}

#[test]
fn one_port_into_a_large_group() {
    let mut core = switch_with(LARGE + 1);
    core.apply_sb(
        vec![
            port_group(0, "pg", 1..=LARGE),
            rule(100, 1000, "outport == @pg && ip4 && tcp.dst == 80"),
        ],
        false,
    );
    let mut settled = Settled::new(core);
    let grown = settled.change(vec![port_group(0, "pg", 1..=LARGE + 1)]);
    assert_eq!(grown, [2, 1, 0, 1]);
}

/// Members on other hosts are no concern of this one.
#[test]
fn members_elsewhere_cost_nothing() {
    let mut core = switch_with_some(LARGE + 1, 3);
    core.apply_sb(
        vec![
            port_group(0, "pg", 1..=LARGE),
            rule(100, 1000, "outport == @pg && ip4 && tcp.dst == 80"),
        ],
        false,
    );
    let mut settled = Settled::new(core);
    let grown = settled.change(vec![port_group(0, "pg", 1..=LARGE + 1)]);
    assert_eq!(grown, [1, 0, 0, 0]);
    // One of the three here.
    let shrunk = settled.change(vec![port_group(0, "pg", 2..=LARGE)]);
    assert_eq!(shrunk, [2, 0, 1, 1]);
    // The other field of the pipeline can hold any port of the switch.
    let any = settled.change(vec![rule(
        100,
        1000,
        "inport == @pg && ip4 && tcp.dst == 80",
    )]);
    assert_eq!(any[1], LARGE - 1);
}

#[test]
fn one_port_into_many_groups() {
    let mut core = switch_with(50);
    let group = |n: usize, ports: usize| port_group(n, &format!("pg{n}"), 1..=ports);
    let mut rows = Vec::new();
    for n in 0..GROUPS {
        rows.push(group(n, 40));
        let text = format!("outport == @pg{n} && ip4 && tcp.dst == {}", n + 1);
        rows.push(rule(n as u32 + 100, 1000, &text));
    }
    core.apply_sb(rows, false);
    let mut settled = Settled::new(core);
    let grown = settled.change((0..GROUPS).map(|n| group(n, 41)).collect());
    assert_eq!(grown, [2 * GROUPS, GROUPS, 0, GROUPS]);
}

/// Rules that say the same have the same clauses: they are there once.
#[test]
fn clauses_are_shared() {
    let count = |rules: usize| {
        let mut core = switch_with(3);
        let mut rows = vec![
            address_set(0, "a", addresses(400)),
            port_group(0, "pg", [1, 2, 3]),
        ];
        for n in 0..rules {
            let text = format!(
                "outport == @pg && ip4.src == $a && tcp.dst == {{{}, 443, 8080}}",
                n + 1
            );
            rows.push(rule(n as u32 + 100, 1000, &text));
        }
        core.apply_sb(rows, false);
        let delta = core.run();
        let mut installer = Installer::default();
        installer.apply(delta.removed.iter(), delta.added.iter());
        FlowTable::default().take(&installer.batch(), EGRESS_ACL)
    };
    // Each rule adds one port of TCP and the flow that decides.
    assert_eq!(count(20), count(10) + 20);
}
