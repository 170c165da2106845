//! `Logical_Switch_Port.up`: what the chassis say of a port's binding; ports to routers are always up.

use weft_schemas::nb;

use crate::index::ByName;
use crate::output::Output;
use crate::program::{Cx, Feature, Key, Per};

/// Emits `up`.
pub struct Up;

impl Feature for Up {
    const NAME: &'static str = "up";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lsp) = cx.lsp(key.row()) else { return };
        if cx.switch_of(key.row()).is_none() {
            return;
        }
        let up = &**lsp.type_() == "router" || !cx.by_name(ByName::BoundUp, lsp.name()).is_empty();
        cx.emit(Output::LspUp(key.row(), up));
    }
}
