//! Packets that are too big for the network behind a gateway.

use weft_integration::Impls;

/// The router says so, in both families and both ways.
pub fn too_big_for_the_gateway(impls: Impls) {
    for gateway in [
        "lrp-set-gateway-chassis r-ext h2",
        "set logical_router r options:chassis=h2",
    ] {
        let lab = crate::nat::lab(
            impls,
            2,
            &["h2"],
            &format!(
                "{gateway}
                 set logical_router_port r-ext options:gateway_mtu=1300
                 lr-nat-add r snat 172.16.0.100 10.0.0.0/24
                 lr-nat-add r dnat_and_snat 172.16.0.102 10.0.0.2
                 lr-nat-add r snat fd16::100 fd00::/64
                 lr-nat-add r dnat_and_snat fd16::102 fd00::2"
            ),
        );
        for (vm, to) in [
            ("a1", "172.16.0.9"),
            ("a2", "172.16.0.9"),
            ("out", "172.16.0.102"),
        ] {
            lab.reaches(vm, to);
            let fits = lab.ping(vm, to, 1, "-M do -s 1272");
            assert_eq!(fits.received, 1, "{vm} to {to}: {}", fits.text);
            let said = lab.ping(vm, to, 1, "-M do -s 1350");
            assert!(
                said.text.contains("mtu = 1300") || said.text.contains("mtu=1300"),
                "{vm} to {to}: {}",
                said.text
            );
        }
        for (vm, to) in [("a1", "fd16::9"), ("a2", "fd16::9"), ("out", "fd16::102")] {
            lab.reaches(vm, to);
            let said = lab.ping(vm, to, 1, "-M do -s 1350");
            assert!(
                said.text.contains("mtu = 1300") || said.text.contains("mtu=1300"),
                "{vm} to {to}: {}",
                said.text
            );
        }
    }
}
