//! Which programs a lab runs, and where they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impl {
    /// This project's.
    Weft,
    /// OVN's, as installed from the distribution's packages.
    Stock,
}

/// Whose northd and whose controllers a lab runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impls {
    /// Compiles the northbound; its databases have the schema files and command line tools of the same origin.
    pub northd: Impl,
    /// On every host.
    pub controller: Impl,
}

impl Impls {
    /// All ours.
    pub const WEFT: Impls = Impls {
        northd: Impl::Weft,
        controller: Impl::Weft,
    };
    /// Our northd under stock controllers.
    pub const WEFT_NORTHD: Impls = Impls {
        northd: Impl::Weft,
        controller: Impl::Stock,
    };
    /// Our controllers under stock northd.
    pub const WEFT_CONTROLLER: Impls = Impls {
        northd: Impl::Stock,
        controller: Impl::Weft,
    };
    /// Nothing of ours: proves a scenario itself.
    pub const STOCK: Impls = Impls {
        northd: Impl::Stock,
        controller: Impl::Stock,
    };

    /// The same, unless `WEFT_IMPL=stock` asks for stock everywhere.
    pub fn or_from_env(self) -> Impls {
        match std::env::var("WEFT_IMPL").as_deref() {
            Ok("stock") => Impls::STOCK,
            Ok("weft") | Err(_) => self,
            Ok(other) => panic!("WEFT_IMPL={other}: weft or stock"),
        }
    }
}

/// The programs and schemas around northd for one origin.
#[derive(Clone, Debug)]
pub struct Programs {
    /// northd.
    pub northd: PathBuf,
    /// nbctl.
    pub nbctl: PathBuf,
    /// sbctl.
    pub sbctl: PathBuf,
    /// trace.
    pub trace: PathBuf,
    /// Northbound schema file.
    pub nb_schema: PathBuf,
    /// Southbound schema file.
    pub sb_schema: PathBuf,
}

impl Programs {
    /// Finds them (and builds ours where they are missing).
    pub fn find(origin: Impl) -> Programs {
        let stock_cli =
            origin == Impl::Stock || std::env::var("WEFT_CLI").as_deref() == Ok("stock");
        let tool = |name: &str| {
            if stock_cli {
                format!("ovn-{name}").into()
            } else {
                weft(name)
            }
        };
        match origin {
            Impl::Weft => {
                let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
                Programs {
                    northd: weft("northd"),
                    nbctl: tool("nbctl"),
                    sbctl: tool("sbctl"),
                    trace: tool("trace"),
                    nb_schema: schemas.join("northbound.ovsschema"),
                    sb_schema: schemas.join("southbound.ovsschema"),
                }
            }
            Impl::Stock => Programs {
                northd: "ovn-northd".into(),
                nbctl: tool("nbctl"),
                sbctl: tool("sbctl"),
                trace: tool("trace"),
                nb_schema: "/usr/share/ovn/ovn-nb.ovsschema".into(),
                sb_schema: "/usr/share/ovn/ovn-sb.ovsschema".into(),
            },
        }
    }
}

/// The controller of one origin.
pub fn controller(origin: Impl) -> PathBuf {
    match origin {
        Impl::Weft => weft("controller"),
        Impl::Stock => "ovn-controller".into(),
    }
}

/// A program of ours.
///
/// # Panics
/// When it is not there and cannot be built.
pub fn weft(name: &str) -> PathBuf {
    let path = weft_dir().join(format!("weft-{name}"));
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The folder of our programs: `WEFT_BIN_DIR`, or beside this test's own executable the `release` or `debug` folder
/// whose northd was built last; where neither has one, a release build is made once.
fn weft_dir() -> &'static Path {
    static DIR: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DIR.get_or_init(|| {
        if let Some(dir) = std::env::var_os("WEFT_BIN_DIR") {
            return Ok(dir.into());
        }
        let target = target_dir();
        let built = |profile: &str| {
            let dir = target.join(profile);
            let when = dir
                .join("weft-northd")
                .metadata()
                .and_then(|m| m.modified())
                .ok()?;
            Some((when, dir))
        };
        if let Some((_, dir)) = ["release", "debug"].into_iter().filter_map(built).max() {
            return Ok(dir);
        }
        // By name, not by the path cargo was built with: only the name goes through a toolchain manager where there
        // is one, which then also chooses the compiler.
        let status = Command::new("cargo")
            .args([
                "build",
                "--release",
                "--locked",
                "-p",
                "weft-northd",
                "-p",
                "weft-controller",
                "-p",
                "weft-cli",
            ])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .status();
        match status {
            Ok(status) if status.success() => Ok(target.join("release")),
            other => Err(format!("cannot build weft's programs: {other:?}")),
        }
    })
    .as_ref()
    .unwrap_or_else(|why| panic!("{why}"))
}

/// The target folder this test was built into: `TARGET/PROFILE/deps/TEST`.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a process has an executable");
    let target = test
        .ancestors()
        .nth(3)
        .expect("tests live in TARGET/PROFILE/deps");
    target.to_path_buf()
}
