//! See `weft-sbctl --help`.

fn main() -> std::process::ExitCode {
    weft_cli::run::main(&weft_cli::sb::TOOL)
}
