//! Both daemons compare what they have reached by steps with a fresh start every so often, and find nothing.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// The value of a counter in `coverage/show`: its last word.
fn counter(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let last = line.and_then(|line| line.split_whitespace().last());
    last.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Ports come and go while audits run.
pub fn daemons_audit_themselves(impls: Impls) {
    let lab = Lab::new(impls, 1);
    lab.nb("set nb_global . options:weft-audit-interval=1
            ls-add s");
    lab.vs("h1", "set open . external_ids:weft-audit-interval=1");
    let runs = || -> Result<[u64; 2], String> {
        let asked = [
            lab.northd_appctl("coverage/show").result()?,
            lab.controller_appctl("h1", "coverage/show").result()?,
        ];
        for text in &asked {
            ensure(counter(text, "audit_differences") == 0, text)?;
        }
        Ok(asked.map(|text| counter(&text, "audit_runs")))
    };
    for n in 1..=3 {
        let [before, after] = runs().expect("no differences yet");
        lab.nb(&format!(
            "lsp-add s p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} 10.0.0.{n}'"
        ));
        lab.vm(
            "h1",
            &format!("p{n}"),
            &format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24"),
        );
        wait_for(CONVERGE, "another audit of either daemon", || {
            let now = runs()?;
            ensure(now[0] > before && now[1] > after, format!("{now:?}"))
        });
    }
    lab.ready();
    lab.reaches_with_ttl("p1", "10.0.0.3", 64);
}
