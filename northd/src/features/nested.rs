//! Tags of nested ports: which VLAN of the parent's interface is theirs.
//!
//! Guarantees: a tag stays with its port; ports that ask for any (`tag_request` 0) get one that no sibling asks for. The
//! tag is told in `Logical_Switch_Port.tag`.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;
use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::output::Output;
use crate::program::{Allocator, Cx, Fact, Key, Per, PortTrait};

/// Largest VLAN identifier.
const TAG_MAX: u32 = 4095;

/// Allocates and publishes, as `i64`.
pub struct NestedTag;

/// The scope of the tags within a parent.
pub fn scope(parent: &str) -> u64 {
    FxBuildHasher.hash_one(parent)
}

/// The tag of a nested port.
pub fn nested_tag(cx: &Cx<'_>, port: Uuid) -> Option<i64> {
    cx.value::<i64>(NestedTag::ID, Key::Row(port))
        .map(|tag| *tag)
}

impl Allocator for NestedTag {
    const NAME: &'static str = "nested_tag";
    const PER: &'static [Per] = &[Per::Ports(PortTrait::Nested)];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let parent = cx
            .lsp(key.row())
            .and_then(|lsp| lsp.parent_name().clone())
            .filter(|name| !name.is_empty());
        let request = cx.lsp(key.row()).and_then(|lsp| *lsp.tag_request());
        let (Some(parent), Some(request)) = (parent, request) else {
            Self::gone(ledgers, key, &mut |fact, _| cx.wake(fact));
            // Without a request the tag is the user's.
            if let Some(tag) = cx
                .lsp(key.row())
                .filter(|l| l.parent_name().is_some())
                .and_then(|l| *l.tag())
            {
                cx.publish(tag);
            }
            return;
        };
        let scope = scope(&parent);
        let wish = u32::try_from(request).ok().filter(|n| *n > 0);
        let given = ledgers
            .tags
            .assign(scope, key, wish, (1, TAG_MAX), &mut |scope, n| {
                changed_hands(Space::Tags(scope), n, |fact| cx.wake(fact));
            });
        for watched in wish.into_iter().chain(given.number) {
            cx.track(number_fact(Space::Tags(scope), watched));
        }
        let name = cx
            .lsp(key.row())
            .map(|lsp| lsp.name().clone())
            .unwrap_or_default();
        let say = |message: String| {
            cx.diagnose::<nb::LogicalSwitchPort>(&name, key.row(), "tag_request", message)
        };
        match given.number {
            _ if given.refused => say(format!(
                "another port within {parent} requests tag {request} too: no packets"
            )),
            Some(number) => {
                cx.emit(Output::LspTag(key.row(), i64::from(number)));
                cx.publish(i64::from(number));
            }
            None => {
                cx.track(number_fact(Space::Tags(scope), 0));
                say(format!("all tags within {parent} are taken"));
            }
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.tags.let_go(key, &mut |scope, n| {
            changed_hands(Space::Tags(scope), n, |fact| wake(fact, 1));
        });
    }
}
