//! See `weft-trace --help`.

fn main() -> std::process::ExitCode {
    weft_cli::trace::main()
}
