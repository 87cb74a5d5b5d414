//! Rules before they are in force: compiled, printed, compared and traced, without any privilege.
//!
//! ```console
//! $ cargo run --example preview
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use portmap::{
    Binding, BoxError, HostAddr, Protocol,
    rules::{Layout, Network, Packet, Policy, Ruleset, World, compile, trace},
};

fn main() -> Result<(), BoxError> {
    // TEST-NET addresses: nothing of this has to exist.
    let network: Network = "br0=192.0.2.0/24".parse()?;
    let networks = [network];
    let (host_port, container) = ("8080".parse()?, "192.0.2.2".parse()?);
    let web = Binding::new(Protocol::Tcp, HostAddr::Any, host_port, container, "80".parse()?)
        .ok_or("past port 65535")?;

    // What publishing adds, as `nft -f` would read it.
    let policy = Policy::default();
    let before = compile(&networks, &[], &policy)?;
    let rules = compile(&networks, std::slice::from_ref(&web), &policy)?;
    println!("{}", Ruleset::diff(&before, &rules).to_nft());

    // The same as iptables would list it.
    let policy_of_iptables = Policy { layout: Layout::Iptables, ..policy.clone() };
    let listed = compile(&networks, &[web], &policy_of_iptables)?.to_string();
    for rule in listed.lines().filter(|line| line.contains("192.0.2.2")) {
        println!("{rule}");
    }

    // What would become of a packet, and which rule says so.
    let [network] = networks;
    let host = World::new([network])
        .with_address("eth0".parse()?, "198.51.100.1/24".parse()?)
        .routing_localnet(&policy);
    for (what, by, from, to) in [
        ("outside, to the published port", Some("eth0"), "198.51.100.9:40000", "198.51.100.1:8080"),
        ("outside, round NAT", Some("eth0"), "198.51.100.9:40000", "192.0.2.2:80"),
        ("this host, over loopback", None, "127.0.0.1:40000", "127.0.0.1:8080"),
        ("another container", Some("br0"), "192.0.2.3:40000", "192.0.2.1:8080"),
    ] {
        let arrives_by = by.map(str::parse).transpose()?;
        let (from, to) = (from.parse()?, to.parse()?);
        let packet = Packet { arrives_by, protocol: Protocol::Tcp.into(), from, to };
        let trace = trace(&rules, &host, packet);
        println!("\n{what}: {}", trace.end);
        if let Some(step) = trace.decision() {
            let text = step.rule(&rules).map(|rule| rule.text(Layout::Nftables).to_string());
            println!("  by a rule of chain {}: {}", step.chain, text.unwrap_or_default());
        }
    }
    Ok(())
}
