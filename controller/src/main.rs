//! `weft-controller`, also as `ovn-controller`.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use weft_controller::program::Settings;
use weft_controller::shell::{self, Grpc, Options};
use weft_daemon::{Identity, dirs};
use weft_ovsdb::remote::Remotes;
use weft_ovsdb::tls::Tls;

/// A fifth of the time of a cold start is allocations: with this one they take half of what they take with the C library's, in
/// as much memory as long as it asks for no huge pages (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The local controller of a chassis: programs Open vSwitch from the southbound database.
#[derive(Parser)]
#[command(disable_version_flag = true)]
struct Args {
    #[command(flatten)]
    daemon: weft_daemon::Options,
    /// Name of this chassis, whatever the database says.
    #[arg(short = 'n', value_name = "CHASSIS")]
    chassis: Option<String>,
    /// Where to serve gRPC: unix:PATH, tcp:HOST:PORT or none [default: unix:RUNDIR/PROGRAM.grpc].
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true
    )]
    grpc: Grpc,
    /// Accepted for compatibility.
    #[arg(long, hide = true)]
    enable_dummy_vif_plug: bool,
    /// Print the version and exit.
    #[arg(short = 'V', long)]
    version: bool,
    /// The local Open vSwitch database [default: unix:RUNDIR/db.sock].
    #[arg(value_name = "OVS-DATABASE")]
    database: Option<String>,
}

/// The file that names the chassis where neither the command line nor the database is to.
const OVERRIDE_FILE: &str = "system-id-override";

fn main() -> ExitCode {
    let identity = Identity::of_this_process("weft-controller", "ovn-controller");
    let args = Args::parse_from(weft_daemon::argv());
    if args.version {
        let text = identity.version();
        let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
        return ExitCode::SUCCESS;
    }
    let text = args.database.clone().unwrap_or_else(dirs::default_ovs_db);
    let vs_remote = match text.parse::<Remotes>() {
        Ok(remotes) => remotes.in_directory(&dirs::ovs_rundir()),
        Err(why) => {
            eprintln!("{}: {text}: {why}", identity.name());
            return ExitCode::FAILURE;
        }
    };
    let chassis = args
        .chassis
        .clone()
        .or_else(|| from_file(&dirs::sysconfdir().join(OVERRIDE_FILE)));
    let options = Options {
        vs_remote,
        ovs_rundir: dirs::ovs_rundir(),
        tls: tls(&args.daemon),
        grpc: args.grpc.clone(),
        settings: Settings {
            chassis: chassis.map(Into::into),
            ..Settings::default()
        },
    };
    let daemon = match weft_daemon::start(identity, &args.daemon) {
        Ok(daemon) => daemon,
        Err(error) => return error.report(),
    };
    daemon.run(|context| shell::run(options, context))
}

fn from_file(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let name = text.lines().next()?.trim();
    (!name.is_empty()).then(|| name.to_string())
}

fn tls(options: &weft_daemon::Options) -> Option<Tls> {
    let ca = options
        .bootstrap_ca_cert
        .clone()
        .or_else(|| options.ca_cert.clone())?;
    Some(Tls {
        private_key: options.private_key.clone()?,
        certificate: options.certificate.clone()?,
        ca,
        bootstrap: options.bootstrap_ca_cert.is_some(),
    })
}
