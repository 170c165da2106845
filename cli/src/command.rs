//! Commands as data: one table drives parser, help, completion and suggestions.

use std::collections::BTreeMap;

use weft_ovsdb::model::Uuid;
use weft_ovsdb::model::listing::Listing;

use crate::error::{Error, fail, nearest};
use crate::records::RecordId;
use crate::replica::Replica;

/// A command of a tool.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// As typed.
    pub name: &'static str,
    /// Least and greatest number of arguments.
    pub args: (usize, usize),
    /// The arguments, for help.
    pub usage: &'static str,
    /// Options it takes: `--flag`, `--with=` (needs a value), `--maybe?` (may have one).
    pub options: &'static [&'static str],
    /// Tables it looks at or changes. Generic commands find theirs among their arguments.
    pub tables: &'static [&'static str],
    /// What it does.
    pub help: &'static str,
    /// Does it.
    pub run: fn(&mut Cx<'_>) -> Result<(), Error>,
}

impl Command {
    /// One line of a table of commands.
    pub const fn new(
        name: &'static str,
        args: (usize, usize),
        usage: &'static str,
        options: &'static [&'static str],
        tables: &'static [&'static str],
        help: &'static str,
        run: fn(&mut Cx<'_>) -> Result<(), Error>,
    ) -> Self {
        Self {
            name,
            args,
            usage,
            options,
            tables,
            help,
            run,
        }
    }
}

/// No limit on the number of arguments.
pub const MANY: usize = usize::MAX;

/// Commands under a heading of the help text.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The commands.
    pub commands: &'static [Command],
}

/// A tool: what differs between `nbctl` and `sbctl`.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// `weft-nbctl`.
    pub weft: &'static str,
    /// `ovn-nbctl`.
    pub ovn: &'static str,
    /// Said at the top of the help text.
    pub about: &'static str,
    /// Name of the database.
    pub database: &'static str,
    /// Where the database is unless said otherwise.
    pub default_db: fn() -> String,
    /// Its commands.
    pub groups: &'static [Group],
    /// How rows of its tables are named.
    pub records: &'static [RecordId],
    /// The table with one row for the whole.
    pub global: &'static str,
    /// Whether there are `--wait` and what belongs to it.
    pub waits: bool,
}

impl Tool {
    /// All commands, the generic ones included.
    pub fn commands(&self) -> impl Iterator<Item = &'static Command> {
        self.groups.iter().flat_map(|group| group.commands)
    }

    /// A command by name.
    pub fn command(&self, name: &str) -> Result<&'static Command, Error> {
        match self.commands().find(|command| command.name == name) {
            Some(command) => Ok(command),
            None => {
                let error = Error::new(format!("unknown command '{name}'; use --help for help"));
                Err(
                    match nearest(name, self.commands().map(|command| command.name)) {
                        Some(near) => error.help(format!("did you mean '{near}'?")),
                        None => error,
                    },
                )
            }
        }
    }
}

/// Names given to rows with `--id=@name`, and whether a row was made for them.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    names: BTreeMap<String, Symbol>,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    uuid: Uuid,
    created: bool,
}

impl Symbols {
    /// The UUID that stands for a name (without `@`).
    pub fn resolve(&mut self, name: &str) -> Uuid {
        let fresh = || Symbol {
            uuid: Uuid::random(),
            created: false,
        };
        self.names
            .entry(name.to_string())
            .or_insert_with(fresh)
            .uuid
    }

    /// Gives a name to a row that is about to be made.
    pub fn create(&mut self, name: &str) -> Result<Uuid, Error> {
        let uuid = self.resolve(name);
        let symbol = self.names.get_mut(name).filter(|symbol| !symbol.created);
        match symbol {
            Some(symbol) => {
                symbol.created = true;
                Ok(uuid)
            }
            None => fail(format!(
                "row id \"@{name}\" may only be specified on one --id option"
            )),
        }
    }

    /// Gives a name to a row that exists.
    pub fn bind(&mut self, name: &str, uuid: Uuid) -> Result<(), Error> {
        self.create(name)?;
        self.names.insert(
            name.to_string(),
            Symbol {
                uuid,
                created: true,
            },
        );
        Ok(())
    }

    /// A name that nothing was made for is a mistake.
    pub fn check(&self) -> Result<(), Error> {
        match self.names.iter().find(|(_, symbol)| !symbol.created) {
            None => Ok(()),
            Some((name, _)) => fail(format!(
                "row id \"@{name}\" is referenced but never created (e.g. with \"-- --id=@{name} create ...\")"
            )),
        }
    }
}

/// What a running command has at hand.
pub struct Cx<'a> {
    /// The tool.
    pub tool: &'static Tool,
    /// The tables.
    pub db: &'a mut Replica,
    /// Arguments, the command's name not among them.
    pub args: &'a [String],
    /// Options given, with their values.
    pub options: &'a BTreeMap<String, Option<String>>,
    /// Names of rows.
    pub symbols: &'a mut Symbols,
    /// What will be printed if the transaction succeeds.
    pub out: String,
    /// Or as a table.
    pub listing: Option<Listing>,
    /// What the command waits for is not so yet.
    pub wait: bool,
    /// Goes into the database server's log with the transaction.
    pub comment: Option<String>,
}

impl<'a> Cx<'a> {
    /// An argument; empty if it was not given (optional ones).
    pub fn arg(&self, at: usize) -> &'a str {
        self.args.get(at).map_or("", String::as_str)
    }

    /// Whether an option was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    /// Value of an option.
    pub fn value(&self, option: &str) -> Option<&'a str> {
        self.options.get(option)?.as_deref()
    }

    /// Adds a line to the output.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }
}

/// A command as the user gave it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Which.
    pub command: &'static Command,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its options.
    pub options: BTreeMap<String, Option<String>>,
}

/// Cuts a command line (after the global options) into commands.
pub fn parse(
    tool: &'static Tool,
    words: &[String],
    leading: BTreeMap<String, Option<String>>,
) -> Result<Vec<Invocation>, Error> {
    let mut invocations = Vec::new();
    let mut leading = Some(leading);
    for part in words.split(|word| word == "--") {
        if part.is_empty() {
            // Options that came before it are those of the first command all the same.
            continue;
        }
        let options = leading.take().unwrap_or_default();
        invocations.push(one(tool, part, options)?);
    }
    if invocations.is_empty() {
        return fail("missing command name (use --help for help)");
    }
    Ok(invocations)
}

fn one(
    tool: &'static Tool,
    words: &[String],
    mut options: BTreeMap<String, Option<String>>,
) -> Result<Invocation, Error> {
    let mut words = words;
    while let Some((word, rest)) = words.split_first()
        && word.starts_with('-')
    {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word.as_str(), None),
        };
        if options.insert(name.to_string(), value).is_some() {
            return fail(format!("'{name}' option specified multiple times"));
        }
        words = rest;
    }
    let Some((name, args)) = words.split_first() else {
        return fail("missing command name (use --help for help)");
    };
    let command = tool.command(name)?;
    for (option, value) in &options {
        check_option(command, option, value.as_deref())?;
    }
    check_count(command, args)?;
    Ok(Invocation {
        command,
        args: args.to_vec(),
        options,
    })
}

fn check_option(command: &Command, option: &str, value: Option<&str>) -> Result<(), Error> {
    let name = command.name;
    let spelled = |o: &&&str| o.trim_end_matches(['=', '?']) == option;
    match command.options.iter().find(spelled) {
        None => {
            let error = Error::new(format!("'{name}' command has no '{option}' option"));
            let known = command
                .options
                .iter()
                .map(|o| o.trim_end_matches(['=', '?']));
            Err(match nearest(option, known) {
                Some(near) => error.help(format!("did you mean '{near}'?")),
                None => error,
            })
        }
        Some(spec) if spec.ends_with('=') && value.is_none() => fail(format!(
            "missing argument to '{option}' option on '{name}' command"
        )),
        Some(spec) if !spec.ends_with(['=', '?']) && value.is_some() => fail(format!(
            "'{option}' option on '{name}' does not accept an argument"
        )),
        Some(_) => Ok(()),
    }
}

fn check_count(command: &Command, args: &[String]) -> Result<(), Error> {
    let (name, (least, most)) = (command.name, command.args);
    if args.len() < least {
        let error = Error::new(format!(
            "'{name}' command requires at least {least} arguments"
        ));
        return Err(error.help(format!("usage: {name} {}", command.usage)));
    }
    if args.len() > most {
        let hint = if args.iter().any(|arg| arg.starts_with("--")) {
            " (note that options must precede command names and follow a \"--\" argument)"
        } else {
            ""
        };
        return fail(format!(
            "'{name}' command takes at most {most} arguments{hint}"
        ));
    }
    Ok(())
}
