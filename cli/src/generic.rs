//! The database commands that work on any table: ovs-vsctl(8), "Database Command Syntax".

mod condition;

use weft_ovsdb::model::listing::{Entry, Listing};
use weft_ovsdb::model::{Atom, ColumnArgument, ColumnSchema, ColumnType, Datum, Relation, Uuid};

use self::condition::Conditions;
use crate::command::{Command, Cx, MANY};
use crate::error::{Error, fail};
use crate::records;

/// The generic commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "list",
        args: (1, MANY),
        usage: "TBL [REC]...",
        options: &["--if-exists", "--columns="],
        tables: &[],
        help: "list RECord (or all records) in TBL",
        run: list,
    },
    Command {
        name: "find",
        args: (1, MANY),
        usage: "TBL [CONDITION]...",
        options: &["--columns="],
        tables: &[],
        help: "list records satisfying CONDITION in TBL",
        run: find,
    },
    Command {
        name: "get",
        args: (2, MANY),
        usage: "TBL REC [COL[:KEY]]...",
        options: &["--if-exists", "--id="],
        tables: &[],
        help: "print values of COLumns in RECord in TBL",
        run: get,
    },
    Command {
        name: "set",
        args: (3, MANY),
        usage: "TBL REC COL[:KEY]=VALUE...",
        options: &["--if-exists"],
        tables: &[],
        help: "set COLumn values in RECord in TBL",
        run: set,
    },
    Command {
        name: "add",
        args: (4, MANY),
        usage: "TBL REC COL [KEY=]VALUE...",
        options: &["--if-exists"],
        tables: &[],
        help: "add (KEY=)VALUE to COLumn in RECord in TBL",
        run: add,
    },
    Command {
        name: "remove",
        args: (4, MANY),
        usage: "TBL REC COL KEY|VALUE|KEY=VALUE...",
        options: &["--if-exists"],
        tables: &[],
        help: "remove (KEY=)VALUE from COLumn",
        run: remove,
    },
    Command {
        name: "clear",
        args: (3, MANY),
        usage: "TBL REC COL...",
        options: &["--if-exists"],
        tables: &[],
        help: "clear values from COLumn in RECord in TBL",
        run: clear,
    },
    Command {
        name: "create",
        args: (2, MANY),
        usage: "TBL COL[:KEY]=VALUE...",
        options: &["--id="],
        tables: &[],
        help: "create and initialize new record",
        run: create,
    },
    Command {
        name: "destroy",
        args: (1, MANY),
        usage: "TBL REC...",
        options: &["--if-exists", "--all"],
        tables: &[],
        help: "delete RECord from TBL",
        run: destroy,
    },
    Command {
        name: "wait-until",
        args: (2, MANY),
        usage: "TBL REC [COL[:KEY]=VALUE]...",
        options: &[],
        tables: &[],
        help: "wait until condition is true",
        run: wait_until,
    },
    Command {
        name: "comment",
        args: (0, MANY),
        usage: "[WORD]...",
        options: &[],
        tables: &[],
        help: "add WORDs to the transaction's comment",
        run: comment,
    },
];

/// Whether a command is one of these, so that its first argument names the table it needs.
pub fn is_generic(command: &Command) -> bool {
    COMMANDS
        .iter()
        .any(|c| c.name == command.name && c.name != "comment")
}

fn table_name(cx: &Cx<'_>) -> Result<String, Error> {
    Ok(records::table(cx.db, cx.arg(0))?.name.clone())
}

/// The columns of `--columns`, or all with `_uuid` first.
fn chosen_columns(cx: &Cx<'_>, table: &str) -> Result<Vec<ColumnSchema>, Error> {
    let schema = cx.db.table_schema(table)?;
    let Some(names) = cx.value("--columns") else {
        let all = schema.columns.values().cloned();
        return Ok(std::iter::once(records::uuid_column()).chain(all).collect());
    };
    let names = names.split([' ', ',']).filter(|name| !name.is_empty());
    let columns: Vec<_> = names
        .map(|name| records::column(schema, name, true))
        .collect::<Result<_, _>>()?;
    if columns.is_empty() {
        fail("must specify at least one column name")
    } else {
        Ok(columns)
    }
}

fn value_of(cx: &Cx<'_>, table: &str, uuid: Uuid, column: &ColumnSchema) -> Datum {
    if column.name == "_uuid" {
        return Datum::one(Atom::Uuid(uuid));
    }
    let row = cx.db.row(table, uuid);
    let value = row.and_then(|row| row.columns.get(&column.name).cloned());
    value.unwrap_or_else(|| Datum::default_of(&column.ty))
}

fn listing(cx: &Cx<'_>, table: &str, rows: &[Uuid]) -> Result<Listing, Error> {
    let columns = chosen_columns(cx, table)?;
    let row = |uuid: &Uuid| {
        let entry = |c: &ColumnSchema| Entry::value(&c.ty, &value_of(cx, table, *uuid, c));
        columns.iter().map(entry).collect()
    };
    Ok(Listing {
        caption: None,
        headings: columns.iter().map(|column| column.name.clone()).collect(),
        rows: rows.iter().map(row).collect(),
    })
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    chosen_columns(cx, &table)?;
    let mut rows = Vec::new();
    if cx.args.len() == 1 {
        rows.extend(cx.db.rows(&table).map(|(uuid, _)| uuid));
    }
    let optional = cx.has("--if-exists");
    for name in cx.args.iter().skip(1) {
        rows.extend(records::get(cx, &table, name, optional)?);
    }
    cx.listing = Some(listing(cx, &table, &rows)?);
    Ok(())
}

fn find(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    chosen_columns(cx, &table)?;
    let conditions = Conditions::parse(cx, &table, &cx.args[1..])?;
    let all: Vec<Uuid> = cx.db.rows(&table).map(|(uuid, _)| uuid).collect();
    let rows: Vec<Uuid> = all
        .into_iter()
        .filter(|uuid| conditions.hold(cx, &table, *uuid))
        .collect();
    cx.listing = Some(listing(cx, &table, &rows)?);
    Ok(())
}

fn argument<'t>(arg: &'t str, operators: &str) -> Result<ColumnArgument<'t>, Error> {
    ColumnArgument::parse(arg).map_err(|error| {
        // After a key, anything but an operator is what the stock tools describe by what they expect.
        if error.to_string().contains("trailing garbage") && !operators.is_empty() {
            Error::new(format!(
                "{arg}: argument does not end in {operators} followed by a value."
            ))
        } else {
            Error::new(error.to_string())
        }
    })
}

fn resolve_all(cx: &mut Cx<'_>, datum: Datum) -> Datum {
    match datum {
        Datum::Set(atoms) => {
            Datum::set(atoms.into_iter().map(|a| records::resolve(cx, a)).collect())
        }
        Datum::Map(pairs) => Datum::map(
            pairs
                .into_iter()
                .map(|(k, v)| (records::resolve(cx, k), records::resolve(cx, v)))
                .collect(),
        ),
    }
}

/// The name in `--id=@name`.
fn symbol<'a>(cx: &Cx<'a>) -> Result<Option<&'a str>, Error> {
    match cx.value("--id") {
        None => Ok(None),
        Some(id) => match id.strip_prefix('@') {
            Some(name) => Ok(Some(name)),
            None => fail(format!("row id \"{id}\" does not begin with \"@\"")),
        },
    }
}

fn get(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    let optional = cx.has("--if-exists");
    if cx.has("--id") && optional {
        return fail("--if-exists and --id may not be specified together");
    }
    let Some(uuid) = records::get(cx, &table, cx.arg(1), optional)? else {
        return Ok(());
    };
    if let Some(name) = symbol(cx)? {
        cx.symbols.bind(name, uuid)?;
    }
    for arg in &cx.args[2..] {
        let parsed = argument(arg, "")?;
        if parsed.value.is_some() {
            return fail(format!(
                "{arg}: trailing garbage \"{}\" in argument",
                &arg[parsed.column.len()..]
            ));
        }
        let column = records::column(cx.db.table_schema(&table)?, parsed.column, true)?;
        let value = value_of(cx, &table, uuid, &column);
        let Some(key) = parsed.key else {
            cx.line(value.to_text(&column.ty));
            continue;
        };
        if !column.ty.is_map() {
            return fail(format!(
                "cannot specify key to get for non-map column {}",
                column.name
            ));
        }
        let key_atom = Atom::parse(&column.ty.key, key)?;
        match value.value(&key_atom) {
            Some(value) => cx.line(value.to_text()),
            None if optional => cx.line(""),
            None => {
                let (record, column) = (cx.arg(1), &column.name);
                return fail(format!(
                    "no key \"{key}\" in {table} record \"{record}\" column {column}"
                ));
            }
        }
    }
    Ok(())
}

/// `COL[:KEY]=VALUE` done to a row.
pub(crate) fn assign(cx: &mut Cx<'_>, table: &str, uuid: Uuid, arg: &str) -> Result<(), Error> {
    let parsed = argument(arg, "\"=\"")?;
    let column = records::column(cx.db.table_schema(table)?, parsed.column, false)?;
    let Some((Relation::Equal, text)) = parsed.value.filter(|(_, text)| !text.is_empty()) else {
        return fail(format!(
            "{arg}: argument does not end in \"=\" followed by a value."
        ));
    };
    check_mutable(cx, table, uuid, &column)?;
    let Some(key) = parsed.key else {
        let value = resolve_all(cx, Datum::parse(&column.ty, text)?);
        return cx.db.set(table, uuid, &column.name, value);
    };
    let Some(value_type) = &column.ty.value else {
        return fail(format!(
            "cannot specify key to set for non-map column {}",
            column.name
        ));
    };
    let key = records::resolve(cx, Atom::parse(&column.ty.key, key)?);
    let value = records::resolve(cx, Atom::parse(value_type, text)?);
    let mut pairs = pairs_of(value_of(cx, table, uuid, &column));
    pairs.retain(|(k, _)| *k != key);
    pairs.push((key, value));
    cx.db.set(table, uuid, &column.name, Datum::map(pairs))
}

fn pairs_of(datum: Datum) -> Vec<(Atom, Atom)> {
    match datum {
        Datum::Map(pairs) => pairs,
        Datum::Set(_) => Vec::new(),
    }
}

fn atoms_of(datum: Datum) -> Vec<Atom> {
    match datum {
        Datum::Set(atoms) => atoms,
        Datum::Map(_) => Vec::new(),
    }
}

fn check_mutable(cx: &Cx<'_>, table: &str, uuid: Uuid, column: &ColumnSchema) -> Result<(), Error> {
    if column.mutable || cx.db.is_new(table, uuid) {
        return Ok(());
    }
    fail(format!(
        "cannot modify read-only column {} in table {table}",
        column.name
    ))
}

fn set(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    let optional = cx.has("--if-exists");
    let Some(uuid) = records::get(cx, &table, cx.arg(1), optional)? else {
        return Ok(());
    };
    cx.args[2..]
        .iter()
        .try_for_each(|arg| assign(cx, &table, uuid, arg))
}

/// The row and column of `add`, `remove`; `None` if the row need not exist and does not.
fn target(cx: &mut Cx<'_>) -> Result<Option<(String, Uuid, ColumnSchema)>, Error> {
    let table = table_name(cx)?;
    let optional = cx.has("--if-exists");
    let Some(uuid) = records::get(cx, &table, cx.arg(1), optional)? else {
        return Ok(None);
    };
    let column = records::column(cx.db.table_schema(&table)?, cx.arg(2), false)?;
    check_mutable(cx, &table, uuid, &column)?;
    Ok(Some((table, uuid, column)))
}

/// What the stock tools say when a column would hold too many or too few.
fn count_error(
    what: &str,
    count: usize,
    column: &ColumnSchema,
    table: &str,
    bound: &str,
    limit: usize,
) -> Error {
    let unit = if column.ty.is_map() {
        "pairs"
    } else {
        "values"
    };
    Error::new(format!(
        "\"{what}\" operation would put {count} {unit} in column {} of table {table} but the {bound} \
         number is {limit}",
        column.name
    ))
}

fn add(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some((table, uuid, column)) = target(cx)? else {
        return Ok(());
    };
    let any_number = ColumnType {
        min: 1,
        max: usize::MAX,
        ..column.ty.clone()
    };
    let mut value = value_of(cx, &table, uuid, &column);
    for arg in &cx.args[3..] {
        let more = resolve_all(cx, Datum::parse(&any_number, arg)?);
        value = match (value, more) {
            (Datum::Set(a), Datum::Set(b)) => Datum::set(a.into_iter().chain(b).collect()),
            (Datum::Map(mut a), Datum::Map(b)) => {
                a.retain(|(key, _)| !b.iter().any(|(k, _)| k == key));
                a.extend(b);
                Datum::map(a)
            }
            (value, _) => value,
        };
    }
    if value.len() > column.ty.max {
        return Err(count_error(
            "add",
            value.len(),
            &column,
            &table,
            "maximum",
            column.ty.max,
        ));
    }
    cx.db.set(&table, uuid, &column.name, value)
}

fn remove(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some((table, uuid, column)) = target(cx)? else {
        return Ok(());
    };
    let any_number = ColumnType {
        min: 1,
        max: usize::MAX,
        ..column.ty.clone()
    };
    let keys = ColumnType {
        value: None,
        ..any_number.clone()
    };
    let mut value = value_of(cx, &table, uuid, &column);
    for arg in &cx.args[3..] {
        value = if column.ty.is_map() {
            let mut pairs = pairs_of(value);
            match Datum::parse(&any_number, arg) {
                Ok(gone) => {
                    let gone = pairs_of(resolve_all(cx, gone));
                    pairs.retain(|pair| !gone.contains(pair));
                }
                // Not pairs: then keys, whatever their values.
                Err(_) => {
                    let gone = atoms_of(resolve_all(cx, Datum::parse(&keys, arg)?));
                    pairs.retain(|(key, _)| !gone.contains(key));
                }
            }
            Datum::map(pairs)
        } else {
            let gone = atoms_of(resolve_all(cx, Datum::parse(&any_number, arg)?));
            let mut atoms = atoms_of(value);
            atoms.retain(|atom| !gone.contains(atom));
            Datum::set(atoms)
        };
    }
    if value.len() < column.ty.min {
        return Err(count_error(
            "remove",
            value.len(),
            &column,
            &table,
            "minimum",
            column.ty.min,
        ));
    }
    cx.db.set(&table, uuid, &column.name, value)
}

fn clear(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    let optional = cx.has("--if-exists");
    let Some(uuid) = records::get(cx, &table, cx.arg(1), optional)? else {
        return Ok(());
    };
    for name in &cx.args[2..] {
        let column = records::column(cx.db.table_schema(&table)?, name, false)?;
        check_mutable(cx, &table, uuid, &column)?;
        if column.ty.min > 0 {
            return fail(format!(
                "\"clear\" operation cannot be applied to column {} of table {table}, which is not allowed to be empty",
                column.name
            ));
        }
        cx.db
            .set(&table, uuid, &column.name, Datum::default_of(&column.ty))?;
    }
    Ok(())
}

fn create(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    let named = symbol(cx)?
        .map(|name| cx.symbols.create(name))
        .transpose()?;
    if named.is_none() && !cx.db.table_schema(&table)?.is_root {
        tracing::warn!(
            target: "db_ctl_base",
            "applying \"create\" command to table {table} without --id option will have no effect"
        );
    }
    let uuid = cx.db.insert(&table, named)?;
    for arg in &cx.args[1..] {
        assign(cx, &table, uuid, arg)?;
    }
    cx.line(uuid.to_string());
    Ok(())
}

fn destroy(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    let (all, optional) = (cx.has("--all"), cx.has("--if-exists"));
    if all && cx.args.len() > 1 {
        return fail("--all and records argument should not be specified together");
    }
    if all && optional {
        return fail("--all and --if-exists should not be specified together");
    }
    if !all && cx.args.len() == 1 {
        tracing::warn!(target: "db_ctl_base", "either --all or records argument should be specified");
        return Ok(());
    }
    let mut rows: Vec<Uuid> = Vec::new();
    if all {
        rows.extend(cx.db.rows(&table).map(|(uuid, _)| uuid));
    }
    for name in &cx.args[1..] {
        rows.extend(records::get(cx, &table, name, optional)?);
    }
    rows.into_iter().for_each(|uuid| cx.db.delete(&table, uuid));
    Ok(())
}

fn wait_until(cx: &mut Cx<'_>) -> Result<(), Error> {
    let table = table_name(cx)?;
    let Some(uuid) = records::find(cx, &table, cx.arg(1))? else {
        cx.wait = true;
        return Ok(());
    };
    let conditions = Conditions::parse(cx, &table, &cx.args[2..])?;
    cx.wait = !conditions.hold(cx, &table, uuid);
    Ok(())
}

fn comment(cx: &mut Cx<'_>) -> Result<(), Error> {
    cx.comment = Some(cx.args.join(" "));
    Ok(())
}
