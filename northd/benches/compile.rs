//! A cluster compiled from nothing, single changes of it, and what is written: `cargo bench -p weft-northd`.
//!
//! The shape is that of `deploy/bench/nbgen.py k8s`, smaller: a router, a switch with pods per node, every second pod the
//! backend of a service, port groups with ACLs.
#![allow(missing_docs)]

use divan::Bencher;
use weft_northd::compiler::Compiler;
use weft_northd::program::Settings;
use weft_northd::sync::Sync;
use weft_ovsdb::model::{Map, Row, RowUpdate, Set, Str, Uuid};
use weft_schemas::nb;

fn main() {
    divan::main();
}

const PODS: usize = 45;

struct Cluster {
    compiler: Compiler,
    rows: u128,
    switch: Uuid,
    ports: Vec<Uuid>,
    group: Uuid,
    services: Vec<Uuid>,
    acl: Uuid,
}

fn pairs<const N: usize>(all: [(&str, &str); N]) -> Map<Str, Str> {
    Map::from(all)
}

impl Cluster {
    fn insert<R: Row>(&mut self, row: R) -> Uuid
    where
        nb::Update: From<RowUpdate<R>>,
    {
        self.rows += 1;
        let uuid = Uuid(self.rows << 96 | self.rows);
        self.compiler.nb_update(RowUpdate::insert(uuid, row).into());
        uuid
    }

    fn put<R: Row>(&mut self, uuid: Uuid, row: R)
    where
        nb::Update: From<RowUpdate<R>>,
    {
        self.compiler
            .nb_update(RowUpdate::replace(uuid, row, !0).into());
    }

    /// Everything is there, nothing has been compiled.
    fn new(nodes: usize) -> Cluster {
        let mut cluster = Cluster {
            compiler: Compiler::new(Settings::default()).expect("the features form layers"),
            rows: 0,
            switch: Uuid::ZERO,
            ports: Vec::new(),
            group: Uuid::ZERO,
            services: Vec::new(),
            acl: Uuid::ZERO,
        };
        cluster.insert(nb::NbGlobal::default());
        cluster.group = cluster.insert(nb::LoadBalancerGroup {
            name: "services".into(),
            ..Default::default()
        });
        let mut router_ports = Vec::new();
        for node in 0..nodes {
            router_ports.push(cluster.node(node));
        }
        cluster.insert(nb::LogicalRouter {
            name: "cluster".into(),
            ports: router_ports.into(),
            ..Default::default()
        });
        let services = cluster.services.clone();
        cluster.put_services(services);
        cluster
    }

    fn node(&mut self, node: usize) -> Uuid {
        let net = format!("10.{}.{}", 128 + (node >> 8), node & 255);
        let router_port = self.insert(nb::LogicalRouterPort {
            name: format!("rtr-to-{node}").into(),
            mac: format!("0a:00:00:01:{:02x}:{:02x}", node >> 8, node & 255).into(),
            networks: Set::from([Str::from(format!("{net}.1/24"))]),
            ..Default::default()
        });
        let mut ports = vec![self.insert(nb::LogicalSwitchPort {
            name: format!("to-rtr-{node}").into(),
            type_: "router".into(),
            addresses: Set::from(["router".into()]),
            options: pairs([("router-port", &format!("rtr-to-{node}"))]),
            ..Default::default()
        })];
        for pod in 0..PODS {
            let ip = format!("{net}.{}", pod + 10);
            ports.push(self.insert(pod_row(node, pod, &ip)));
            if pod % 2 == 0 {
                let vip = format!("10.96.{}.{}:80", node, pod);
                let service = self.insert(service_row(&vip, &format!("{ip}:8080")));
                self.services.push(service);
            }
        }
        let group = format!("pg{node}");
        self.acl = self.insert(acl_row(&group, 80));
        self.insert(nb::PortGroup {
            name: group.into(),
            ports: ports[1..].to_vec().into(),
            acls: Set::from([self.acl]),
            ..Default::default()
        });
        self.ports.clone_from(&ports);
        self.switch = self.insert(switch_row(ports, self.group));
        router_port
    }

    fn put_services(&mut self, load_balancer: Vec<Uuid>) {
        let row = nb::LoadBalancerGroup {
            name: "services".into(),
            load_balancer: load_balancer.into(),
        };
        self.put(self.group, row);
    }

    fn compiled(nodes: usize) -> Cluster {
        let mut cluster = Cluster::new(nodes);
        cluster.compiler.run();
        cluster
    }
}

fn pod_row(node: usize, pod: usize, ip: &str) -> nb::LogicalSwitchPort {
    nb::LogicalSwitchPort {
        name: format!("pod-{node}-{pod}").into(),
        addresses: Set::from([Str::from(format!(
            "0a:{:02x}:{:02x}:00:01:{pod:02x} {ip}",
            node >> 8,
            node & 255
        ))]),
        ..Default::default()
    }
}

fn switch_row(ports: Vec<Uuid>, group: Uuid) -> nb::LogicalSwitch {
    nb::LogicalSwitch {
        name: "node".into(),
        ports: ports.into(),
        load_balancer_group: Set::from([group]),
        ..Default::default()
    }
}

fn service_row(vip: &str, backend: &str) -> nb::LoadBalancer {
    nb::LoadBalancer {
        name: vip.into(),
        protocol: Some("tcp".into()),
        vips: pairs([(vip, backend)]),
        ..Default::default()
    }
}

fn acl_row(group: &str, port: u16) -> nb::Acl {
    nb::Acl {
        priority: 1000,
        direction: "to-lport".into(),
        match_: format!("outport == @{group} && ip4 && tcp.dst == {port}").into(),
        action: "allow-related".into(),
        ..Default::default()
    }
}

#[divan::bench(args = [10, 100], sample_count = 5)]
fn cold(bencher: Bencher<'_, '_>, nodes: usize) {
    bencher
        .with_inputs(|| Cluster::new(nodes))
        .bench_local_values(|mut cluster| {
            cluster.compiler.run();
            cluster
        });
}

/// From outputs to the text of the first transaction, everything that it may hold.
#[divan::bench(args = [10, 100], sample_count = 5)]
fn first_transaction(bencher: Bencher<'_, '_>, nodes: usize) {
    let delta_of = || {
        let mut cluster = Cluster::new(nodes);
        let delta = cluster.compiler.run();
        (cluster, delta)
    };
    bencher
        .with_inputs(delta_of)
        .bench_local_values(|(cluster, delta)| {
            let mut sync = Sync::default();
            sync.apply(&delta, 1);
            let txn = sync.southbound(&cluster.compiler.inputs().sb, 1, 1);
            (cluster, sync, txn)
        });
}

#[divan::bench(args = [10, 100])]
fn one_port(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut cluster = Cluster::compiled(nodes);
    let (switch, group, without) = (cluster.switch, cluster.group, cluster.ports.clone());
    let port = cluster.insert(pod_row(nodes, 0, "10.128.0.250"));
    let with: Vec<Uuid> = without.iter().copied().chain([port]).collect();
    let mut there = false;
    bencher.bench_local(|| {
        there = !there;
        let ports = if there { &with } else { &without };
        cluster.put(switch, switch_row(ports.clone(), group));
        cluster.compiler.run()
    });
}

#[divan::bench(args = [10, 100])]
fn one_service(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut cluster = Cluster::compiled(nodes);
    let without = cluster.services.clone();
    let service = cluster.insert(service_row("10.97.0.1:80", "10.128.0.12:80"));
    let with: Vec<Uuid> = without.iter().copied().chain([service]).collect();
    let mut there = false;
    bencher.bench_local(|| {
        there = !there;
        cluster.put_services(if there { with.clone() } else { without.clone() });
        cluster.compiler.run()
    });
}

#[divan::bench(args = [10, 100])]
fn one_acl(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut cluster = Cluster::compiled(nodes);
    let (acl, group) = (cluster.acl, format!("pg{}", nodes - 1));
    let mut port = 0;
    bencher.bench_local(|| {
        port = (port + 1) % 1000;
        cluster.put(acl, acl_row(&group, port));
        cluster.compiler.run()
    });
}
