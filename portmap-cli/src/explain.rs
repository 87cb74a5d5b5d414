//! By which ways ports would be reached, worked out from the rules and sockets that would be there: nothing is asked of the
//! kernel, and nothing done.

mod footnotes;
mod force;
mod scene;
mod verdict;

use std::{fmt::Write, iter};

use portmap::{Binding, BoxError, Port, rules::Family};

use self::{footnotes::Footnotes, force::in_force, scene::Scene, verdict::verdict};
use crate::{
    args::{Args, Mode},
    assume,
    choice::Choice,
    demo::Contained,
    output::{Columns, print},
    plan::Plan,
};

/// Who serves what comes to the host's own sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    Proxy,
    /// They only hold their ports.
    Nobody,
}

pub(crate) fn show(args: &Args, plan: &Plan, choice: &Choice) -> Result<(), BoxError> {
    let mut networks = plan.networks(args.networks());
    let mut requests = plan.named();
    if !plan.for_webapp().is_empty() {
        let (network, request) = Contained::assumed(plan.for_webapp())?;
        networks.push(network);
        requests.push(request);
    }
    let said = choice.said().unwrap_or_else(|| format!("mode {}", choice.mode));
    // To the proxy a container's address is one like any other, and host ports lead there.
    let of_rules = if choice.mode == Mode::Proxy { &[][..] } else { &networks };
    let bindings = assume::bindings(of_rules, &requests);
    let routed = assume::routed(of_rules, &requests);
    let (rules, world) = in_force(args, choice.mode, &networks, &bindings)?;
    let serving = match choice.mode {
        Mode::Hybrid | Mode::Proxy => Serving::Proxy,
        Mode::Rules => Serving::Nobody,
    };
    // All of it at once: what fails half way explains nothing.
    let (mut page, mut notes) = (String::new(), Footnotes::default());
    iter::once(said).chain(routed).try_for_each(|line| writeln!(page, "{line}"))?;
    for binding in &bindings {
        let scenes = Family::ALL.iter().filter_map(|it| Scene::new(binding, *it, &networks));
        let mut scenes: Vec<_> = scenes.collect();
        match assume::is_routed(of_rules, binding.endpoint()) {
            false => writeln!(page, "\n{binding}")?,
            true => {
                let (protocol, to) = (binding.protocol(), binding.endpoint());
                writeln!(page, "\n{protocol} {to}, port {}", binding.container_ports())?;
                scenes.retain(|scene| !scene.is_foreign());
            }
        }
        for Scene { lan, client, .. } in &scenes {
            let host = lan.addr();
            writeln!(page, "for example, this host is {host} on its LAN, a client {client}")?;
        }
        let mut columns = Columns::new(["path", "call", "served by", "container sees", "why"]);
        for scene in &scenes {
            let mut world = world.clone();
            world.addresses.extend(Scene::interface().map(|lan| (lan, scene.lan)));
            for call in scene.calls(binding, unpublished(binding, &bindings)) {
                let way = format!("{} -> {}", call.from, call.to);
                let of = (scene, binding);
                let [who, sees, why] = verdict(&call, of, (&rules, &world), serving, &mut notes);
                columns.push([call.path.to_string(), way, who, sees, why]);
            }
        }
        write!(page, "{columns}")?;
    }
    let notes = notes.to_string();
    if !notes.is_empty() {
        write!(page, "\n{notes}")?;
    }
    Ok(print(page)?)
}

/// A port of the container, from the published one on, that nobody publishes.
fn unpublished(binding: &Binding, bindings: &[Binding]) -> Port {
    let first = binding.container_ports().first();
    let of_it = bindings.iter().filter(|other| other.endpoint() == binding.endpoint());
    let taken: Vec<_> = of_it.map(Binding::container_ports).collect();
    let mut ports = (first.number()..=u16::MAX).filter_map(|port| Port::try_from(port).ok());
    ports.find(|port| !taken.iter().any(|range| range.contains(*port))).unwrap_or(first)
}
