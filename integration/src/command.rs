//! Running programs: words as a shell would split them, a deadline for each, errors that say everything.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Signals that a program brings on itself: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
const CRASHES: [i32; 5] = [4, 6, 7, 8, 11];

/// Longest a helper program may take, seconds.
pub const DEADLINE_SECONDS: u32 = 60;

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Done {
    /// The command, for messages.
    pub line: String,
    /// Whether it ended with status 0.
    pub success: bool,
    /// Whether a signal of its own making ended it (an abort, a segmentation fault).
    pub crashed: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Done {
    /// The output, without the last line end.
    ///
    /// # Panics
    /// When the program failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.success,
            "`{}` failed:\n{}{}",
            self.line, self.stdout, self.stderr
        );
        self.stdout.trim_end().to_string()
    }

    /// The output, or the error text of a program that failed.
    pub fn result(self) -> Result<String, String> {
        if self.success {
            Ok(self.stdout.trim_end().to_string())
        } else {
            Err(format!(
                "`{}` failed:\n{}{}",
                self.line, self.stdout, self.stderr
            ))
        }
    }
}

/// Splits a line into words: blanks separate, single and double quotes hold together, nothing else is special.
pub fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => out.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "unfinished quote in: {line}");
    out.extend(word);
    out
}

/// One command per line of `script`, joined by `--` as `ovn-nbctl` and `ovs-vsctl` take them: one transaction.
pub fn transaction(script: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        if !out.is_empty() {
            out.push("--".to_string());
        }
        out.extend(words(line));
    }
    out
}

/// A command with its environment prepared: in a namespace if one is given, with a deadline.
pub fn prepare(netns: Option<&str>, run_dir: Option<&Path>, argv: &[String]) -> Command {
    let mut command = match netns {
        Some(ns) => {
            let mut c = Command::new("ip");
            c.args(["netns", "exec", ns]);
            c.arg(&argv[0]);
            c
        }
        None => Command::new(&argv[0]),
    };
    command
        .args(&argv[1..])
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if let Some(dir) = run_dir {
        for name in [
            "OVS_RUNDIR",
            "OVS_LOGDIR",
            "OVS_DBDIR",
            "OVN_RUNDIR",
            "OVN_LOGDIR",
            "OVN_DBDIR",
        ] {
            command.env(name, dir);
        }
    }
    command
}

/// Runs a command to its end.
#[track_caller]
pub fn run(netns: Option<&str>, run_dir: Option<&Path>, argv: &[String]) -> Done {
    let mut bounded = vec![
        "timeout".to_string(),
        "-k".into(),
        "2".into(),
        DEADLINE_SECONDS.to_string(),
    ];
    bounded.extend_from_slice(argv);
    let line = argv.join(" ");
    match prepare(netns, run_dir, &bounded).output() {
        Ok(out) => Done {
            line,
            success: out.status.success(),
            crashed: out
                .status
                .signal()
                .or(out.status.code().map(|code| code - 128))
                .is_some_and(|signal| CRASHES.contains(&signal)),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        },
        Err(why) => panic!("`{line}` does not start: {why}"),
    }
}

/// Runs a line in the machine's own namespace.
#[track_caller]
pub fn sh(line: &str) -> Done {
    run(None, None, &words(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_transactions() {
        assert_eq!(
            words(r#"a 'b c' "d 'e'" f=''"#),
            ["a", "b c", "d 'e'", "f="]
        );
        assert_eq!(
            transaction("\n ls-add s\n\n lsp-add s p "),
            ["ls-add", "s", "--", "lsp-add", "s", "p"]
        );
    }
}
