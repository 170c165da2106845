//! Help and completions, made from the table of commands.

use crate::command::Tool;
use crate::error::{Error, fail};
use crate::options;

/// The text of `--help`.
pub fn text(tool: &Tool, name: &str) -> String {
    let mut out = format!(
        "{name}: {}\nusage: {name} [OPTIONS] COMMAND [ARG...] [-- COMMAND [ARG...]]...\n",
        tool.about
    );
    for group in tool.groups {
        out.push_str(&format!("\n{}:\n", group.title));
        for command in group.commands {
            for option in command.options {
                let shown = match (option.strip_suffix('='), option.strip_suffix('?')) {
                    (Some(with), _) => format!("{with}=VALUE"),
                    (_, Some(maybe)) => format!("{maybe}[=VALUE]"),
                    _ => (*option).to_string(),
                };
                out.push_str(&format!("  [{shown}]\n"));
            }
            let line = format!("{} {}", command.name, command.usage);
            let line = line.trim_end();
            if line.len() < 26 {
                out.push_str(&format!("  {line:<26}{}\n", command.help));
            } else {
                out.push_str(&format!("  {line}\n{:28}{}\n", "", command.help));
            }
        }
    }
    let default = (tool.default_db)();
    out.push_str(&format!(
        "\nOptions (default database: {default}):\n{}",
        options::help(tool)
    ));
    out
}

/// The text of `--commands`: name, arguments and options of each, separated by commas.
pub fn commands(tool: &Tool) -> String {
    let line =
        |c: &crate::command::Command| format!("{},{},{}\n", c.options.join(","), c.name, c.usage);
    tool.commands().map(line).collect()
}

/// A completion script.
pub fn completion(tool: &Tool, name: &str, shell: &str) -> Result<String, Error> {
    let commands: Vec<&str> = tool.commands().map(|command| command.name).collect();
    let mut all = options::names(tool);
    all.extend(tool.commands().flat_map(|c| {
        c.options
            .iter()
            .map(|o| o.trim_end_matches(['=', '?']).to_string())
    }));
    all.sort_unstable();
    all.dedup();
    let function = name.replace('-', "_");
    match shell {
        "bash" => Ok(format!(
            "_{function}() {{\n  local word=${{COMP_WORDS[COMP_CWORD]}}\n  case $word in\n    \
             -*) COMPREPLY=($(compgen -W '{}' -- \"$word\")) ;;\n    \
             *) COMPREPLY=($(compgen -W '{}' -- \"$word\")) ;;\n  esac\n}}\n\
             complete -o default -F _{function} {name}\n",
            all.join(" "),
            commands.join(" ")
        )),
        "zsh" => {
            let described = tool
                .commands()
                .map(|c| format!("    '{}:{}'\n", c.name, quote(c.help)));
            Ok(format!(
                "#compdef {name}\n_{function}() {{\n  local -a commands options\n  commands=(\n{}  )\n  \
                 options=({})\n  if [[ $PREFIX == -* ]]; then compadd -- $options\n  \
                 else _describe command commands; fi\n}}\n_{function} \"$@\"\n",
                described.collect::<String>(),
                all.join(" ")
            ))
        }
        "fish" => {
            let of_commands = tool.commands().map(|c| {
                format!(
                    "complete -c {name} -f -a '{}' -d '{}'\n",
                    c.name,
                    quote(c.help)
                )
            });
            let of_options = all
                .iter()
                .map(|o| format!("complete -c {name} -l '{}'\n", &o[2..]));
            Ok(of_commands.chain(of_options).collect())
        }
        _ => fail(format!(
            "{shell}: completions are made for bash, zsh and fish"
        )),
    }
}

fn quote(text: &str) -> String {
    text.replace('\'', "'\\''").replace(':', "\\:")
}
