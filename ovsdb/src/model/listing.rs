//! Tables of values in the output formats of ovs-vsctl(8) ("Table Formatting Options").

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::{ColumnType, Datum};

/// How rows and columns are arranged (`--format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// A line per column, an empty line between rows.
    #[default]
    List,
    /// An HTML table.
    Html,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// One JSON object.
    Json,
}

/// How values are written (`--data`). The format [`Json`](Format::Json) has its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataStyle {
    /// As users would write them.
    #[default]
    String,
    /// Without punctuation.
    Bare,
    /// As JSON.
    Json,
}

/// All about the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Arrangement.
    pub format: Format,
    /// Values.
    pub data: DataStyle,
    /// Whether there is a heading.
    pub headings: bool,
    /// Whether JSON gets line breaks (`--pretty`; the format JSON only).
    pub pretty: bool,
    /// Greatest width of a column in characters, its heading aside; 0 for no limit (the format table only).
    pub max_column_width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            format: Format::List,
            data: DataStyle::String,
            headings: true,
            pretty: false,
            max_column_width: 0,
        }
    }
}

impl Style {
    /// What `--bare` means.
    #[must_use]
    pub fn bare() -> Style {
        Style {
            data: DataStyle::Bare,
            headings: false,
            ..Style::default()
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "table" => Format::Table,
            "list" => Format::List,
            "html" => Format::Html,
            "csv" => Format::Csv,
            "json" => Format::Json,
            _ => return Err(format!("unknown output format \"{text}\"")),
        })
    }
}

impl std::str::FromStr for DataStyle {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "string" => DataStyle::String,
            "bare" => DataStyle::Bare,
            "json" => DataStyle::Json,
            _ => return Err(format!("unknown data format \"{text}\"")),
        })
    }
}

/// What is in one place of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// As [`DataStyle::String`] has it.
    text: String,
    /// As [`DataStyle::Bare`] has it.
    bare: String,
    json: Json,
}

impl Entry {
    /// A value of a column of that type.
    #[must_use]
    pub fn value(ty: &ColumnType, datum: &Datum) -> Entry {
        Entry {
            text: datum.to_text(ty),
            bare: datum.to_bare(),
            json: datum.to_json(),
        }
    }

    /// Text, the same in all styles.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Entry {
        let text = text.into();
        Entry {
            bare: text.clone(),
            json: Json::from(text.as_str()),
            text,
        }
    }

    fn shown(&self, style: DataStyle) -> std::borrow::Cow<'_, str> {
        match style {
            DataStyle::String => self.text.as_str().into(),
            DataStyle::Bare => self.bare.as_str().into(),
            DataStyle::Json => self.json.to_string().into(),
        }
    }
}

/// A table to be printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Said above it.
    pub caption: Option<String>,
    /// Names of its columns.
    pub headings: Vec<String>,
    /// Its rows, each as long as the headings.
    pub rows: Vec<Vec<Entry>>,
}

impl Listing {
    /// The table as text. Between tables printed one after the other goes what [`separator`] says.
    #[must_use]
    pub fn render(&self, style: &Style) -> String {
        let mut out = String::new();
        match style.format {
            Format::Table => self.table(style, &mut out),
            Format::List => self.list(style, &mut out),
            Format::Html => self.html(style, &mut out),
            Format::Csv => self.csv(style, &mut out),
            Format::Json => self.json(style, &mut out),
        }
        out
    }

    fn shown(&self, style: &Style) -> impl Iterator<Item = Vec<String>> {
        let data = style.data;
        self.rows.iter().map(move |row| {
            row.iter()
                .map(|entry| entry.shown(data).into_owned())
                .collect()
        })
    }

    fn table(&self, style: &Style, out: &mut String) {
        let rows: Vec<Vec<String>> = self.shown(style).collect();
        let limit = if style.max_column_width == 0 {
            usize::MAX
        } else {
            style.max_column_width
        };
        let width = |column: usize| {
            let widest = rows
                .iter()
                .map(|row| row[column].chars().count().min(limit))
                .max()
                .unwrap_or(0);
            let heading = if style.headings {
                self.headings[column].chars().count()
            } else {
                0
            };
            widest.max(heading)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        if let Some(caption) = &self.caption {
            let _ = writeln!(out, "{caption}");
        }
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            for (column, cell) in cells.enumerate() {
                let cell: String = cell.chars().take(widths[column]).collect();
                let (gap, last) = (
                    if column > 0 { " " } else { "" },
                    column + 1 == widths.len(),
                );
                let padding = if last { 0 } else { widths[column] };
                let _ = write!(out, "{gap}{cell:padding$}");
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        };
        if style.headings {
            line(&mut self.headings.iter().map(String::as_str));
            let rules: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
            line(&mut rules.iter().map(String::as_str));
        }
        for row in &rows {
            line(&mut row.iter().map(String::as_str));
        }
    }

    fn list(&self, style: &Style, out: &mut String) {
        if let Some(caption) = self.caption.as_ref().filter(|_| style.headings) {
            out.push_str(caption);
            out.push('\n');
        }
        for (number, row) in self.shown(style).enumerate() {
            if number > 0 {
                out.push('\n');
            }
            for (heading, value) in self.headings.iter().zip(row) {
                if style.headings {
                    let _ = write!(out, "{heading:20}: ");
                }
                out.push_str(&value);
                out.push('\n');
            }
        }
    }

    fn html(&self, style: &Style, out: &mut String) {
        let escaped = |text: &str| {
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
        };
        out.push_str("<table border=1>\n");
        if let Some(caption) = &self.caption {
            let _ = writeln!(out, "  <caption>{}</caption>", escaped(caption));
        }
        let mut line = |tag: &str, cells: &[String]| {
            out.push_str("  <tr>\n");
            for cell in cells {
                let _ = writeln!(out, "    <{tag}>{}</{tag}>", escaped(cell));
            }
            out.push_str("  </tr>\n");
        };
        if style.headings {
            line("th", &self.headings);
        }
        for row in self.shown(style) {
            line("td", &row);
        }
        out.push_str("</table>\n");
    }

    fn csv(&self, style: &Style, out: &mut String) {
        let quoted = |text: &str| {
            if text.contains(['"', ',', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let mut line = |cells: &[String]| {
            out.push_str(
                &cells
                    .iter()
                    .map(|cell| quoted(cell))
                    .collect::<Vec<_>>()
                    .join(","),
            );
            out.push('\n');
        };
        if let Some(caption) = &self.caption {
            line(std::slice::from_ref(caption));
        }
        if style.headings {
            line(&self.headings);
        }
        for row in self.shown(style) {
            line(&row);
        }
    }

    fn json(&self, style: &Style, out: &mut String) {
        let mut object = serde_json::Map::new();
        if let Some(caption) = &self.caption {
            object.insert("caption".into(), caption.as_str().into());
        }
        let rows = self
            .rows
            .iter()
            .map(|row| Json::Array(row.iter().map(|entry| entry.json.clone()).collect()));
        object.insert("data".into(), Json::Array(rows.collect()));
        object.insert("headings".into(), self.headings.clone().into());
        let json = Json::Object(object);
        if style.pretty {
            pretty(&json, 0, out);
        } else {
            let _ = write!(out, "{json}");
        }
        out.push('\n');
    }
}

/// What goes between two tables: an empty line where the format would otherwise let them run together.
#[must_use]
pub fn separator(format: Format) -> &'static str {
    match format {
        Format::Table | Format::List | Format::Csv => "\n",
        Format::Html | Format::Json => "",
    }
}

/// JSON with line breaks as Open vSwitch's tools print it: every member on a line, closing brackets after the last one.
pub fn pretty(json: &Json, depth: usize, out: &mut String) {
    let indent = |out: &mut String, first: bool| {
        out.push_str(if first { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
    };
    match json {
        Json::Array(items) if !items.is_empty() => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                indent(out, i == 0);
                pretty(item, depth + 1, out);
            }
            out.push(']');
        }
        Json::Object(members) if !members.is_empty() => {
            out.push('{');
            for (i, (name, value)) in members.iter().enumerate() {
                indent(out, i == 0);
                let _ = write!(out, "{}: ", Json::from(name.as_str()));
                pretty(value, depth + 1, out);
            }
            out.push('}');
        }
        _ => {
            let _ = write!(out, "{json}");
        }
    }
}
