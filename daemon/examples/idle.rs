//! A daemon that does nothing, to try detaching, monitoring and the control socket on.
//!
//! `cargo run -p weft-daemon --example idle -- --pidfile --log-file --detach`

use std::process::ExitCode;

use clap::Parser;
use weft_daemon::{Identity, Options};

#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    daemon: Options,
    /// End with this code instead of becoming ready.
    #[arg(long, value_name = "CODE")]
    fail: Option<u8>,
}

fn main() -> ExitCode {
    let identity = Identity::of_this_process("weft-idle", "ovn-idle");
    let args = Args::parse_from(weft_daemon::argv());
    let daemon = match weft_daemon::start(identity, &args.daemon) {
        Ok(daemon) => daemon,
        Err(error) => return error.report(),
    };
    if let Some(code) = args.fail {
        return ExitCode::from(code);
    }
    daemon.run(|context| async move {
        context
            .unixctl
            .register("sleep", "MILLISECONDS", 1..=1, |args| async move {
                let millis = args[0]
                    .parse()
                    .map_err(|_| format!("{}: not a number", args[0]))?;
                tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
                Ok(format!("slept {millis} ms"))
            });
        context
            .unixctl
            .register("crash", "", 0..=0, |_| async { std::process::abort() });
        context.ready();
        let exit = context.shutdown.requested().await;
        tracing::info!("exiting: {exit:?}");
        Ok::<(), std::convert::Infallible>(())
    })
}
