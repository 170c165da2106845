//! What the stages of every datapath do with packets that no feature matches.
//!
//! Guarantees: each stage has such a flow, those of features to come included, so that the pipelines are whole at any time.
//! They are written once over the sets of all switches and all routers, from [`crate::pipeline`].

use weft_lang::{Action, Expr};

use crate::output::SetName;
use crate::pipeline::{DatapathKind, Fallback, Stage, priority};
use crate::program::{Cx, Feature, Key, Per};

/// One in all.
pub struct Fallbacks;

impl Feature for Fallbacks {
    const NAME: &'static str = "pipeline_fallbacks";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        for stage in Stage::ALL.iter().copied() {
            let datapaths = match stage.datapath() {
                DatapathKind::Switch => SetName::Switches,
                DatapathKind::Router => SetName::Routers,
            };
            let action = match stage.info().fallback {
                Fallback::Next => Action::NEXT,
                Fallback::Output => Action::Output,
                Fallback::Drop => Action::Drop,
                Fallback::Feature => continue,
            };
            cx.flow(
                datapaths,
                stage,
                priority::FALLBACK,
                Expr::TRUE,
                [action],
                None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::{DatapathKind, Stage};
    use crate::testing::Bed;

    #[test]
    fn no_stage_is_without() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
        let flows = bed.all_flows(" | 1 | ");
        for stage in Stage::ALL {
            let datapath = match stage.datapath() {
                DatapathKind::Switch => "sw",
                DatapathKind::Router => "r",
            };
            let start = format!("{datapath} {} ", stage.name());
            assert_eq!(
                flows
                    .lines()
                    .filter(|line| line.starts_with(&start))
                    .count(),
                1,
                "{start}: {flows}"
            );
        }
    }
}
