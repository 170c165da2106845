//! Forwarding groups: several machines behind one address of a switch.

use weft_integration::{Impl, Impls, Lab};

use crate::lb::{ask, counted, serve, until};

#[track_caller]
fn both_answer(lab: &Lab) {
    let answers = ask(lab, "c", "tcp", "10.0.0.100:8080", 32);
    let counts = counted(&answers);
    assert!(
        counts.keys().eq(["f1", "f2"]),
        "both have connections: {counts:?}"
    );
}

/// `f1` and `f2`, one on the client's host and one on another, both have the group's addresses.
pub fn ports_take_turns(impls: Impls) {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s
            lsp-add s c
            lsp-set-addresses c '0a:00:00:00:00:01 10.0.0.1'
            lsp-add s f1
            lsp-add s f2
            fwd-group-add g s 10.0.0.100 0a:00:00:00:00:99 f1 f2");
    lab.vm("h1", "c", "0a:00:00:00:00:01 10.0.0.1/24");
    for (host, vm) in [("h1", "f1"), ("h2", "f2")] {
        lab.vm(host, vm, "0a:00:00:00:00:99 10.0.0.100/24");
    }
    lab.ready();
    let _servers = ["f1", "f2"].map(|vm| serve(&lab, vm, "tcp", "10.0.0.100:8080"));
    until(&lab, "c", "tcp", "10.0.0.100:8080", |answer| {
        answer.starts_with('f')
    });
    both_answer(&lab);
    // Stock controllers of 23.03 make no flows at all of it.
    if lab.impls().controller == Impl::Weft {
        lab.nb("set forwarding_group g liveness=true");
        lab.ready();
        both_answer(&lab);
    }
    lab.nb("remove forwarding_group g child_port f1");
    lab.ready();
    until(&lab, "c", "tcp", "10.0.0.100:8080", |answer| {
        answer.starts_with("f2")
    });
    let answers = ask(&lab, "c", "tcp", "10.0.0.100:8080", 8);
    assert!(
        counted(&answers).keys().eq(["f2"]),
        "f1 is out: {answers:?}"
    );
}
