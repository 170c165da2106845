//! Reads lines `M<TAB>match` or `A<TAB>actions`, and prints those that are refused or written differently.
#![allow(clippy::print_stdout, missing_docs)]

use weft_lang::{Actions, parse_actions, parse_match};

fn main() {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let Some((kind, text)) = line.split_once('\t') else {
            continue;
        };
        let written = match kind {
            "M" => parse_match(text).map(|expr| expr.to_string()),
            _ => parse_actions(text).map(|actions| Actions(&actions).to_string()),
        };
        match written {
            Ok(written) if written == text => {}
            Ok(written) => println!("differs: {text}\n     as: {written}"),
            Err(error) => println!("refused: {text}\n     as: {error}"),
        }
    }
}
