//! An invocation from its arguments to its exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use weft_daemon::{Identity, unixctl, vlog};
use weft_ovsdb::model::Uuid;
use weft_ovsdb::model::listing::{Listing, separator};

use crate::client::{Client, TIMED_OUT, Target, TransactError};
use crate::command::{self, Cx, Invocation, Symbols, Tool};
use crate::error::{Error, fail};
use crate::options::{self, Global, Instead, Wait};
use crate::replica::{Replica, only};
use crate::{generic, help, records};

mod serving;

/// Exit code of a process that SIGALRM ended, as shells show it: what `--timeout` does to stock tools.
const TIMEOUT_EXIT: u8 = 128 + 14;

/// `main` of a tool.
pub fn main(tool: &'static Tool) -> ExitCode {
    let mut argv = std::env::args();
    let argv0 = argv.next().unwrap_or_default();
    let identity = Identity::of(Path::new(&argv0), tool.weft, tool.ovn);
    let mut words: Vec<String> = Vec::new();
    if tool.waits
        && let Ok(more) = std::env::var("OVN_NBCTL_OPTIONS")
    {
        words.extend(more.split_whitespace().map(str::to_string));
    }
    words.extend(argv);
    match run(tool, &identity, &words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}: {error}", identity.name());
            if error.message == TIMED_OUT {
                ExitCode::from(TIMEOUT_EXIT)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(tool: &'static Tool, identity: &Identity, words: &[String]) -> Result<(), Error> {
    let (mut global, rest) = options::parse(tool, words)?;
    match global.instead.take() {
        Some(Instead::Help) => return print(&help::text(tool, identity.name())),
        Some(Instead::Version) => return print(&format!("{}\n", identity.version())),
        Some(Instead::Commands) => return print(&help::commands(tool)),
        Some(Instead::Options) => return print(&(options::names(tool).join("\n") + "\n")),
        Some(Instead::Completion(shell)) => {
            return print(&help::completion(tool, identity.name(), &shell)?);
        }
        None => {}
    }
    if global.detach {
        if !rest.is_empty() {
            return fail("non-option arguments not supported with --detach (use --help for help)");
        }
        return serving::serve(tool, identity, global);
    }
    if global.db.is_none()
        && let Some(socket) = daemon_socket(tool, &global)
    {
        return through_daemon(&socket, words, &global);
    }
    start_log(identity, &global)?;
    let line = std::env::args().collect::<Vec<_>>().join(" ");
    print(&execute(tool, identity, global, rest, &line)?)
}

/// Runs commands; their output. `line` is how they were asked for.
fn execute(
    tool: &'static Tool,
    identity: &Identity,
    mut global: Global,
    words: &[String],
    line: &str,
) -> Result<String, Error> {
    let leading = std::mem::take(&mut global.leading);
    let invocations = command::parse(tool, words, leading)?;
    let comment = format!("{}: {line}", identity.name());
    let target = Target {
        remotes: global.db.clone().unwrap_or_else(tool.default_db),
        database: tool.database,
        leader_only: !global.any_member,
        shuffle: !global.in_order,
        tls: global.tls(),
        deadline: global.timeout.map(|timeout| Instant::now() + timeout),
    };
    let client = Client::connect(&target)?;
    Run {
        tool,
        global: &global,
        client,
        invocations,
        comment,
    }
    .finish()
}

/// The socket of a tool that runs as a daemon: ovn-nbctl(8), "Daemon Mode".
fn daemon_socket(tool: &Tool, global: &Global) -> Option<String> {
    let variable = match tool.waits {
        true => "OVN_NB_DAEMON",
        false => "OVN_SB_DAEMON",
    };
    let from_env = || std::env::var(variable).ok();
    global
        .unixctl
        .clone()
        .or_else(from_env)
        .filter(|socket| !socket.is_empty())
}

fn through_daemon(socket: &str, words: &[String], global: &Global) -> Result<(), Error> {
    let words = without_socket(words);
    match unixctl::call(Path::new(socket), "run", &words, global.timeout) {
        Ok(text) => print(&text),
        Err(unixctl::AppctlError::Refused(text)) => fail(text.trim_end()),
        Err(error) => fail(format!(
            "could not connect to daemon ({error}); unset OVN_NB_DAEMON to avoid using daemon"
        )),
    }
}

/// The words without the option that named the socket: the daemon would not know it.
fn without_socket(words: &[String]) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-u" | "--unixctl" => drop(words.next()),
            _ if word.starts_with("--unixctl=") => {}
            _ => kept.push(word),
        }
    }
    kept
}

fn start_log(identity: &Identity, global: &Global) -> Result<(), Error> {
    let options = weft_daemon::Options {
        // A tool says on the console what went wrong, not what it does.
        verbose: std::iter::once("console:warn".to_string())
            .chain(global.verbose.clone())
            .collect(),
        log_file: global.log_file.clone(),
        no_syslog: true,
        ..Default::default()
    };
    vlog::init(identity, &options)
        .and_then(|()| vlog::open_log_file())
        .map_err(|error| Error::new(error.to_string()))
}

/// Prints; that nobody reads any more (`| head`) is not an error.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(error.to_string()),
        _ => Ok(()),
    }
}

struct Run<'a> {
    tool: &'static Tool,
    global: &'a Global,
    client: Client,
    invocations: Vec<Invocation>,
    comment: String,
}

/// What the commands amount to, before it is sent.
struct Outcome {
    output: Vec<(String, Option<Listing>)>,
    operations: Vec<Json>,
    comments: Vec<String>,
    /// A command waits for something that is not so yet.
    wait: bool,
    /// `sync` was among them.
    sync: bool,
}

impl Run<'_> {
    fn finish(mut self) -> Result<String, Error> {
        let empty = Replica::new(self.client.schema()?);
        let tables = self.tables(&empty)?;
        let mut watching = false;
        loop {
            let replica = self.load(&empty, &tables)?;
            let outcome = self.run_commands(replica.clone())?;
            if outcome.wait {
                if watching {
                    self.client.wait_for_change()?;
                } else {
                    // Look once more after watching began: the change may have come in between.
                    self.client.watch(&tables)?;
                    watching = true;
                }
                continue;
            }
            let waiting_for = match self.commit(&replica, &outcome)? {
                Commit::Again => continue,
                Commit::Done(waiting_for) => waiting_for,
            };
            let mut text = self.render(&outcome);
            if let Some(nb_cfg) = waiting_for {
                text.push_str(&self.wait_for_others(nb_cfg)?);
            }
            return Ok(text);
        }
    }

    /// The tables that the commands need.
    fn tables(&self, empty: &Replica) -> Result<Vec<String>, Error> {
        let mut tables = vec![self.tool.global.to_string()];
        for invocation in &self.invocations {
            tables.extend(invocation.command.tables.iter().map(ToString::to_string));
            if generic::is_generic(invocation.command) {
                let name = invocation.args.first().map_or("", String::as_str);
                let table = &records::table(empty, name)?.name;
                tables.push(table.clone());
                let ids = self.tool.records.iter().filter(|id| id.table() == table);
                tables.extend(ids.filter_map(|id| id.through()).map(str::to_string));
            }
        }
        tables.sort_unstable();
        tables.dedup();
        // An older server may lack a table that a command would look at.
        tables.retain(|table| empty.schema().tables.contains_key(table));
        Ok(tables)
    }

    fn load(&mut self, empty: &Replica, tables: &[String]) -> Result<Replica, Error> {
        let select = |table: &String| json!({"op": "select", "table": table, "where": []});
        let selects: Vec<Json> = tables.iter().map(select).collect();
        let results = self
            .client
            .transact(selects)
            .map_err(|error| self.transact_error(error))?;
        let mut replica = empty.clone();
        for (table, result) in tables.iter().zip(&results) {
            let rows = result["rows"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            replica.load(table, rows)?;
        }
        Ok(replica)
    }

    fn transact_error(&self, error: TransactError) -> Error {
        match error {
            TransactError::Outdated => Error::new("transaction error (outdated)"),
            TransactError::Refused(json) => Error::new(format!("transaction error: {json}")),
            TransactError::Other(error) => error,
        }
    }

    fn run_commands(&self, mut db: Replica) -> Result<Outcome, Error> {
        let mut symbols = Symbols::default();
        let mut outcome = Outcome {
            output: Vec::new(),
            operations: Vec::new(),
            comments: Vec::new(),
            wait: false,
            sync: false,
        };
        if db.rows(self.tool.global).next().is_none() {
            db.insert(self.tool.global, None)?;
        }
        for invocation in &self.invocations {
            let mut cx = Cx {
                tool: self.tool,
                db: &mut db,
                args: &invocation.args,
                options: &invocation.options,
                symbols: &mut symbols,
                out: String::new(),
                listing: None,
                wait: false,
                comment: None,
            };
            (invocation.command.run)(&mut cx)?;
            outcome.wait |= cx.wait;
            outcome.sync |= invocation.command.name == "sync";
            outcome.comments.extend(cx.comment);
            outcome.output.push((cx.out, cx.listing));
            if outcome.wait {
                return Ok(outcome);
            }
        }
        symbols.check()?;
        outcome.operations = db.operations();
        Ok(outcome)
    }

    /// Sends the transaction; what `nb_cfg` became, if that is to be waited for.
    fn commit(&mut self, replica: &Replica, outcome: &Outcome) -> Result<Commit, Error> {
        if self.global.dry_run {
            return Ok(Commit::Done(None));
        }
        let mut operations = outcome.operations.clone();
        let bump = self.global.wait != Wait::None && (outcome.sync || !operations.is_empty());
        let global = replica.rows(self.tool.global).next().map(|(uuid, _)| uuid);
        if let (true, Some(uuid)) = (bump, global) {
            operations.extend(self.bump(uuid));
        }
        if operations.is_empty() {
            return Ok(Commit::Done(None));
        }
        let comment = match outcome.comments.is_empty() {
            true => self.comment.clone(),
            false => format!("{}\n{}", self.comment, outcome.comments.join("\n")),
        };
        operations.push(json!({"op": "comment", "comment": comment}));
        match self.client.transact(operations) {
            Ok(results) => {
                let selected = results
                    .iter()
                    .find_map(|result| result["rows"][0]["nb_cfg"].as_i64());
                Ok(Commit::Done(selected.filter(|_| bump)))
            }
            Err(TransactError::Outdated) => Ok(Commit::Again),
            // There was no row of the one there may be; meanwhile somebody else (northd) has made it.
            Err(TransactError::Refused(why)) if global.is_none() && is_second_row(&why) => {
                Ok(Commit::Again)
            }
            Err(error) => Err(self.transact_error(error)),
        }
    }

    fn bump(&self, global: Uuid) -> [Json; 2] {
        let table = self.tool.global;
        [
            json!({"op": "mutate", "table": table, "where": only(global), "mutations": [["nb_cfg", "+=", 1]]}),
            json!({"op": "select", "table": table, "where": only(global), "columns": ["nb_cfg"]}),
        ]
    }

    /// Waits until the Southbound side has come as far as `nb_cfg`; the text of `--print-wait-time`.
    fn wait_for_others(&mut self, nb_cfg: i64) -> Result<String, Error> {
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as i64;
        let column = if self.global.wait == Wait::Hv {
            "hv_cfg"
        } else {
            "sb_cfg"
        };
        let table = self.tool.global;
        self.client.watch(&[table.to_string()])?;
        let select = json!({"op": "select", "table": table, "where": []});
        loop {
            let results = self
                .client
                .transact(vec![select.clone()])
                .map_err(|error| self.transact_error(error))?;
            let row = &results[0]["rows"][0];
            if row[column].as_i64().unwrap_or(0) >= nb_cfg {
                return Ok(if self.global.print_wait_time {
                    self.wait_times(nb_cfg, started, row)
                } else {
                    String::new()
                });
            }
            self.client.wait_for_change()?;
        }
    }

    fn wait_times(&self, nb_cfg: i64, started: i64, row: &Json) -> String {
        let at = |column: &str| row[column].as_i64().unwrap_or(0);
        let (northd, sb, hv) = (
            at("nb_cfg_timestamp"),
            at("sb_cfg_timestamp"),
            at("hv_cfg_timestamp"),
        );
        let mut text = format!(
            "Time spent on processing nb_cfg {nb_cfg}:\n\tovn-northd delay before processing:\t{}ms\n\
             \tovn-northd completion:\t\t\t{}ms\n",
            northd - started,
            sb - started
        );
        if self.global.wait == Wait::Hv {
            text.push_str(&format!(
                "\tovn-controller(s) completion:\t\t{}ms\n",
                hv - started
            ));
        }
        text
    }

    fn render(&self, outcome: &Outcome) -> String {
        let mut text = String::new();
        let mut tables = 0;
        for (out, listing) in &outcome.output {
            match listing {
                Some(listing) => {
                    if tables > 0 {
                        text.push_str(separator(self.global.style.format));
                    }
                    tables += 1;
                    text.push_str(&listing.render(&self.global.style));
                }
                None if self.global.oneline => {
                    let one = out.strip_suffix('\n').unwrap_or(out);
                    text.push_str(&one.replace('\\', "\\\\").replace('\n', "\\n"));
                    text.push('\n');
                }
                None => text.push_str(out),
            }
        }
        text
    }
}

/// Whether a transaction was refused because of a row too many in a table that has one at most.
fn is_second_row(why: &Json) -> bool {
    let details = why["details"].as_str().unwrap_or_default();
    why["error"] == "constraint violation" && details.contains("to contain 2 rows")
}

enum Commit {
    Again,
    Done(Option<i64>),
}
