//! What becomes of a call, in words.

use std::net::{IpAddr, SocketAddr};

use portmap::{
    Binding, Protocol,
    rules::{End, Layout, Loss, Packet, Purpose, Ruleset, Step, World, trace},
};
use portmap_testkit::matrix::Path;

use super::{
    Serving,
    footnotes::Footnotes,
    scene::{Call, Scene},
};

/// Follows a call through the rules: who serves it, as whom the container sees the caller, and why.
pub(super) fn verdict(
    call: &Call,
    (scene, binding): (&Scene, &Binding),
    (rules, world): (&Ruleset, &World),
    serving: Serving,
    notes: &mut Footnotes,
) -> [String; 3] {
    let Call { arrives_by, to, .. } = *call;
    let protocol = binding.protocol().into();
    let from = SocketAddr::new(call.from, 40_000);
    let traced = trace(rules, world, Packet { arrives_by, protocol, from, to });
    let mut note = |step: Option<&Step>| step.and_then(|step| notes.of(step, rules));
    let row = |who: &str, sees: String, why: String| [who.to_owned(), sees, why];
    let nobody = |why| row("nobody", "-".to_owned(), why);
    match traced.end {
        End::Delivered { at, .. } if at == to && call.path.leads_to_host() => {
            let left = traced.decision().filter(|step| step.purpose == Purpose::LeftToProxy);
            let left = note(left).map(|note| format!("{note} leaves it to ")).unwrap_or_default();
            let socket = format!("{}:{}", binding.host_addr(), binding.host_ports());
            match serving {
                Serving::Proxy => row(
                    "the proxy",
                    seen_as(call, scene, scene.gateway),
                    format!("{left}its socket on {socket}"),
                ),
                // It is bound to the container's bridge: there it cannot refuse.
                Serving::Nobody
                    if binding.protocol() == Protocol::Udp
                        && arrives_by.is_some()
                        && arrives_by == scene.bridge =>
                {
                    nobody(format!("dropped: {left}a socket on {socket} that nobody reads"))
                }
                Serving::Nobody => {
                    nobody(format!("refused: {left}a socket on {socket} that nobody serves"))
                }
            }
        }
        End::Delivered { seen_from, .. } | End::Passed { seen_from, .. } => {
            let who = match rules.layout() {
                Layout::Nftables => "nftables",
                Layout::Iptables => "iptables",
            };
            let why = note(traced.decision());
            let who = if why.is_some() { who } else { "the container" };
            let mut why = why.unwrap_or_else(|| "this host forwards it".to_owned());
            if call.path == Path::Itself {
                why.push_str(", by its port's hairpin flag where br_netfilter is on");
            }
            row(who, seen_as(call, scene, seen_from.ip()), why)
        }
        End::Refused => nobody("refused: no socket there".to_owned()),
        End::Dropped(why) | End::Unanswered { why, .. } => {
            // What the kernel's own routing drops no rule did.
            let by_rule = why == Loss::Rule;
            let rule = by_rule.then(|| note(traced.decision())).flatten();
            let why = match (rule, why) {
                (Some(rule), _) => format!("by {rule}"),
                (None, Loss::NotForwarded) => {
                    format!("{why}, unless somebody has switched that on")
                }
                (None, _) => why.to_string(),
            };
            match traced.end {
                End::Unanswered { .. } => nobody(format!("its answer is lost: {why}")),
                _ => nobody(format!("dropped: {why}")),
            }
        }
    }
}

fn seen_as(call: &Call, scene: &Scene, seen: IpAddr) -> String {
    match (seen == scene.gateway, scene.bridge) {
        (true, Some(_)) => format!("gateway {seen}"),
        (true, None) if seen.is_loopback() => format!("this host, {seen}"),
        // Which one that is depends on routes, and nobody is asked.
        (true, None) => "this host's address toward it".to_owned(),
        _ if seen == call.from => format!("client {seen}"),
        _ => seen.to_string(),
    }
}
