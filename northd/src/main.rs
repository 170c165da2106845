//! `weft-northd`, also known as `ovn-northd`.

use std::process::ExitCode;

use clap::Parser as _;
use weft_daemon::Identity;
use weft_northd::shell::{self, Args};

fn main() -> ExitCode {
    let identity = Identity::of_this_process("weft-northd", "ovn-northd");
    let args = Args::parse_from(weft_daemon::argv());
    if args.version {
        #[allow(clippy::print_stdout, reason = "the answer to --version")]
        {
            println!("{}", identity.version());
        }
        return ExitCode::SUCCESS;
    }
    // Before this returns the process has detached: nothing may run before it.
    match weft_daemon::start(identity, &args.daemon) {
        Ok(daemon) => daemon.on_one_thread().run(|context| {
            shell::compile_on_threads(args.n_threads);
            shell::run(context, args)
        }),
        Err(error) => error.report(),
    }
}
