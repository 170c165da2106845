//! Numbers that flows of one router use among themselves: route tables, groups of next hops, chains of policies.
//!
//! Guarantees: whoever demands the unit of a name gets one number for it, which follows from the name unless two names
//! would have the same; nobody else's number changes when one comes or goes.

use weft_ovsdb::model::Uuid;

use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::program::{Allocator, Cx, Fact, Key, Per};

/// What is numbered; each sort on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Sort {
    /// Route tables.
    Table,
    /// Groups of equal routes.
    Routes,
    /// Policies with several next hops.
    Policy,
    /// Chains of policies.
    Chain,
}

/// Allocates and publishes, as `u32`.
pub struct Numbers;

const SORT_SHIFT: u32 = 120;

/// The unit of something that is known by a digest.
fn unit(router: Uuid, sort: Sort, digest: Uuid) -> Key {
    let rest = digest.0 << 8 >> 8;
    Key::Pair(router, Uuid(u128::from(sort as u8) << SORT_SHIFT | rest))
}

/// The number of something of a router; `None` for the moment until it is there.
pub fn number(cx: &Cx<'_>, router: Uuid, sort: Sort, digest: Uuid) -> Option<u32> {
    let key = unit(router, sort, digest);
    cx.demand(Numbers::ID, key);
    cx.value::<u32>(Numbers::ID, key).map(|number| *number)
}

impl Allocator for Numbers {
    const NAME: &'static str = "router_number";
    const PER: &'static [Per] = &[Per::Demand];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let Key::Pair(router, what) = key else { return };
        let sort = (what.0 >> SORT_SHIFT) as u8;
        // Tables have a register to themselves, the others half a one.
        let max = if sort == Sort::Table as u8 {
            u32::MAX
        } else {
            0xffff
        };
        let wish = 1 + (what.0 as u32) % max;
        let given = ledgers.routers.assign(
            (router, sort),
            key,
            Some(wish),
            (1, max),
            &mut |(router, sort), n| {
                changed_hands(Space::Router(router.into(), sort), n, |fact| cx.wake(fact));
            },
        );
        let space = Space::Router(router.into(), sort);
        cx.track(number_fact(space, wish));
        match given.number {
            Some(number) => {
                cx.track(number_fact(space, number));
                cx.publish(number);
            }
            None => cx.track(number_fact(space, 0)),
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.routers.let_go(key, &mut |(router, sort), n| {
            changed_hands(Space::Router(router.into(), sort), n, |fact| wake(fact, 1));
        });
    }
}
