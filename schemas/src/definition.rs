//! Reads schema definitions: the one place where tables and columns are written down.
//!
//! ```text
//! database OVN_Northbound 7.19.0
//!
//! /// What the table is for, in one line.
//! table Logical_Switch root {
//!     /// What the column is for, in one line.
//!     ports: set<strong Logical_Switch_Port>
//!     index name
//! }
//! ```
//!
//! * A table may be `root`, and `max N` limits its rows.
//! * A column may be `ephemeral` or `immutable`. Its type is an atom, `optional<atom>`, `set<atom>`, or
//!   `map<atom, atom>`; sets and maps may be followed by limits to their size, `[1..]` or `[..4096]`.
//! * An atom is `integer`, `real`, `boolean`, `string` or `uuid`, or a reference, `strong T` or `weak T`. In parentheses
//!   follow limits, of the value or of a string's length (`integer(0..65535)`, `string(..63)`), or all values allowed
//!   (`string("tcp" | "udp")`).
//!
//! This file is used by the build script as well and depends on nothing.

/// A database.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name on the server.
    pub name: String,
    /// Version of the schema, `x.y.z`.
    pub version: String,
    /// Its tables in the order of the file.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Name.
    pub name: String,
    /// What it is for.
    pub doc: String,
    /// Whether rows live without being referred to.
    pub root: bool,
    /// Greatest number of rows.
    pub max_rows: Option<u64>,
    /// Columns in the order of the file.
    pub columns: Vec<Column>,
    /// Groups of columns whose values together are unique.
    pub indexes: Vec<Vec<String>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// What it is for.
    pub doc: String,
    /// Whether its value is lost when the server restarts.
    pub ephemeral: bool,
    /// Whether its value can only be given when the row is inserted.
    pub immutable: bool,
    /// Type of its keys, or elements.
    pub key: Atom,
    /// Type of its values, if it is a map.
    pub value: Option<Atom>,
    /// Least number of elements: 0 or 1.
    pub min: u64,
    /// Greatest number of elements; `None` for no limit.
    pub max: Option<u64>,
}

/// Type of an atom.
#[derive(Clone, Debug, PartialEq)]
pub struct Atom {
    /// One of `integer`, `real`, `boolean`, `string`, `uuid`.
    pub kind: String,
    /// Least value, or length of a string.
    pub min: Option<String>,
    /// Greatest value, or length of a string.
    pub max: Option<String>,
    /// The only values allowed; as written, without quotes.
    pub choices: Vec<String>,
    /// The table referred to, and whether strongly.
    pub refers: Option<(String, bool)>,
}

impl Definition {
    /// Reads a definition; the error names the line.
    pub fn parse(text: &str) -> Result<Definition, String> {
        let mut definition = Definition {
            name: String::new(),
            version: String::new(),
            tables: Vec::new(),
        };
        let mut doc: Vec<&str> = Vec::new();
        let mut open: Option<Table> = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let error = |what: String| format!("line {}: {what}: {line}", number + 1);
            if let Some(words) = line.strip_prefix("///") {
                doc.push(words.trim());
                continue;
            }
            if line.is_empty() || line.starts_with("//") {
                continue;
            }
            let said = std::mem::take(&mut doc).join(" ");
            match (&mut open, line) {
                (None, _) if line.starts_with("database ") => {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    let [_, name, version] = words[..] else {
                        return Err(error("expected: database NAME VERSION".into()));
                    };
                    (definition.name, definition.version) = (name.to_owned(), version.to_owned());
                }
                (None, _) => open = Some(table(line, said).map_err(error)?),
                (Some(_), "}") => definition.tables.extend(open.take()),
                (Some(table), _) => match line.strip_prefix("index ") {
                    Some(columns) => table
                        .indexes
                        .push(columns.split(',').map(|c| c.trim().to_owned()).collect()),
                    None => table.columns.push(column(line, said).map_err(error)?),
                },
            }
        }
        match open {
            Some(table) => Err(format!("table {} is not closed", table.name)),
            None => definition.check().map(|()| definition),
        }
    }

    /// References and indexes name what exists; everything is described.
    fn check(&self) -> Result<(), String> {
        for table in &self.tables {
            let name = &table.name;
            if table.doc.is_empty() {
                return Err(format!("table {name} is not described"));
            }
            if table.columns.len() > 62 {
                return Err(format!(
                    "table {name} has more columns than fit into a mask"
                ));
            }
            for column in &table.columns {
                if column.doc.is_empty() {
                    return Err(format!(
                        "column {} of table {name} is not described",
                        column.name
                    ));
                }
                for (target, _) in [Some(&column.key), column.value.as_ref()]
                    .into_iter()
                    .flatten()
                    .filter_map(|a| a.refers.as_ref())
                {
                    if !self.tables.iter().any(|t| t.name == *target) {
                        return Err(format!(
                            "column {} of table {name} refers to unknown table {target}",
                            column.name
                        ));
                    }
                }
            }
            for column in table.indexes.iter().flatten() {
                if !table.columns.iter().any(|c| c.name == *column) {
                    return Err(format!(
                        "an index of table {name} has unknown column {column}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn table(line: &str, doc: String) -> Result<Table, String> {
    let mut words = line.split_whitespace();
    let (Some("table"), Some(name)) = (words.next(), words.next()) else {
        return Err("expected: table NAME [root] [max N] {".into());
    };
    let mut table = Table {
        name: name.to_owned(),
        doc,
        root: false,
        max_rows: None,
        columns: Vec::new(),
        indexes: Vec::new(),
    };
    loop {
        match words.next() {
            Some("root") => table.root = true,
            Some("max") => {
                let count = words.next().and_then(|n| n.parse().ok());
                table.max_rows = Some(count.ok_or("expected the greatest number of rows")?);
            }
            Some("{") => return Ok(table),
            _ => return Err("expected: table NAME [root] [max N] {".into()),
        }
    }
}

fn column(line: &str, doc: String) -> Result<Column, String> {
    let (head, ty) = line.split_once(':').ok_or("expected: NAME: TYPE")?;
    let mut words: Vec<&str> = head.split_whitespace().collect();
    let name = words.pop().ok_or("expected a name")?.to_owned();
    let mut flag = |word: &str| {
        words
            .iter()
            .position(|w| *w == word)
            .map(|at| words.remove(at))
            .is_some()
    };
    let (ephemeral, immutable) = (flag("ephemeral"), flag("immutable"));
    if !words.is_empty() {
        return Err(format!("unknown attribute {}", words[0]));
    }
    let ty = ty.trim();
    let (shape, inside, limits) = match ty.split_once('<') {
        Some((shape, rest)) => {
            let (inside, limits) = rest.rsplit_once('>').ok_or("expected >")?;
            (shape, inside, limits.trim())
        }
        None => ("", ty, ""),
    };
    let (min, max) = match limits {
        "" if matches!(shape, "set" | "map") => (0, None),
        "" => (u64::from(shape.is_empty()), Some(1)),
        _ => {
            let inner = limits
                .strip_prefix('[')
                .and_then(|l| l.strip_suffix(']'))
                .ok_or("expected [MIN..MAX]")?;
            let (min, max) = range(inner)?;
            let number = |n: String| {
                n.parse::<u64>()
                    .map_err(|_| "expected a number in [MIN..MAX]".to_owned())
            };
            (
                min.map(number).transpose()?.unwrap_or(0),
                max.map(number).transpose()?,
            )
        }
    };
    let (key, value) = match shape {
        "" | "optional" | "set" => (atom(inside)?, None),
        "map" => {
            let (key, value) = split_pair(inside).ok_or("expected map<KEY, VALUE>")?;
            (atom(key)?, Some(atom(value)?))
        }
        _ => return Err(format!("unknown type {shape}")),
    };
    Ok(Column {
        name,
        doc,
        ephemeral,
        immutable,
        key,
        value,
        min,
        max,
    })
}

/// Cuts at the comma that is not inside parentheses.
fn split_pair(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    let at = text.char_indices().find(|(_, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        *c == ',' && depth == 0
    })?;
    Some((&text[..at.0], &text[at.0 + 1..]))
}

fn range(text: &str) -> Result<(Option<String>, Option<String>), String> {
    let (min, max) = text.split_once("..").ok_or("expected MIN..MAX")?;
    let part = |p: &str| Some(p.trim().to_owned()).filter(|p| !p.is_empty());
    Ok((part(min), part(max)))
}

fn atom(text: &str) -> Result<Atom, String> {
    let text = text.trim();
    let (kind, inside) = match text.split_once('(') {
        Some((kind, rest)) => (kind, rest.strip_suffix(')').ok_or("expected )")?),
        None => (text, ""),
    };
    let mut atom = Atom {
        kind: kind.to_owned(),
        min: None,
        max: None,
        choices: Vec::new(),
        refers: None,
    };
    if let Some((strength @ ("strong" | "weak"), table)) = kind.split_once(' ') {
        atom.kind = "uuid".to_owned();
        atom.refers = Some((table.trim().to_owned(), strength == "strong"));
    } else if !matches!(kind, "integer" | "real" | "boolean" | "string" | "uuid") {
        return Err(format!("unknown type {kind}"));
    }
    if inside.contains("..") {
        (atom.min, atom.max) = range(inside)?;
    } else if !inside.is_empty() {
        atom.choices = inside
            .split('|')
            .map(|choice| choice.trim().trim_matches('"').to_owned())
            .collect();
    }
    Ok(atom)
}
