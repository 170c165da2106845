//! The graph of kinds: layers by what is read, and its drawing.

use petgraph::algo::toposort;
use petgraph::dot::{Config, Dot};
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;

use crate::{Kind, Program};

/// Why a list of kinds is no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two kinds have one name.
    #[error("kind {0:?} is defined twice")]
    Duplicate(&'static str),
    /// A kind reads a kind that is not in the list.
    #[error("kind {kind:?} reads {reads:?}, which is not defined")]
    Unknown {
        /// The reader.
        kind: &'static str,
        /// What it reads.
        reads: &'static str,
    },
    /// Kinds read each other in a circle through this one.
    #[error("kind {0:?} reads itself through others")]
    Cycle(&'static str),
}

/// Names, layers and permitted reads of the kinds of one program.
pub(crate) struct Graph {
    by_name: FxHashMap<&'static str, u16>,
    /// Layer of each kind; 0 reads no other kind.
    pub layer: Vec<u16>,
    pub layers: usize,
    reads: Vec<Vec<u16>>,
    graph: DiGraph<&'static str, ()>,
}

impl Graph {
    pub fn new<P: Program>(kinds: &'static [Kind<P>]) -> Result<Graph, GraphError> {
        let mut by_name = FxHashMap::default();
        let mut graph = DiGraph::new();
        for (i, kind) in kinds.iter().enumerate() {
            if by_name.insert(kind.name, i as u16).is_some() {
                return Err(GraphError::Duplicate(kind.name));
            }
            graph.add_node(kind.name);
        }
        let mut reads = Vec::with_capacity(kinds.len());
        for (i, kind) in kinds.iter().enumerate() {
            let mut ids = Vec::with_capacity(kind.reads.len());
            for &name in kind.reads {
                let Some(&from) = by_name.get(name) else {
                    return Err(GraphError::Unknown {
                        kind: kind.name,
                        reads: name,
                    });
                };
                graph.add_edge(NodeIndex::new(usize::from(from)), NodeIndex::new(i), ());
                ids.push(from);
            }
            ids.sort_unstable();
            reads.push(ids);
        }
        let order = toposort(&graph, None).map_err(|c| GraphError::Cycle(graph[c.node_id()]))?;
        let mut layer = vec![0u16; kinds.len()];
        for node in order {
            let i = node.index();
            layer[i] = reads[i]
                .iter()
                .map(|&r| layer[usize::from(r)] + 1)
                .max()
                .unwrap_or(0);
        }
        let layers = layer.iter().max().map_or(0, |&l| usize::from(l) + 1);
        Ok(Graph {
            by_name,
            layer,
            layers,
            reads,
            graph,
        })
    }

    /// The index of a kind. Panics on a name that is not defined: a fault of the program, not of its input.
    pub fn index(&self, name: &'static str) -> u16 {
        match self.by_name.get(name) {
            Some(&i) => i,
            None => panic!("no kind is named {name:?}"),
        }
    }

    pub fn may_read(&self, reader: u16, read: u16) -> bool {
        self.reads[usize::from(reader)].binary_search(&read).is_ok()
    }

    pub fn dot(&self) -> String {
        let label = |_: &DiGraph<&'static str, ()>, (i, name): (NodeIndex, &&'static str)| {
            format!("label=\"{name}\\nlayer {}\"", self.layer[i.index()])
        };
        let config = [Config::EdgeNoLabel, Config::NodeNoLabel];
        let dot = Dot::with_attr_getters(&self.graph, &config, &|_, _| String::new(), &label);
        format!("{dot:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cx;

    struct Nothing;
    impl Program for Nothing {
        type Inputs = ();
        type Ledgers = ();
        type Fact = u8;
        type Key = u8;
        type Output = u8;
        type Diagnostic = u8;
        fn kinds() -> &'static [Kind<Self>] {
            &[]
        }
    }
    fn idle(_: &Cx<'_, Nothing>, _: u8) {}

    #[test]
    fn layers_follow_what_is_read() {
        const KINDS: &[Kind<Nothing>] = &[
            Kind::pure("flows", &["port", "switch"], idle),
            Kind::pure("switch", &[], idle),
            Kind::pure("port", &["switch"], idle),
        ];
        let graph = Graph::new(KINDS).unwrap();
        assert_eq!(graph.layer, [2, 0, 1]);
        assert!(graph.may_read(0, 1));
        assert!(!graph.may_read(1, 0));
        assert!(graph.dot().contains("switch\\nlayer 0"), "{}", graph.dot());
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        const CIRCLE: &[Kind<Nothing>] =
            &[Kind::pure("a", &["b"], idle), Kind::pure("b", &["a"], idle)];
        assert!(matches!(
            Graph::new(CIRCLE),
            Err(GraphError::Cycle("a" | "b"))
        ));
        const TWICE: &[Kind<Nothing>] = &[Kind::pure("a", &[], idle), Kind::pure("a", &[], idle)];
        assert_eq!(Graph::new(TWICE).err(), Some(GraphError::Duplicate("a")));
        const LOST: &[Kind<Nothing>] = &[Kind::pure("a", &["z"], idle)];
        assert_eq!(
            Graph::new(LOST).err(),
            Some(GraphError::Unknown {
                kind: "a",
                reads: "z"
            })
        );
    }
}
