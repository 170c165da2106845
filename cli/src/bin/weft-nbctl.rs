//! See `weft-nbctl --help`.

fn main() -> std::process::ExitCode {
    weft_cli::run::main(&weft_cli::nb::TOOL)
}
