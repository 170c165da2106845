//! The pipelines as a page to read.

use std::fmt::Write as _;

use super::{DatapathKind, Fallback, MCAST_LEARNED_MIN, Mcast, Pipeline, REGISTERS, Scope, Stage};

/// The pipelines as a page of Markdown: what `docs/pipeline.md` holds.
pub fn reference() -> String {
    let mut page = String::from(
        "# Logical pipelines\n\n<!-- Generated from northd/src/pipeline: `WEFT_BLESS=1 cargo test -p weft-northd pipeline` -->\n\n\
         Names and numbers of the stages are those of OVN 23.03. *Otherwise* says what a stage does with a packet that none of\n\
         its flows matched.\n",
    );
    for datapath in [DatapathKind::Switch, DatapathKind::Router] {
        for pipeline in [Pipeline::Ingress, Pipeline::Egress] {
            let title = match datapath {
                DatapathKind::Switch => "Logical switch",
                DatapathKind::Router => "Logical router",
            };
            let _ = write!(page, "\n## {title}, {}\n\n", pipeline.as_str());
            page.push_str("| table | stage | purpose | otherwise |\n| ---: | --- | --- | --- |\n");
            let stages = Stage::ALL.iter().map(|stage| stage.info());
            for stage in
                stages.filter(|stage| stage.datapath == datapath && stage.pipeline == pipeline)
            {
                let otherwise = match stage.fallback {
                    Fallback::Next => "next",
                    Fallback::Output => "output",
                    Fallback::Drop => "drop",
                    Fallback::Feature => "see purpose",
                };
                let _ = writeln!(
                    page,
                    "| {} | `{}` | {} | {otherwise} |",
                    stage.table, stage.name, stage.purpose
                );
            }
        }
    }
    page.push_str(
        "\n## Registers\n\n| bits | where | name | meaning |\n| --- | --- | --- | --- |\n",
    );
    for (name, scope, field, meaning) in REGISTERS {
        let scope = match scope {
            Scope::Switch => "switches",
            Scope::Router => "routers",
            Scope::Both => "both",
        };
        let _ = writeln!(
            page,
            "| `{field}` | {scope} | `{name}` | {} |",
            meaning.trim()
        );
    }
    page.push_str("\n## Multicast groups of a switch\n\n| tunnel key | name |\n| ---: | --- |\n");
    let mut groups = Mcast::ALL;
    groups.sort_by_key(|group| group.tunnel_key());
    for group in groups {
        let _ = writeln!(page, "| {} | `{}` |", group.tunnel_key(), group.name());
    }
    let _ = writeln!(
        page,
        "| from {MCAST_LEARNED_MIN} | learned groups, by their address; of routers too |"
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_the_docs_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pipeline.md");
        if std::env::var_os("WEFT_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/pipeline.md is stale: run with WEFT_BLESS=1"
        );
    }
}
