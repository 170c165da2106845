//! Connections that outlive the match of the ACL that let them begin (`ACL.options:persist-established`).
//!
//! Guarantees: a connection carries the number of such an ACL, and passes before any ACL is looked at for as long as the ACL
//! is there, is `allow-related` and asks for it; whatever its match or the other ACLs say by then. When the ACL goes, its
//! connections are judged as all others. Every such ACL has a row of `ACL_ID` under its own UUID, by which controllers know
//! the number; it keeps the number for its life, and a number that became free rests until the others have had their turn.

use weft_lang::{Action, Expr, Field, field};
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use super::frame::established;
use super::{blocked, set};
use crate::index::acl_persists;
use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::output::Output;
use crate::pipeline as p;
use crate::program::{Allocator, Cx, Fact, Key, Per};

/// What `ACL_ID.id` takes.
const NUMBERS: (u32, u32) = (1, 32767);

/// `ct_mark.allow_established` and `ct_label.acl_id`, by bits: controllers of 23.03 have no names for them.
const PERSISTS: Field = field::CT_MARK.bit(6);
const ACL: Field = field::CT_LABEL.bits(80..=95);

/// Allocates and publishes the number of an ACL (`u32`), and emits its row.
pub struct Numbers;

/// The number of an ACL whose connections persist. The reader lists [`Numbers`] among its `READS`.
pub fn number(cx: &Cx<'_>, acl: Uuid) -> Option<u32> {
    cx.value::<u32>(Numbers::ID, Key::Row(acl)).map(|n| *n)
}

impl Allocator for Numbers {
    const NAME: &'static str = "acl_number";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Acl)];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let uuid = key.row();
        let row = cx.acl(uuid);
        let Some(row) = row.filter(|acl| acl_persists(acl.action(), acl.options())) else {
            return Self::gone(ledgers, key, &mut |fact, _| cx.wake(fact));
        };
        let given = ledgers.acls.assign(key, None, NUMBERS, &mut |n| {
            changed_hands(Space::Acls, n, |fact| cx.wake(fact));
        });
        match given.number {
            Some(number) => {
                cx.track(number_fact(Space::Acls, number));
                cx.emit(Output::AclId(uuid, number));
                cx.publish(number);
            }
            None => {
                cx.track(number_fact(Space::Acls, 0));
                let name =
                    super::rule::called(row.name().as_ref(), row.direction(), *row.priority());
                let message = "all numbers are taken: its connections do not persist".to_owned();
                cx.diagnose::<nb::Acl>(&name, uuid, "options", message);
            }
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.acls.let_go(key, &mut |n| {
            changed_hands(Space::Acls, n, |fact| wake(fact, 1));
        });
    }
}

/// Has the number committed with the connection.
pub fn note(number: u32) -> [Action; 2] {
    [
        set(p::ACL_PERSIST, 1),
        set(p::ACL_NUMBER, u64::from(number)),
    ]
}

/// What is committed beside the rest.
pub fn remember() -> [Action; 2] {
    [
        Action::set(PERSISTS, 1),
        Action::Move(ACL, p::ACL_NUMBER.field()),
    ]
}

/// A packet of a connection that the ACL of a number let begin.
pub fn begun_by(number: u32, ct_inv: bool) -> Expr {
    Expr::all([
        established(ct_inv),
        blocked(false),
        PERSISTS.eq(1),
        ACL.eq(u64::from(number)),
    ])
}

#[cfg(test)]
mod tests {
    use weft_schemas::nb;

    use crate::output::Output;
    use crate::testing::{Bed, map};

    #[test]
    fn connections_of_an_acl_pass_while_it_is_there() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let acl = |direction: &str, action: &str, persists: &str| nb::Acl {
            action: action.into(),
            direction: direction.into(),
            match_: "tcp".into(),
            priority: 10,
            options: map([("persist-established", persists)]),
            ..nb::Acl::default()
        };
        let persistent = bed.insert(acl("to-lport", "allow-related", "true"));
        let others = [
            bed.insert(acl("to-lport", "allow-related", "false")),
            bed.insert(acl("to-lport", "drop", "true")),
            bed.insert(acl("from-lport", "allow", "true")),
        ];
        let acls = others.into_iter().chain([persistent]);
        bed.edit_switch(switch, |row| row.acls = acls.collect());
        insta::assert_snapshot!(bed.flows("ct_mark[6]") + &bed.flows("reg0[20] = 1"));
        let numbered = |bed: &Bed| -> Vec<_> {
            let rows = bed.outputs().filter_map(|output| match output {
                Output::AclId(acl, number) => Some((*acl, *number)),
                _ => None,
            });
            rows.collect()
        };
        assert_eq!(numbered(&bed), [(persistent, 1)]);
        bed.put(persistent, acl("to-lport", "drop", "true"));
        assert_eq!(bed.flows("ct_mark[6]"), "");
        assert_eq!(numbered(&bed), []);
    }
}
