//! What a trace is before it is text: a tree of steps.

/// What a step is; decides in which forms of output it appears and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet enters a pipeline, or is copied to the members of a multicast group.
    Pipeline,
    /// A member of a multicast group: a pipeline, always set apart from its siblings.
    Member,
    /// A table was looked up.
    Table,
    /// An action, or a remark about one.
    Action,
    /// What an output comes to.
    Output,
    /// What comes below happens to a packet that an action made or changed.
    Transformation,
    /// A change of the packet, or its delivery: for the minimal form alone.
    Effect,
    /// Something a reader must not miss.
    Notice,
}

/// A step with those it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its text, without what only one form of output adds.
    pub text: String,
    /// The steps inside it.
    pub children: Vec<Node>,
}

impl Node {
    /// A step without steps inside.
    pub fn leaf(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            children: Vec::new(),
        }
    }

    /// A step with steps inside.
    pub fn new(kind: Kind, text: impl Into<String>, children: Vec<Node>) -> Self {
        Self {
            kind,
            text: text.into(),
            children,
        }
    }
}

/// Blanks for one level of indentation.
const LEVEL: usize = 4;

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n(' ', level * LEVEL));
}

/// ovn-trace(8), "Detailed Output": tables and flows. The last of several steps is not set apart, so that
/// a chain of tables does not wander to the right.
pub fn detailed(nodes: &[Node]) -> String {
    let mut out = String::new();
    write_detailed(&mut out, nodes, 0);
    out
}

fn write_detailed(out: &mut String, nodes: &[Node], level: usize) {
    for (at, node) in nodes.iter().enumerate() {
        let apart = at + 1 < nodes.len()
            || matches!(
                node.kind,
                Kind::Member | Kind::Action | Kind::Output | Kind::Notice
            );
        let titled = matches!(
            node.kind,
            Kind::Pipeline | Kind::Member | Kind::Transformation
        );
        if node.kind == Kind::Effect {
            continue;
        }
        let own = level + usize::from(apart);
        if titled {
            out.push('\n');
        }
        indent(out, own);
        out.push_str(&node.text);
        out.push('\n');
        if titled {
            indent(out, own);
            out.extend(std::iter::repeat_n('-', node.text.len()));
            out.push('\n');
        }
        write_detailed(out, &node.children, own + usize::from(apart));
    }
}

/// ovn-trace(8), "Summary Output": pipelines and actions, written like a program.
pub fn summary(nodes: &[Node]) -> String {
    let mut out = String::new();
    // Tables do not show, and of jumps only the plain one.
    write_blocks(&mut out, nodes, 0, &|node| match node.kind {
        Kind::Table => Shown::Inside,
        Kind::Effect => Shown::No,
        Kind::Action if node.text.starts_with("next(") => Shown::Inside,
        _ => Shown::Yes,
    });
    out
}

/// ovn-trace(8), "Minimal Output": what happens to the packet as seen from outside.
pub fn minimal(nodes: &[Node]) -> String {
    let mut out = String::new();
    write_blocks(&mut out, nodes, 0, &|node| match node.kind {
        Kind::Effect | Kind::Notice | Kind::Transformation => Shown::Yes,
        _ => Shown::Inside,
    });
    out
}

/// How much of a step a form of output has.
enum Shown {
    Yes,
    /// Only the steps in it.
    Inside,
    No,
}

fn write_blocks(out: &mut String, nodes: &[Node], level: usize, shown: &dyn Fn(&Node) -> Shown) {
    for node in nodes {
        match shown(node) {
            Shown::No => {}
            Shown::Inside => write_blocks(out, &node.children, level, shown),
            Shown::Yes => {
                let mut inside = String::new();
                write_blocks(&mut inside, &node.children, level + 1, shown);
                indent(out, level);
                out.push_str(
                    node.text
                        .strip_suffix(';')
                        .filter(|_| node.kind != Kind::Action)
                        .unwrap_or(&node.text),
                );
                if !inside.is_empty() {
                    out.push_str(" {\n");
                    out.push_str(&inside);
                    indent(out, level);
                    out.push('}');
                }
                // Actions end with their own semicolon, and remarks on them have none.
                out.push_str(if node.kind == Kind::Action {
                    "\n"
                } else {
                    ";\n"
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Node> {
        let egress = Node::new(
            Kind::Pipeline,
            "egress(b)",
            vec![Node::new(
                Kind::Table,
                " 0. out",
                vec![
                    Node::leaf(Kind::Action, "output;"),
                    Node::leaf(Kind::Effect, "output(\"b\")"),
                ],
            )],
        );
        let table = Node::new(
            Kind::Table,
            " 0. in",
            vec![
                Node::leaf(Kind::Action, "ip.ttl--;"),
                Node::leaf(Kind::Effect, "ip.ttl--"),
                Node::leaf(Kind::Action, "next(2);"),
                Node::new(
                    Kind::Table,
                    " 2. more",
                    vec![Node::leaf(Kind::Action, "output;"), egress],
                ),
            ],
        );
        vec![Node::new(Kind::Pipeline, "ingress(a)", vec![table])]
    }

    #[test]
    fn tail_is_not_indented() {
        let text = "\ningress(a)\n----------\n 0. in\n    ip.ttl--;\n    next(2);\n 2. more\n    output;\n\n\
                    egress(b)\n---------\n 0. out\n    output;\n";
        assert_eq!(detailed(&sample()), text);
    }

    #[test]
    fn blocks() {
        let text = "ingress(a) {\n    ip.ttl--;\n    output;\n    egress(b) {\n        output;\n    };\n};\n";
        assert_eq!(summary(&sample()), text);
        assert_eq!(minimal(&sample()), "ip.ttl--;\noutput(\"b\");\n");
    }
}
