//! Template variables, handed down to the chassis, and what `NB_Global` says about all load balancers.

use std::sync::Arc;

use weft_schemas::nb;

use crate::output::{Output, TemplateVars};
use crate::program::{Cx, Feature, Key, Per};

/// What `NB_Global` says about all load balancers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Globals {
    /// `options:controller_event`
    pub events: bool,
}

/// Per `Chassis_Template_Var`, and publishes [`Globals`].
pub struct Variables;

impl Feature for Variables {
    const NAME: &'static str = "template_variables";
    const PER: &'static [Per] = &[Per::All, Per::Nb(nb::TableId::ChassisTemplateVar)];

    fn run(cx: &Cx<'_>, key: Key) {
        if key == Key::Global {
            let events = cx
                .global_option("controller_event")
                .is_some_and(|v| &*v == "true");
            cx.publish(Globals { events });
            return;
        }
        if let Some(row) = cx.template_var(key.row()) {
            cx.emit(Output::TemplateVars(Arc::new(TemplateVars {
                chassis: row.chassis().clone(),
                variables: row.variables().clone(),
            })));
        }
    }
}
